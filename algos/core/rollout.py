"""What K seeds x N lanes lived through between two updates of an on-policy agent.

Shape letters: K seed, T tick, N lane; a flat row is ``t * N + n``.
"""

from dataclasses import dataclass

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from algos.core.agent import State, Step


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

    def timewise(self, x: Tensor) -> Tensor:
        """Return ``[K, T, N]``, or the flat rows of it, as ``[T, K, N]``, for the formulas."""
        return x.view(self.reward.shape).transpose(0, 1)

    def discounts(self, gamma: float) -> tuple[Tensor, Tensor]:
        """Return ``discount_t`` and ``carry_t`` of the formulas, ``[T, K, N]``."""
        discount = torch.where(self.terminated, 0.0, gamma)
        carry = torch.where(self.terminated | self.truncated, 0.0, gamma)
        return discount.transpose(0, 1), carry.transpose(0, 1)


class Rollout:
    """Room for T ticks of K seeds x N lanes.

    Args:
        k: seeds. length: T. lanes: N. obs: their space. action: shape and dtype of an action.
        device: where to keep it.
    """

    def __init__(
        self,
        k: int,
        length: int,
        lanes: int,
        obs: spaces.Box,
        action: tuple[tuple[int, ...], type],
        device: torch.device,
    ) -> None:
        self.length, self.filled = length, 0
        rows = (k, length, lanes)
        kinds = {
            "obs": (obs.shape, obs.dtype),
            "next_obs": (obs.shape, obs.dtype),
            "action": action,
            "reward": ((), np.float32),
            "terminated": ((), np.bool_),
            "truncated": ((), np.bool_),
            "valid": ((), np.bool_),
        }
        self._fields = {
            name: torch.from_numpy(np.zeros((*rows, *shape), dtype)).to(device)
            for name, (shape, dtype) in kinds.items()
        }
        # a tick's slice of every field, cut once: T views cost less than T times as many cuts
        self._ticks = [tuple(field[:, t] for field in self._fields.values()) for t in range(length)]

    @property
    def full(self) -> bool:
        """Whether an update is due."""
        return self.filled == self.length

    def add(self, step: Step) -> None:
        """Store one tick."""
        values = (
            step.obs,
            step.next_obs,
            step.action,
            step.reward,
            step.terminated,
            step.truncated,
            step.valid,
        )
        for room, value in zip(self._ticks[self.filled], values, strict=True):
            room.copy_(value)
        self.filled += 1

    def take(self) -> Trajectories:
        """Return what is stored, valid until the next ``add``, and start over."""
        assert self.full
        self.filled = 0
        return Trajectories(**self._fields)

    def state(self) -> State:
        """Return the ticks since the last update."""
        return {"filled": self.filled, **{name: x for name, x in self._fields.items()}}

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""
        self.filled = state["filled"]
        for name, field in self._fields.items():
            field.copy_(state[name])
