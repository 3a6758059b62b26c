"""Running normalisation as part of an agent's state: frozen while it is evaluated, and saved.

Statistics are kept in float64 and merged batch by batch (Chan et al. 1979), each seed alone.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .agent import State
from .parts import HasParts


class RunningMoments(HasParts):
    """Mean and variance ``[K, *shape]`` of all that was added; 0 and 1 before that."""

    PARTS = ("mean", "var", "count")

    def __init__(self, k: int, shape: Sequence[int], device: torch.device) -> None:
        self.mean = torch.zeros(k, *shape, dtype=torch.float64, device=device)
        self.var = torch.ones(k, *shape, dtype=torch.float64, device=device)
        self.count = torch.zeros(k, dtype=torch.float64, device=device)

    @torch.no_grad()
    def add(self, x: Tensor, weight: Tensor) -> None:
        """Merge ``x [K, B, *shape]``; ``weight [K, B]`` is 1 for rows that count, else 0."""
        for k, (xk, wk) in enumerate(
            zip(x.double().unbind(0), weight.double().unbind(0), strict=True)
        ):
            n, before = wk.sum(), self.count[k].clone()
            w = wk.view(-1, *[1] * (xk.dim() - 1))
            mean = (xk * w).sum(0) / n.clamp(min=1)
            var = ((xk - mean).square() * w).sum(0) / n.clamp(min=1)
            total = before + n
            shift = mean - self.mean[k]
            share = n / total.clamp(min=1)
            spread = self.var[k] * (before / total.clamp(min=1)) + var * share
            spread = spread + shift.square() * share * (1 - share)
            self.var[k] = torch.where(n > 0, spread, self.var[k])
            self.mean[k] += shift * share
            self.count[k] = total


class ObservationNormalizer(HasParts):
    """Maps observations to ``(x - mean) / std``, clipped to [-clip, clip]."""

    PARTS = ("moments",)

    def __init__(
        self, k: int, shape: Sequence[int], device: torch.device, clip: float = 10.0
    ) -> None:
        self.moments, self.clip = RunningMoments(k, shape, device), clip
        self._refresh()

    def _refresh(self) -> None:
        self._mean = self.moments.mean.float().unsqueeze(1)
        self._scale = (self.moments.var + 1e-8).rsqrt().float().unsqueeze(1)

    def __call__(self, obs: Tensor) -> Tensor:
        """Normalise ``obs [K, B, *shape]``."""
        return ((obs - self._mean) * self._scale).clamp_(-self.clip, self.clip)

    def add(self, obs: Tensor, weight: Tensor) -> None:
        """Learn the moments of a batch; see ``RunningMoments.add``."""
        self.moments.add(obs, weight)
        self._refresh()

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""
        super().load(state)
        self._refresh()


class RewardScaler(HasParts):
    """Divides rewards by the standard deviation of the discounted return so far, clipped.

    Engstrom et al. 2020, section 3; the return of a lane runs on over rollouts and starts again
    with an episode. The mean is not taken away: that would change what is optimal.
    """

    PARTS = ("moments", "running")

    def __init__(
        self, k: int, lanes: int, gamma: float, device: torch.device, clip: float = 10.0
    ) -> None:
        self.moments = RunningMoments(k, (), device)
        self.running = torch.zeros(k, lanes, device=device)
        self.gamma, self.clip = gamma, clip

    @property
    def scale(self) -> Tensor:
        """What scaled values are multiplied by to be raw ones, ``[K]``."""
        return (self.moments.var + 1e-8).sqrt().float()

    @torch.no_grad()
    def __call__(self, reward: Tensor, ended: Tensor, valid: Tensor) -> Tensor:
        """Learn from rewards ``[K, T, N]`` in order, and scale them."""
        returns = torch.empty_like(reward)
        for t in range(reward.shape[1]):
            self.running = self.running * self.gamma + reward[:, t]
            returns[:, t] = self.running
            self.running = torch.where(ended[:, t], 0.0, self.running)
        self.moments.add(returns.flatten(1), valid.flatten(1))
        return (reward / self.scale[:, None, None]).clamp_(-self.clip, self.clip)
