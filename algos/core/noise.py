"""Exploration of agents that act in the unit box [-1, 1]^A: a uniform warm-up, and noise.

Noise is added once a tick to actions ``[K, N, A]`` and told, by ``restart``, which episodes ended.
"""

import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .parts import HasParts, Part
from .rng import RandomStream

KINDS = ("gaussian", "ornstein_uhlenbeck", "none")


class Noise(Part, Protocol):
    """What is added to a deterministic action."""

    def __call__(self, action: Tensor) -> Tensor:
        """Return ``action [K, N, A]`` with the next noise, cut to the unit box."""

    def restart(self, ended: Tensor) -> None:
        """Forget the past of the lanes ``[K, N]`` whose episode has ended."""


class NoNoise(HasParts):
    """Actions as they are."""

    def __call__(self, action: Tensor) -> Tensor:
        """Return the action itself."""
        return action

    def restart(self, ended: Tensor) -> None:
        """Do nothing."""


class Gaussian(HasParts):
    """Independent normal noise (Fujimoto et al. 2018, section 6.1).

    Args:
        seeds: the K seeds. shape: ``(N, A)``. std: in units of the unit box.
    """

    PARTS = ("draws",)

    def __init__(
        self, seeds: Sequence[int], shape: tuple[int, int], std: float, device: torch.device
    ) -> None:
        self.std = std
        self.draws = RandomStream(seeds, "act/noise", shape, "normal", device)

    def __call__(self, action: Tensor) -> Tensor:
        """Return the action with the next noise."""
        return (action + self.draws() * self.std).clamp(-1.0, 1.0)

    def restart(self, ended: Tensor) -> None:
        """Do nothing: there is no past."""


class OrnsteinUhlenbeck(HasParts):
    """Noise with inertia, zero at the start of an episode (Uhlenbeck and Ornstein 1930).

    ``x' = x - theta x dt + std sqrt(dt) normal``, as Lillicrap et al. 2016 explore, with the
    published codes' time step.

    Args:
        seeds: the K seeds. shape: ``(N, A)``. std, theta: volatility and pull to zero, per unit of
            time. dt: time between two ticks; from ``theta dt = 2`` on, the noise would grow.
    """

    PARTS = ("draws", "x")

    def __init__(
        self,
        seeds: Sequence[int],
        shape: tuple[int, int],
        std: float,
        theta: float,
        dt: float,
        device: torch.device,
    ) -> None:
        self._keep, self._kick = 1 - theta * dt, std * math.sqrt(dt)
        self.draws = RandomStream(seeds, "act/noise", shape, "normal", device)
        self.x = torch.zeros(len(seeds), *shape, device=device)

    def __call__(self, action: Tensor) -> Tensor:
        """Return the action with the next noise."""
        self.x = self.x * self._keep + self.draws() * self._kick
        return (action + self.x).clamp(-1.0, 1.0)

    def restart(self, ended: Tensor) -> None:
        """Begin at zero again where an episode has ended."""
        self.x = torch.where(ended.unsqueeze(-1), 0.0, self.x)


class Warmup(HasParts):
    """Uniform draws in [0, 1), for random actions, during the first ``steps`` steps of a seed."""

    PARTS = ("draws",)

    def __init__(
        self, seeds: Sequence[int], shape: tuple[int, ...], steps: int, device: torch.device
    ) -> None:
        self.steps = steps
        self.draws = RandomStream(seeds, "act/warmup", shape, device=device)

    def __call__(self, step: int) -> Tensor | None:
        """Return draws ``[K, *shape]`` for environment step ``step``, None once it is over."""
        return self.draws() if step < self.steps else None
