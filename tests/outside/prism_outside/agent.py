"""An agent of another package: it learns the mean reward of each action, and takes the best."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Component, Spec, Step


@dataclass
class CoinConfig:
    """Settings of Coin."""

    agent: str = "coin"
    name: str = "coin"
    label: str = "Coin"
    lanes: int = 1
    reset: str = "each"
    gamma: float = 1.0
    cycle: bool = True  # try the actions in turn while training


class Coin:
    """Mean reward per action, [K, A]."""

    Config = CoinConfig
    COMPONENTS: ClassVar = (Component("cycle", "none", on={"cycle": True}, off={"cycle": False}),)
    max_seeds = None
    interacts = True

    def __init__(
        self, config: CoinConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config, self.ticks = config, 0
        actions = int(spec.action_space.n)
        self.first = torch.tensor(list(seeds))[:, None] % actions
        self.sums, self.counts = torch.zeros(2, len(seeds), actions, device=device)

    @classmethod
    def unsupported(cls, config: CoinConfig, spec: Spec) -> str | None:
        """Only discrete actions."""
        discrete = isinstance(spec.action_space, spaces.Discrete)
        return None if discrete else "it needs discrete actions"

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Try actions in turn, or take the best so far."""
        best = (self.sums / self.counts.clamp(min=1)).argmax(-1, keepdim=True)
        if explore and self.config.cycle:
            best = (self.first + self.ticks) % self.sums.shape[1]
        return best.expand(obs.shape[:2]).contiguous(), {}

    def observe(self, step: Step) -> None:
        """Count one tick."""
        self.ticks += 1
        rewards = torch.where(step.valid, step.reward, 0.0)
        self.sums.scatter_add_(1, step.action, rewards)
        self.counts.scatter_add_(1, step.action, step.valid.float())

    def update(self) -> dict[str, Tensor]:
        """Return how often the rarest action was tried."""
        return {"coin/rarest": self.counts.min(-1).values}

    def state(self) -> dict[str, Any]:
        """Return the means and the clock."""
        means = {"sums": self.sums, "counts": self.counts}
        return {"policy": means, "ticks": self.ticks}

    def load(self, state: dict[str, Any]) -> None:
        """Continue."""
        self.sums, self.counts = (state["policy"][name].clone() for name in ("sums", "counts"))
        self.ticks = state.get("ticks", 0)
