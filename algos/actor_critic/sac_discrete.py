"""Soft actor-critic for discrete actions (Christodoulou 2019): expectations instead of samples.

A critic values every action and the policy is a categorical one, so the soft value of a state, the
policy's loss and the temperature's are sums over the actions.

Deviations from the paper:
- Targets are soft, as SAC's; the paper copies them every 8,000 steps on Atari.
- The first steps are uniformly random, an update follows every step (the paper's: every fourth),
  and the batch is SAC's.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from ..core.agent import GREEDY, SAMPLED, Component, Family, Preset, Spec
from ..core.distributions import Categorical
from ..core.nets import Mode, per_seed
from ..core.replay import Batch
from ..core.rng import Draws, RandomStream
from ..core.settings import setting
from ..formulas import continuous, policy, td
from .off_policy import FOUNDATIONS, NORMALIZATION, OffPolicy
from .soft import ENTROPY, TWIN_CRITICS, SoftConfig, Temperature


@dataclass
class SACDiscreteConfig(SoftConfig):
    """Every setting of discrete SAC; rates and sizes are SAC's."""

    agent: str = "sac_discrete"
    name: str = "sac_discrete"
    label: str = "SAC (discrete)"

    target_entropy_scale: float = setting(
        0.98, "entropy that a learned temperature aims at, as a share of log A", ge=0, lt=1
    )


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
)

FAMILY = Family(
    base=None, full="sac_discrete", parts=("learned temperature", "twin critics", "entropy")
)

PRESETS = {
    "sac_discrete": Preset(
        "SAC with a categorical policy, and expectations over its actions", "Christodoulou 2019"
    ),
}


class Choices:
    """Actions that are numbers 0 to A - 1, for the agent as for the environment."""

    shape: tuple[int, ...] = ()

    def __init__(self, count: int) -> None:
        self.count = count

    def random(self, draws: Tensor) -> Tensor:
        """Return uniform actions from draws in [0, 1)."""
        return (draws * self.count).long()

    def to_env(self, action: Tensor) -> Tensor:
        """Return the action itself."""
        return action

    def from_env(self, action: Tensor) -> Tensor:
        """Return the action itself."""
        return action


class SACDiscrete(OffPolicy):
    """The agent; see ``SACDiscreteConfig`` for its parts."""

    Config: ClassVar[type] = SACDiscreteConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    PARTS = (*OffPolicy.PARTS, "temperature", "draws")
    config: SACDiscreteConfig

    def __init__(
        self, config: SACDiscreteConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert isinstance(spec.action_space, spaces.Discrete)
        n = int(spec.action_space.n)
        super().__init__(config, spec, seeds, device, Choices(n), 0, (n, n), slow_actor=False)
        goal = config.target_entropy_scale * math.log(n)
        self.temperature = Temperature(config, len(seeds), goal, device)
        self.draws = RandomStream(seeds, "act", (config.lanes, 1), device=device)

    @classmethod
    def _impossible(cls, space: spaces.Space) -> str | None:
        """Say why actions are impossible: they are some of a finite set."""
        if isinstance(space, spaces.Discrete) and space.n > 1:
            return None
        return f"it needs two or more discrete actions, the environment has {space}"

    def _anneal(self, share: float) -> None:
        super()._anneal(share)
        self.temperature.optimizer.lr = share * self.config.alpha_lr

    def _policy(self, seen: Tensor) -> Categorical:
        """Return the policy; its log-probabilities are ``[K, B, A]``."""
        out = self.actor.online.forward(seen)
        return Categorical(per_seed(lambda x: F.log_softmax(x, -1), out))

    @classmethod
    def policies(cls, config: SACDiscreteConfig) -> tuple[str, ...]:
        """Greedy by default, as SAC."""
        return GREEDY, SAMPLED

    @classmethod
    def valued(cls, config: SACDiscreteConfig) -> str | None:
        """Under neither form, as SAC."""
        return None

    def _sampled(self, seen: Tensor, draws: Draws) -> Tensor:
        return self._policy(seen).sample(draws(1))

    def _explore(self, seen: Tensor) -> Tensor:
        return self._policy(seen).sample(self.draws())

    def _greedy(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Take the likeliest action; the values are soft: they include the entropy to come."""
        action = self._policy(seen).mode()
        return action, continuous.smallest(self._taken(seen, action))

    def _taken(self, seen: Tensor, action: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        q = self.critics.values(seen, mode=mode)  # [K, C, B, A]
        places = action[:, None, :, None].expand(-1, q.shape[1], -1, 1)
        return q.gather(-1, places).squeeze(-1)

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics learn, ``[K, B]`` (Christodoulou 2019, equation 10)."""
        log_p = self._policy(self._see(batch.next_obs)).log_p
        q = self.critics.target_values(self._see(batch.next_obs, slow=True)).amin(1)
        value, _ = policy.expected_soft_value(q, *_both(log_p), self.temperature())
        return td.bootstrap(batch.reward, batch.discount, value)

    def _improve(self, seen: Tensor) -> dict[str, Tensor]:
        """Update the policy, the temperature and the targets of every seed."""
        alpha = self.temperature().detach()
        loss, entropy = self._policy_loss(seen, alpha)
        self.actor.step(loss)
        self.temperature.learn(-entropy.detach())
        self._update_targets()
        metrics = {"loss/actor": loss.detach(), "loss/entropy": entropy.detach().mean(-1)}
        return metrics | {"loss/alpha": alpha}

    def _policy_loss(self, seen: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
        """Return the policy's loss ``[K]`` (equation 12), and its entropies ``[K, B]``."""
        log_p = self._policy(seen).log_p
        with torch.no_grad():
            q = self.critics.values(seen).amin(1)
        value, entropy = policy.expected_soft_value(q, *_both(log_p), alpha)
        return -value.mean(-1), entropy


def _both(log_p: Tensor) -> tuple[Tensor, Tensor]:
    """Return the probabilities of log-probabilities ``[K, B, A]``, and these."""
    return per_seed(torch.exp, log_p), log_p
