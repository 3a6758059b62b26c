"""What K seeds x N lanes lived through between two updates of an on-policy agent.

Shape letters: K seed, T tick, N lane; a flat row is ``t * N + n``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from .agent import State, Step
from .parts import HasParts


@dataclass(frozen=True)
class Trajectories:
    """The content of a full rollout, every tensor ``[K, T, N, ...]``."""

    obs: Tensor
    next_obs: Tensor  # the true successors
    action: Tensor
    reward: Tensor
    terminated: Tensor
    truncated: Tensor
    valid: Tensor

    @property
    def begins(self) -> Tensor:
        """Where an episode begins behind the first row, ``[K, T, N]`` bool."""
        ended = self.terminated | self.truncated
        return torch.cat([torch.zeros_like(ended[:, :1]), ended[:, :-1]], 1)

    def timewise(self, x: Tensor) -> Tensor:
        """Return ``[K, T, N]``, or the flat rows of it, as ``[T, K, N]``, for the formulas."""
        return x.view(self.reward.shape).transpose(0, 1)

    def discounts(self, gamma: float) -> tuple[Tensor, Tensor]:
        """Return ``discount_t`` and ``carry_t`` of the formulas, ``[T, K, N]``."""
        discount = torch.where(self.terminated | ~self.valid, 0.0, gamma)
        carry = torch.where(self.terminated | self.truncated | ~self.valid, 0.0, gamma)
        return discount.transpose(0, 1), carry.transpose(0, 1)


def _rooms(
    rows: tuple[int, int, int],
    obs: spaces.Box,
    action: tuple[tuple[int, ...], type],
    device: torch.device,
) -> dict[str, Tensor]:
    """Return zeros ``[*rows, ...]`` for each field of ``Trajectories``, in their order."""
    kinds = {
        "obs": (obs.shape, obs.dtype),
        "next_obs": (obs.shape, obs.dtype),
        "action": action,
        "reward": ((), np.float32),
        "terminated": ((), np.bool_),
        "truncated": ((), np.bool_),
        "valid": ((), np.bool_),
    }
    return {
        name: torch.from_numpy(np.zeros((*rows, *shape), dtype)).to(device)
        for name, (shape, dtype) in kinds.items()
    }


def _values(step: Step) -> tuple[Tensor, ...]:
    """Return a step's values in the order of ``Trajectories``."""
    ends = (step.terminated, step.truncated, step.valid)
    return (step.obs, step.next_obs, step.action, step.reward, *ends)


class Rollout(HasParts):
    """Room for T ticks of K seeds x N lanes.

    Args:
        k: seeds. length: T. lanes: N. obs: their space. action: shape and dtype of an action.
        device: where to keep it.

    Attributes:
        ticks: how many were stored so far.
    """

    PARTS = ("filled", "fields", "ticks")

    def __init__(
        self,
        k: int,
        length: int,
        lanes: int,
        obs: spaces.Box,
        action: tuple[tuple[int, ...], type],
        device: torch.device,
    ) -> None:
        self.length, self.lanes = length, lanes
        self.filled = self.ticks = 0
        self.fields = _rooms((k, length, lanes), obs, action, device)
        # a tick's slice of every field, cut once: T views cost less than T times as many cuts
        self._ticks = [tuple(field[:, t] for field in self.fields.values()) for t in range(length)]

    @property
    def due(self) -> bool:
        """Whether it is full."""
        return self.filled == self.length

    def add(self, step: Step) -> None:
        """Store one tick."""
        for room, value in zip(self._ticks[self.filled], _values(step), strict=True):
            room.copy_(value)
        self.filled += 1
        self.ticks += 1

    @property
    def begun(self) -> int:
        """The environment step of every seed at which a full rollout began."""
        return (self.ticks - self.length) * self.lanes

    def take(self) -> Trajectories:
        """Return what is stored, valid until the next ``add``."""
        assert self.due
        return Trajectories(**self.fields)

    @staticmethod
    def rows(x: Tensor) -> list[Tensor]:
        """Cut ``[K, T, N, ...]`` into what is summed at once: all rows ``[K, T * N, ...]``."""
        return [x.flatten(1, 2)]

    def clear(self) -> None:
        """Start over."""
        self.filled = 0


