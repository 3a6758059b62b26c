"""What SAC and its discrete form share: the entropy in the objective, and its weight."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..core.agent import Component
from ..core.nets import per_seed
from ..core.optim import FlatParams, SeedOptimizer
from ..core.parts import HasParts
from ..core.settings import setting
from ..formulas import continuous
from .off_policy import OffPolicyConfig

TEMPERATURES = ("learned", "fixed")


@dataclass
class SoftConfig(OffPolicyConfig):
    """Settings of the entropy; the defaults are those of Haarnoja et al. 2018b, appendix D."""

    entropy: bool = setting(
        True, "false: the policy is stochastic, but nothing rewards its entropy"
    )
    temperature: str = setting("learned", "the weight of the entropy", choices=TEMPERATURES)
    alpha: float = setting(
        1.0, "the temperature: where a learned one starts, or the fixed one (`ent_coef`)", ge=0
    )
    alpha_lr: float = setting(3e-4, "learning rate of log alpha, by Adam", ge=0)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.temperature == "learned" and self.alpha == 0:
            raise ValueError("alpha must be above 0 where temperature=learned starts from it")


TWIN_CRITICS = Component(
    "twin critics",
    "Fujimoto et al. 2018",
    on={"critics": 2},
    off={"critics": 1},  # its own target is all there is
)

ENTROPY = Component(
    "entropy",
    "Haarnoja et al. 2018a",
    on={"entropy": True},
    off={"entropy": False},  # the return alone; the policy stays stochastic
)


class Temperature(HasParts):
    """The weight alpha ``[K]`` of the entropy: learned, fixed, or zero.

    Args:
        config: the agent's. k: seeds. goal: the entropy, in nats, that a learned one aims at.
        device: where it lives.
    """

    PARTS = ("log", "optimizer")

    def __init__(self, config: SoftConfig, k: int, goal: float, device: torch.device) -> None:
        self.learns = config.entropy and config.temperature == "learned"
        self.goal = goal
        start = math.log(config.alpha) if self.learns else 0.0
        self.log = nn.Parameter(torch.full((k, 1), start, device=device))
        self._fixed = torch.full((k,), config.alpha if config.entropy else 0.0, device=device)
        self.optimizer = SeedOptimizer(FlatParams([self.log]), "adam", config.alpha_lr)

    def __call__(self) -> Tensor:
        """Return alpha ``[K]``; the gradient flows to what learns."""
        return per_seed(torch.exp, self.log).squeeze(1) if self.learns else self._fixed

    def learn(self, log_prob: Tensor) -> None:
        """Move towards the goal, given the log-probabilities ``[K, B]`` of sampled actions."""
        if self.learns:
            loss = continuous.temperature_loss(self(), log_prob, self.goal)
            self.optimizer.backward(loss)
            self.optimizer.step()
