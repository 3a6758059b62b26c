"""Soft actor-critic for continuous control (Haarnoja et al. 2018a, 2018b).

Deviations from the papers:
- The policy and the temperature learn from the same sampled actions.
- log std is cut to [-20, 2], as in the published code; behind the cut its gradient is zero.
- Actions, densities and the critics' inputs are in [-1, 1], mapped to the environment's box
  outside; the target entropy refers to that box.
- The first steps are uniformly random, as in the published code.
- With dropout or batch normalisation, what values (targets, and the critics that the policy climbs)
  has no dropout and uses running statistics; only what learns has them.
- There is no separate value network (2018a has one, 2018b has not).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn

from ..core import torso
from ..core.agent import Component, Family, Preset, Spec
from ..core.nets import Mode, per_seed
from ..core.optim import FlatParams, SeedOptimizer
from ..core.parts import HasParts
from ..core.replay import Batch
from ..core.rng import RandomStream
from ..core.settings import setting
from ..core.squashed import squash, squashed_gaussian
from ..formulas import continuous, td
from .off_policy import FOUNDATIONS, OffPolicy, OffPolicyConfig

TEMPERATURES = ("learned", "fixed")


@dataclass
class SACConfig(OffPolicyConfig):
    """Every setting of SAC; the defaults are those of Haarnoja et al. 2018b, appendix D."""

    agent: str = "sac"
    name: str = "sac"
    label: str = "SAC"

    norm: str = setting(
        "none",
        "normalisation of each hidden layer of actor and critics before its activation",
        choices=torso.NORMS,
    )
    dropout: float = setting(
        0.0, "share of a hidden layer's outputs that an update leaves out", ge=0, lt=1
    )
    entropy: bool = setting(
        True, "false: the policy is stochastic, but nothing rewards its entropy"
    )
    temperature: str = setting("learned", "the weight of the entropy", choices=TEMPERATURES)
    alpha: float = setting(
        1.0, "the temperature: where a learned one starts, or the fixed one (`ent_coef`)", ge=0
    )
    alpha_lr: float = setting(3e-4, "learning rate of log alpha, by Adam", ge=0)
    target_entropy: float | None = setting(
        None, "nats that a learned temperature aims at; null: minus an action's size", free=True
    )
    log_std_min: float = setting(-20.0, "the policy's log deviation is cut below", free=True)
    log_std_max: float = setting(2.0, "the policy's log deviation is cut above", free=True)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.temperature == "learned" and self.alpha == 0:
            raise ValueError("alpha must be above 0 where temperature=learned starts from it")
        if self.norm == "batch" and self.rows == 1:
            raise ValueError("norm=batch needs two rows in an update")
        if self.log_std_min >= self.log_std_max:
            bounds = f"{self.log_std_min} and {self.log_std_max}"
            raise ValueError(f"log_std_min must lie below log_std_max, got {bounds}")


COMPONENTS = (
    Component(
        "learned temperature",
        "Haarnoja et al. 2018b",
        on={"temperature": "learned", "alpha": 1.0},
        off={"temperature": "fixed", "alpha": 0.2},  # Spinning Up's temperature
    ),
    Component(
        "twin critics",
        "Fujimoto et al. 2018",
        on={"critics": 2},
        off={"critics": 1},  # its own target is all there is
    ),
    Component(
        "entropy",
        "Haarnoja et al. 2018a",
        on={"entropy": True},
        off={"entropy": False},  # the return alone; the policy stays stochastic
    ),
    *FOUNDATIONS,
    *torso.COMPONENTS,
)

FAMILY = Family(base=None, full="sac", parts=("learned temperature", "twin critics", "entropy"))

PRESETS = {
    "sac": Preset(
        "a stochastic policy, twin critics and a learned temperature",
        "Haarnoja et al. 2018a; Haarnoja et al. 2018b",
    ),
}


class Temperature(HasParts):
    """The weight alpha ``[K]`` of the entropy: learned, fixed, or zero."""

    PARTS = ("log", "optimizer")

    def __init__(self, config: SACConfig, k: int, actions: int, device: torch.device) -> None:
        self.learns = config.entropy and config.temperature == "learned"
        self.goal = -float(actions) if config.target_entropy is None else config.target_entropy
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


class SAC(OffPolicy):
    """The agent; see ``SACConfig`` for its parts."""

    Config: ClassVar[type] = SACConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    PARTS = (*OffPolicy.PARTS, "temperature", "draws")
    config: SACConfig

    def __init__(
        self, config: SACConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        around = torso.Around(config.norm, config.dropout, config.rows)
        super().__init__(config, spec, seeds, device, 2, slow_actor=False, around=around)
        n_act = self.box.width
        self.temperature = Temperature(config, len(seeds), n_act, device)
        grid, rows = (config.lanes, n_act), (config.rows, n_act)
        self.draws = {
            purpose: RandomStream(seeds, purpose, shape, "normal", device)
            for purpose, shape in (("act", grid), ("noise/next", rows), ("noise/policy", rows))
        }

    def _explore(self, obs: Tensor) -> Tensor:
        return self._sample(obs, "act")[0]

    def _greedy(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Take tanh of the mean; the values are soft: they include the entropy to come."""
        action = squash(self._policy(obs)[0])
        return action, continuous.smallest(self.critics.values(obs, action))

    def _policy(self, obs: Tensor, mode: Mode = Mode.SAMPLE) -> tuple[Tensor, Tensor]:
        """Return mean and log std of the Gaussian, ``[K, B, A]`` each."""
        mean, log_std = self.actor.online.forward(obs, mode).chunk(2, -1)
        return mean, log_std.clamp(self.config.log_std_min, self.config.log_std_max)

    def _sample(self, obs: Tensor, purpose: str, mode: Mode = Mode.SAMPLE) -> tuple[Tensor, Tensor]:
        """Return actions ``[K, B, A]`` in the unit box and their log-probabilities ``[K, B]``."""
        return squashed_gaussian(*self._policy(obs, mode), self.draws[purpose]())

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics learn, ``[K, B]`` (Haarnoja et al. 2018a, equation 8)."""
        action, log_prob = self._sample(batch.next_obs, "noise/next")
        q = continuous.smallest(self.critics.target_values(batch.next_obs, action))
        value = continuous.soft_value(q, log_prob, self.temperature())
        return td.bootstrap(batch.reward, batch.discount, value)

    def _improve(self, batch: Batch) -> dict[str, Tensor]:
        """Update the policy, the temperature and the targets of every seed."""
        alpha = self.temperature().detach()
        loss, log_prob = self._policy_loss(batch.obs, alpha)
        self.actor.step(loss)
        self.temperature.learn(log_prob.detach())
        self.critics.update_target(self.config.tau)
        metrics = {"loss/actor": loss.detach(), "loss/entropy": -log_prob.detach().mean(-1)}
        return metrics | {"loss/alpha": alpha}

    def _policy_loss(self, obs: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Return the policy's loss ``[K]``, and log-probabilities ``[K, B]`` of its actions."""
        action, log_prob = self._sample(obs, "noise/policy", Mode.LEARN)
        value = continuous.smallest(self.critics.judge(obs, action))
        loss = continuous.soft_policy_loss(value, log_prob, alpha)
        return loss, log_prob
