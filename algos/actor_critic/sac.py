"""Soft actor-critic for continuous control (Haarnoja et al. 2018a, 2018b).

Deviations from the papers:
- The policy and the temperature learn from the same sampled actions.
- log std is cut to [-20, 2], as in the published code; beyond the cut its gradient is zero.
- Actions, densities and the critics' inputs are in [-1, 1], mapped to the environment's box
  outside; the target entropy refers to that box.
- The first steps are uniformly random, as in the published code.
- With dropout or batch normalisation, what values (targets, and the critics that the policy climbs)
  has no dropout and uses running statistics; only what learns has them.
- There is no separate value network (2018a has one, 2018b has not).

``gsde`` is generalised state-dependent exploration (Raffin et al. 2021), with these deviations:
- An update draws an action for each row from the Gaussian that the noise amounts to; the published
  code gives all rows of a batch the same noise matrix.
- Between two draws the noise follows the deviations as they are learned, and does not begin anew
  with an episode.
- The mean is not cut; the published code cuts it to [-2, 2]. The log deviation is cut in neither.
- Evaluation by the sampled policy draws noise at every step: it has the deviation of exploration,
  but is not held.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from ..core import torso
from ..core.agent import GREEDY, SAMPLED, Component, Family, Preset, Spec
from ..core.nets import Mode
from ..core.replay import Batch
from ..core.rng import Draws, RandomStream
from ..core.settings import setting
from ..core.squashed import UnitBox, squash, squashed_gaussian
from ..formulas import continuous, td
from .gsde import FeatureGaussian, HeldDraws
from .networks import Perceptron, Sizes
from .off_policy import FOUNDATIONS, NORMALIZATION, OffPolicy
from .soft import ENTROPY, TWIN_CRITICS, SoftConfig, Temperature


@dataclass
class SACConfig(SoftConfig):
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
    target_entropy: float | None = setting(
        None, "nats that a learned temperature aims at; null: minus an action's size", free=True
    )
    log_std_min: float = setting(
        -20.0, "least log deviation of the policy (not with gsde)", free=True
    )
    log_std_max: float = setting(
        2.0, "largest log deviation of the policy (not with gsde)", free=True
    )
    gsde: bool = setting(False, "the noise of exploration is a function of the state (gSDE)")
    gsde_every: int = setting(
        8, "ticks for which that function stays the same (`sde_sample_freq` elsewhere)", ge=1
    )
    gsde_log_std: float = setting(
        -3.0, "log of its weights' deviation at the start (`log_std_init`)", free=True
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.norm == "batch" and self.rows == 1:
            raise ValueError("norm=batch needs two rows in an update")
        if self.gsde and (self.norm != "none" or self.dropout > 0):
            raise ValueError("gsde takes its noise from plain layers: set norm=none and dropout=0")
        if self.log_std_min >= self.log_std_max:
            bounds = f"{self.log_std_min} and {self.log_std_max}"
            raise ValueError(f"log_std_min must lie below log_std_max, got {bounds}")
        if self.gsde and not self.hidden:
            raise ValueError("gsde=true needs a hidden layer, whose features make the noise")


COMPONENTS = (
    Component(
        "learned temperature",
        "Haarnoja et al. 2018b",
        on={"temperature": "learned", "alpha": 1.0},
        off={"temperature": "fixed", "alpha": 0.2},  # Spinning Up's temperature
    ),
    TWIN_CRITICS,
    ENTROPY,
    *FOUNDATIONS,
    *NORMALIZATION,
    Component(
        "gSDE",
        "Raffin et al. 2021",
        on={"gsde": True},
        off={"gsde": False},  # noise of its own at every step
        foundation=True,
    ),
    *torso.COMPONENTS,
)

FAMILY = Family(base=None, full="sac", parts=("learned temperature", "twin critics", "entropy"))

PRESETS = {
    "sac": Preset(
        "a stochastic policy, twin critics and a learned temperature",
        "Haarnoja et al. 2018a; Haarnoja et al. 2018b",
    ),
}


class SAC(OffPolicy):
    """The agent; see ``SACConfig`` for its parts."""

    Config: ClassVar[type] = SACConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    PARTS = (*OffPolicy.PARTS, "temperature", "draws", "held")
    config: SACConfig

    def __init__(
        self, config: SACConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert isinstance(spec.action_space, spaces.Box)
        box = UnitBox(spec.action_space, device)
        n_act, out = box.width, box.width if config.gsde else 2 * box.width
        around = torso.Around(config.norm, config.dropout, config.rows)
        super().__init__(config, spec, seeds, device, box, n_act, (out, 1), False, around)
        goal = -float(n_act) if config.target_entropy is None else config.target_entropy
        self.temperature = Temperature(config, len(seeds), goal, device)
        grid, rows = (config.lanes, n_act), (config.rows, n_act)
        self.draws = {
            purpose: RandomStream(seeds, purpose, shape, "normal", device)
            for purpose, shape in (("act", grid), ("noise/next", rows), ("noise/policy", rows))
        }
        self.held = None
        if config.gsde:
            shape = config.lanes, config.hidden[-1], n_act
            self.held = HeldDraws(seeds, shape, config.gsde_every, device)

    @classmethod
    def policies(cls, config: SACConfig) -> tuple[str, ...]:
        """Greedy by default: the mean action, as in Haarnoja et al. 2018a, section 5.2."""
        return GREEDY, SAMPLED

    @classmethod
    def valued(cls, config: SACConfig) -> str | None:
        """Under neither form: values of the sampled policy, and soft, judge the mean action."""
        return None

    def _actor(
        self, seeds: Sequence[int], sizes: Sizes, around: torso.Around, role: str
    ) -> Perceptron:
        if not self.config.gsde:
            return super()._actor(seeds, sizes, around, role)
        return FeatureGaussian(seeds, sizes, self.config.gsde_log_std)

    def _anneal(self, share: float) -> None:
        super()._anneal(share)
        self.temperature.optimizer.lr = share * self.config.alpha_lr

    def _explore(self, seen: Tensor) -> Tensor:
        if self.held is None:
            return self._sample(seen, "act")[0]
        assert isinstance(self.actor.online, FeatureGaussian)
        return squash(self.actor.online.noisy(seen, self.held()))

    def _greedy(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Take tanh of the mean; the values are soft: they include the entropy to come."""
        action = squash(self._policy(seen)[0])
        return action, continuous.smallest(self.critics.values(seen, action))

    def _sampled(self, seen: Tensor, draws: Draws) -> Tensor:
        mean, log_std = self._policy(seen)
        return squashed_gaussian(mean, log_std, draws(mean.shape[-1], "normal"))[0]

    def _policy(self, seen: Tensor, mode: Mode = Mode.SAMPLE) -> tuple[Tensor, Tensor]:
        """Return mean and log std of the Gaussian, ``[K, B, A]`` each."""
        mean, log_std = self.actor.online.forward(seen, mode).chunk(2, -1)
        if self.config.gsde:  # the deviation that its noise has
            return mean, log_std
        return mean, log_std.clamp(self.config.log_std_min, self.config.log_std_max)

    def _sample(
        self, seen: Tensor, purpose: str, mode: Mode = Mode.SAMPLE
    ) -> tuple[Tensor, Tensor]:
        """Return actions ``[K, B, A]`` in the unit box and their log-probabilities ``[K, B]``."""
        return squashed_gaussian(*self._policy(seen, mode), self.draws[purpose]())

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics learn, ``[K, B]`` (Haarnoja et al. 2018a, equation 8)."""
        action, log_prob = self._sample(self._see(batch.next_obs), "noise/next")
        seen = self._see(batch.next_obs, slow=True)
        q = continuous.smallest(self.critics.target_values(seen, action))
        value = continuous.soft_value(q, log_prob, self.temperature())
        return td.bootstrap(batch.reward, batch.discount, value)

    def _improve(self, seen: Tensor) -> dict[str, Tensor]:
        """Update the policy, the temperature and the targets of every seed."""
        alpha = self.temperature().detach()
        loss, log_prob = self._policy_loss(seen, alpha)
        self.actor.step(loss)
        self.temperature.learn(log_prob.detach())
        self._update_targets()
        metrics = {"loss/actor": loss.detach(), "loss/entropy": -log_prob.detach().mean(-1)}
        return metrics | {"loss/alpha": alpha}

    def _policy_loss(self, seen: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Return the policy's loss ``[K]``, and log-probabilities ``[K, B]`` of its actions."""
        action, log_prob = self._sample(seen, "noise/policy", Mode.LEARN)
        value = continuous.smallest(self.critics.judge(seen, action))
        loss = continuous.soft_policy_loss(value, log_prob, alpha)
        return loss, log_prob
