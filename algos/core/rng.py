"""Random streams keyed by (seed, purpose): draw j of a seed never depends on the other seeds.

Draws are made in blocks. Block ``b`` of a stream comes from a Philox generator whose key is hashed
from (seed, purpose) and whose counter starts at ``b * 2**192``, so a stream's state is two integers
and a checkpoint restores it exactly (Salmon et al. 2011, "Parallel random numbers: as easy as 1,
2, 3").
"""

from collections.abc import Callable, Sequence
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

Member = int | tuple[int, ...]  # a seed, or (seed, index) for one of several networks of a seed

_BLOCK_VALUES = 16_384  # of a seed in a block; part of what a stream is, whatever is held of it
_HELD_VALUES = 2**18  # of all seeds, drawn at once: bounds the memory, and stays in the cache


def generator(member: Member, purpose: str, *key: int, block: int = 0) -> np.random.Generator:
    """Return the generator of one (seed, purpose, *key) stream, positioned at ``block``.

    Args:
        member: the run's seed, >= 0, with further integers that split its streams if it is a tuple.
        purpose: what the draws are for ("init", "act", "replay", "noise", "env", "eval", ...).
        key: further integers that split the purpose (a lane, a layer).
        block: which block of 2**192 values to start at.
    """
    seed, *split = member if isinstance(member, tuple) else (member,)
    # SeedSequence pads with zeros: the number of integers behind keeps (s,) and (s, 0) apart.
    words = [seed, crc32(purpose.encode()), *split, *key]
    sequence = np.random.SeedSequence([*words, 1 + len(words)])
    philox_key = sequence.generate_state(2, np.uint64)
    return np.random.Generator(np.random.Philox(key=philox_key, counter=[0, 0, 0, block]))


class RandomStream:
    """An endless sequence of arrays ``[K, *shape]``, one per call, from one purpose of K seeds.

    Args:
        seeds: the K members that draw.
        purpose: name of the stream; two streams of one agent need two purposes.
        shape: shape of a draw per seed.
        kind: "uniform" in [0, 1) or "normal" (standard).
        device: where the draws are wanted; a block is moved there at once.
        transform: applied to every value; it must act on each alone and be exact (no ``exp``).
    """

    def __init__(
        self,
        seeds: Sequence[Member],
        purpose: str,
        shape: Sequence[int],
        kind: str = "uniform",
        device: torch.device | str = "cpu",
        transform: Callable[[np.ndarray], np.ndarray] | None = None,
    ) -> None:
        self.seeds, self.purpose, self.shape, self.kind = tuple(seeds), purpose, tuple(shape), kind
        self.device, self.transform = torch.device(device), transform
        width = max(1, int(np.prod(self.shape)))
        self.per_block = max(1, _BLOCK_VALUES // width)
        self._most = max(1, _HELD_VALUES // (len(self.seeds) * width))
        self._generators: list[np.random.Generator] = []  # of the block, behind what is held
        self._host = np.empty(0, np.float32)  # draws held, [<= per_block, K, *shape]
        self._values = torch.from_numpy(self._host)  # the same on the device
        self._place(-1, self.per_block)

    def _place(self, block: int, offset: int) -> None:
        """Stand at a draw of a block, with nothing held."""
        self.block, self.offset = block, offset
        self._start = self._end = offset  # of what is held, in draws of the block

    def __call__(self) -> Tensor:
        """Return the next draw, ``[K, *shape]`` float32."""
        place = self._advance()
        return self._values[place]

    def host(self) -> np.ndarray:
        """Return the next draw as an array, for decisions that are made on the host."""
        place = self._advance()
        draw: np.ndarray = self._host[place]
        return draw

    def _advance(self) -> int:
        """Go to the next draw; returns its place among those held."""
        if self.offset == self._end:
            self._fill()
        self.offset += 1
        return self.offset - 1 - self._start

    def _fill(self) -> None:
        """Draw what comes next: a whole block, or as much of it as is to be held."""
        if self.offset == self.per_block:
            self._open(self.block + 1)
        count = min(self._most, self.per_block - self.offset)
        self._start, self._end = self.offset, self.offset + count
        values = np.empty((len(self.seeds), count, *self.shape), np.float32)
        for draw, mine in zip(self._generators, values, strict=True):
            fill = draw.random if self.kind == "uniform" else draw.standard_normal
            fill(dtype=np.float32, out=mine)
        if self.transform is not None:
            values = self.transform(values)
        self._host = np.ascontiguousarray(values.swapaxes(0, 1))
        self._values = torch.from_numpy(self._host).to(self.device)

    def _open(self, block: int) -> None:
        self._place(block, 0)
        self._generators = [generator(seed, self.purpose, block=block) for seed in self.seeds]

    def state(self) -> dict[str, int]:
        """Return the position in the stream."""
        return {"block": self.block, "offset": self.offset}

    def load(self, state: dict[str, int]) -> None:
        """Continue from a position that ``state`` returned."""
        self._place(state["block"], state["offset"])
        if self.block < 0:
            return
        self._open(self.block)
        while self._end < state["offset"]:
            self.offset = self._end
            self._fill()
        self.offset = state["offset"]


class Draws:
    """The random numbers of an evaluation: each of its K x N episodes has streams of its own.

    So an episode's draws depend on its seed and its lane alone. They begin anew with every
    evaluation and are no part of an agent's state.

    Args:
        seeds: the K members that are evaluated.
        purpose: name of the streams.
        lanes: N, episodes of each member.
        device: where the draws are wanted.
    """

    def __init__(
        self, seeds: Sequence[Member], purpose: str, lanes: int, device: torch.device | str = "cpu"
    ) -> None:
        members = [seed if isinstance(seed, tuple) else (seed,) for seed in seeds]
        self._members = [(*member, lane) for member in members for lane in range(lanes)]
        self._grid, self._purpose, self._device = (len(members), lanes), purpose, device
        self._streams: dict[tuple[int, str], RandomStream] = {}

    def __call__(self, width: int, kind: str = "uniform") -> Tensor:
        """Return the next draw ``[K, N, width]`` float32; ``kind`` as in ``RandomStream``."""
        if (key := (width, kind)) not in self._streams:
            purpose = f"{self._purpose}/{kind}/{width}"
            self._streams[key] = RandomStream(
                self._members, purpose, (width,), kind, device=self._device
            )
        return self._streams[key]().view(*self._grid, width)