class Episodes(HasParts):
    """Whole episodes of K seeds x N lanes, for environments whose lanes wait for each other.

    A set is one episode of every lane of a seed; a seed is ready when it has ``sets`` of them.
    Seeds end their sets at different ticks, so each writes at a position of its own. To give a seed
    the same sums in any company, what is learned from is cut into chunks of one shape, whatever the
    longest episode: chunks behind a seed's last row count nothing and add zeros.

    Args:
        k: seeds. sets: episodes of each lane. lanes: N. obs, action, device: see ``Rollout``.

    Attributes:
        due: whether any seed is ready. ready: which, ``[K]``.
        start: ``[K, sets]``, the tick at which each set began. set: ``[K, T]``, each tick's.
        steps: ``[K]``, environment steps of each seed so far; a lane that waits takes none.
    """

    CHUNK = 64  # ticks
    PARTS = ("fields", "set", "position", "done", "over", "start", "steps")
    GROWING = ("fields", "set")

    def __init__(
        self,
        k: int,
        sets: int,
        lanes: int,
        obs: spaces.Box,
        action: tuple[tuple[int, ...], type],
        device: torch.device,
    ) -> None:
        self.sets, self.due, self._seeds = sets, False, torch.arange(k, device=device)
        self._room = (obs, action, device)
        self.fields = _rooms((k, self.CHUNK, lanes), obs, action, device)
        self.position = torch.zeros(k, dtype=torch.int64, device=device)
        self.done = torch.zeros(k, dtype=torch.int64, device=device)  # sets
        self.steps = torch.zeros(k, dtype=torch.int64, device=device)
        self.over = torch.zeros(k, lanes, dtype=torch.bool, device=device)  # lanes of the set
        self.start = torch.zeros(k, sets, dtype=torch.int64, device=device)
        self.set = torch.zeros(k, self.CHUNK, dtype=torch.int64, device=device)  # of each tick

    @property
    def ready(self) -> Tensor:
        """Which seeds have all their sets."""
        return self.done == self.sets

    def add(self, step: Step) -> None:
        """Store one tick of every seed that is not ready."""
        if int(self.position.max()) == self.set.shape[1]:
            self._grow()
        rows = self._seeds, self.position
        for room, value in zip(self.fields.values(), _values(step), strict=True):
            room[rows] = value
        self.set[rows] = self.done
        self.position += step.valid.any(-1)  # a seed that has ended stays where it is
        self.steps += step.valid.sum(-1)
        self.over |= (step.terminated | step.truncated) & step.valid
        complete = self.over.all(-1)
        self.done += complete
        self.over &= ~complete.unsqueeze(1)
        begins = complete & (self.done < self.sets)
        index = self.done.clamp(max=self.sets - 1).unsqueeze(1)
        before = self.start.gather(1, index).squeeze(1)
        self.start.scatter_(1, index, torch.where(begins, self.position, before).unsqueeze(1))
        self.due = bool(self.ready.any())

    def _grow(self) -> None:
        k, ticks, lanes = self.fields["reward"].shape
        more = _rooms((k, ticks, lanes), *self._room)
        self.fields = {name: torch.cat([x, more[name]], 1) for name, x in self.fields.items()}
        self.set = torch.cat([self.set, torch.zeros_like(self.set)], 1)

    @property
    def begun(self) -> list[int]:
        """The environment step of each seed from which an update counts."""
        steps: list[int] = self.steps.tolist()
        return steps

    def take(self) -> Trajectories:
        """Return all rows, ``valid`` only for those of ready seeds.

        T is a multiple of ``CHUNK``. The rows stay until ``clear``.
        """
        longest = int(torch.where(self.ready, self.position, 0).max())
        ticks = -(-longest // self.CHUNK) * self.CHUNK
        cut = {name: x[:, :ticks] for name, x in self.fields.items()}
        mine = torch.arange(ticks, device=self.set.device) < self.position.unsqueeze(1)
        cut["valid"] = cut["valid"] & (mine & self.ready.unsqueeze(1)).unsqueeze(2)
        return Trajectories(**cut)

    @staticmethod
    def rows(x: Tensor) -> list[Tensor]:
        """Cut ``[K, T, N, ...]`` into what is summed at once: flat rows of each chunk."""
        return chunks(x)

    def clear(self) -> None:
        """Forget the rows of the seeds that are ready."""
        rest = ~self.ready
        self.position *= rest
        self.done *= rest
        self.start *= rest.unsqueeze(1)
        self.due = False

    def state(self) -> State:
        """Return the rows since each seed's last update; what lies behind them is zero."""
        state = super().state()
        behind = torch.arange(self.set.shape[1], device=self.set.device) >= self.position[:, None]
        for name, x in state["fields"].items():
            wide = behind.view(*behind.shape, *[1] * (x.dim() - 2))
            state["fields"][name] = x.masked_fill(wide, 0)
        return state | {"set": self.set.masked_fill(behind, 0)}


def chunks(x: Tensor, ticks: int = Episodes.CHUNK) -> list[Tensor]:
    """Cut ``[K, T, N, ...]`` into flat rows ``[K, ticks * N, ...]``."""
    return [part.flatten(1, 2) for part in torch.split(x, ticks, 1)]


def reordered(x: Tensor, order: Tensor) -> Tensor:
    """Return every seed's rows ``x [K, B, ...]`` in its own order ``[K, B]``."""
    k, rows = order.shape
    flat = order + rows * torch.arange(k, device=order.device).unsqueeze(1)
    return x.flatten(0, 1).index_select(0, flat.flatten()).view(x.shape)


def by_lane(x: Tensor, ticks: int) -> Tensor:
    """Return flat rows ``x [K, T * N, ...]`` so that the ticks of a lane lie side by side."""
    return x.view(len(x), ticks, -1, *x.shape[2:]).transpose(1, 2).flatten(1, 2)


def chunked_sum(x: Tensor) -> Tensor:
    """Return the sum over ticks and lanes of ``x [K, T, N]``, chunk by chunk, ``[K]``."""
    total = torch.zeros_like(x[:, 0, 0])
    for part in chunks(x):
        total = total + part.sum(1)
    return total
