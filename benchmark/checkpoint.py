"""Checkpoints: saved at once or not at all, and divisible into checkpoints of single seeds.

Every tensor in a state leads with K; ints and strings are common to all seeds.
"""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]


def save(path: Path, state: State) -> None:
    """Write a state so that a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        torch.save(_compact(state), file)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def load(path: Path) -> State:
    """Read a state; nothing in the file is executed."""
    state: State = torch.load(path, map_location="cpu", weights_only=True)
    return state


def _compact(value: Any) -> Any:
    """Copy a tensor that is a small part of its storage, which torch would write as a whole."""
    if isinstance(value, dict):
        return {key: _compact(x) for key, x in value.items()}
    if isinstance(value, Tensor) and 4 * value.nbytes < value.untyped_storage().nbytes():
        return value.clone()
    return value


def take_seed(state: State, k: int) -> State:
    """Return seed ``k``'s part of a K-seed state: a valid state of one seed."""
    return {key: _take(value, k) for key, value in state.items()}


def _take(value: Any, k: int) -> Any:
    if isinstance(value, dict):
        return take_seed(value, k)
    return value[k : k + 1].clone() if isinstance(value, Tensor) else value
