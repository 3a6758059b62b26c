"""Checkpoints: written atomically, verified by checksum, and divisible by seed.

Every tensor in a state leads with K; ints and strings are common to all seeds. Large tensors, in
practice replay buffers, are split into blocks named by their hash: a save writes only new blocks.
"""

import hashlib
import io
import math
import os
import shutil
import sys
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..util import atomic
from ..util.errors import ConfigError
from ..util.files import read_bytes

State = dict[str, Any]

_BLOCK = 1 << 20  # bytes
_LARGE = 1 << 22  # bytes; tensors of at least this size are split into blocks
_KEPT = 2  # the newest, and a fallback in case it is damaged
_MARK = "blocks of a tensor"  # the key that marks the entry of a split tensor


class Damaged(Exception):
    """A checkpoint is not what was written."""


def save(path: Path, state: State) -> None:
    """Write a small state, such as weights, as a plain ``torch.save`` file."""
    atomic.write(path, _bytes(state), sync=True)


def load(path: Path) -> State:
    """Read what ``save`` wrote; nothing in the file is executed.

    Raises:
        ConfigError: the file is broken.
    """
    data = io.BytesIO(read_bytes(path))
    try:
        with warnings.catch_warnings(action="ignore"):  # the error says what matters
            state: State = torch.load(data, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is not its own
        name = type(error).__name__
        raise ConfigError(f"{path} is damaged and cannot be read ({name})") from None
    return state


class Checkpoints:
    """The last two checkpoints of a job, in a folder of their own.

    A file ``00000012.pt`` holds a digest, a newline and a state in which large tensors are lists of
    block names; ``blocks/`` holds the blocks under their digests.
    """

    def __init__(self, folder: Path) -> None:
        self.folder, self._blocks = folder, folder / "blocks"

    def save(self, state: State, lock: AbstractContextManager[None] | None = None) -> None:
        """Add a checkpoint; keep only the last two.

        Args:
            state: what to save.
            lock: held while the checkpoint takes its name and older ones lose theirs.
        """
        self._blocks.mkdir(parents=True, exist_ok=True)
        payload = _bytes(self._cut(state, set(os.listdir(self._blocks))))
        data = _digest(payload).encode() + b"\n" + payload
        with lock or nullcontext():
            number = max((int(path.stem) for path in self._files()), default=0) + 1
            atomic.write(self.folder / f"{number:08d}.pt", data, sync=True)
            self._forget()

    def states(self) -> Iterator[State]:
        """Yield the intact checkpoints, newest first; report damaged ones on stderr."""
        for path in reversed(self._files()):
            try:
                yield self._join(_payload(path))
            except Damaged as error:
                print(f"checkpoint {path.name} is not used: {error}", file=sys.stderr, flush=True)

    def remove(self) -> None:
        """Delete every checkpoint."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _files(self) -> list[Path]:
        return sorted(self.folder.glob("[0-9]*.pt"))

    def _cut(self, value: Any, stored: set[str]) -> Any:
        """Write the large tensors of a state as blocks; return it with their names instead."""
        if isinstance(value, dict):
            return {key: self._cut(x, stored) for key, x in value.items()}
        if not isinstance(value, Tensor) or value.nbytes < _LARGE:
            return value
        names = []
        for part in value:  # one seed at a time: a full copy would double the memory
            data = memoryview(part.cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
            for start in range(0, len(data), _BLOCK):
                block = data[start : start + _BLOCK]
                names.append(name := _digest(block))
                if name not in stored:
                    atomic.write(self._blocks / name, bytes(block), sync=True)
                    stored.add(name)
        kind = str(value.dtype).removeprefix("torch.")
        return {_MARK: "\n".join(names), "dtype": kind, "shape": "x".join(map(str, value.shape))}

    def _join(self, value: Any) -> Any:
        """Return a state with its split tensors reassembled.

        Raises:
            Damaged: a block is missing or has changed.
        """
        if not isinstance(value, dict):
            return value
        if _MARK not in value:
            return {key: self._join(x) for key, x in value.items()}
        shape = [int(n) for n in value["shape"].split("x")]
        whole = torch.empty(shape, dtype=getattr(torch, value["dtype"]))
        rows = whole.reshape(shape[0], math.prod(shape[1:])).view(torch.uint8).numpy()
        names = iter(value[_MARK].split("\n"))
        for row in rows:
            for start in range(0, len(row), _BLOCK):
                row[start : start + _BLOCK] = memoryview(self._block(next(names)))
        return whole

    def _block(self, name: str) -> bytes:
        try:
            data = read_bytes(self._blocks / name)
        except FileNotFoundError:
            raise Damaged(f"block {name} is missing") from None
        if _digest(data) != name:
            raise Damaged(f"block {name} has changed")
        return data

    def _forget(self) -> None:
        """Delete older checkpoints, unused blocks and partial files of a crash."""
        old, kept = self._files()[:-_KEPT], self._files()[-_KEPT:]
        needed: set[str] = set()
        for path in kept:
            try:
                needed |= _named(_payload(path))
            except Damaged:
                old.append(path)
        unused = [self._blocks / name for name in set(os.listdir(self._blocks)) - needed]
        for path in [*old, *unused, *self.folder.glob(".*")]:
            path.unlink(missing_ok=True)


def _digest(data: Any) -> str:
    return hashlib.blake2b(data, digest_size=16).hexdigest()


def _bytes(state: State) -> bytes:
    buffer = io.BytesIO()
    torch.save(_compact(state), buffer)
    return buffer.getvalue()


def _payload(path: Path) -> State:
    """Return the state in a checkpoint's file, its large tensors still split.

    Raises:
        Damaged: the checksum differs.
    """
    expected, _, payload = read_bytes(path).partition(b"\n")
    if _digest(payload).encode() != expected:
        raise Damaged("its checksum differs")
    state: State = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    return state


def _named(value: Any) -> set[str]:
    """Return the names of the blocks that a state with split tensors needs."""
    if not isinstance(value, dict):
        return set()
    if _MARK in value:
        return set(value[_MARK].split("\n"))
    return set().union(*map(_named, value.values()))


def size(value: Any) -> int:
    """Return the bytes of a state's tensors."""
    if isinstance(value, dict):
        return sum(map(size, value.values()))
    return value.nbytes if isinstance(value, Tensor) else 0


def _compact(value: Any) -> Any:
    """Copy tensors that are a small part of their storage; torch would write the whole storage."""
    if isinstance(value, dict):
        return {key: _compact(x) for key, x in value.items()}
    if isinstance(value, Tensor) and 4 * value.nbytes < value.untyped_storage().nbytes():
        return value.clone()
    return value


def take_seeds(state: State, ks: list[int]) -> State:
    """Return the seeds ``ks`` of a K-seed state, as a state of those seeds alone."""
    return {key: _take(value, ks) for key, value in state.items()}


def take_seed(state: State, k: int) -> State:
    """Return seed ``k`` of a K-seed state, as a state of one seed."""
    return take_seeds(state, [k])


def _take(value: Any, ks: list[int]) -> Any:
    if isinstance(value, dict):
        return take_seeds(value, ks)
    return value[ks].clone() if isinstance(value, Tensor) else value
