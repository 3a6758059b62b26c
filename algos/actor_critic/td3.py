"""Deterministic policy gradients for continuous control: one agent, its parts chosen by the config.

TD3 (Fujimoto et al. 2018) is DDPG (Lillicrap et al. 2016) with clipped double Q-learning, a delayed
policy and target policy smoothing; without the three it *is* DDPG: an actor, a critic, and a slow
copy of each.

Deviations from the papers:
- DDPG has TD3's architecture, learning rates and Gaussian noise ("our DDPG" of Fujimoto et al.),
  not batch norm, weight decay, small initial output layers and Ornstein-Uhlenbeck noise, which
  ``noise: ornstein_uhlenbeck`` brings back.
- Actions, noise and the critics' inputs are in [-1, 1], mapped to the environment's box outside.
- An update follows every step; the paper's code makes an episode's updates at its end.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from ..core import noise
from ..core.agent import Component, Family, Preset, Spec, Step
from ..core.replay import Batch
from ..core.rng import RandomStream
from ..core.settings import setting
from ..core.squashed import UnitBox, squash
from ..formulas import continuous, td
from .off_policy import FOUNDATIONS, NORMALIZATION, OffPolicy, OffPolicyConfig


@dataclass
class TD3Config(OffPolicyConfig):
    """Every setting of TD3 and DDPG; the defaults are TD3's (Fujimoto et al. 2018, section 6.1)."""

    agent: str = "td3"
    name: str = "td3"
    label: str = "TD3"
    hidden: list[int] = setting([400, 300])
    actor_lr: float = 1e-3
    critic_lr: float = 1e-3
    batch_size: int = 100

    policy_every: int = setting(
        2, "updates of the critics per update of the actor and the targets", ge=1
    )
    target_noise: float = setting(
        0.2, "deviation of the noise that smooths the target policy; 0: none", ge=0
    )
    target_noise_clip: float = setting(0.5, "largest magnitude of that noise", ge=0)

    noise: str = setting("gaussian", "of exploration", choices=noise.KINDS)
    noise_std: float = setting(
        0.1, "deviation of the exploration noise, in units of half the action range", ge=0
    )
    noise_theta: float = setting(0.15, "pull to zero (noise=ornstein_uhlenbeck)", ge=0)
    noise_dt: float = setting(0.01, "time between two ticks (noise=ornstein_uhlenbeck)", gt=0)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.noise == "ornstein_uhlenbeck" and self.noise_theta * self.noise_dt >= 2:
            raise ValueError(
                f"noise_theta must be below 2 / noise_dt = {2 / self.noise_dt:g}, or the noise "
                f"grows without bound; got {self.noise_theta}"
            )


COMPONENTS = (
    Component(
        "clipped double-Q",
        "Fujimoto et al. 2018",
        on={"critics": 2},
        off={"critics": 1},  # its own target is all there is
    ),
    Component(
        "delayed policy",
        "Fujimoto et al. 2018",
        on={"policy_every": 2},
        off={"policy_every": 1},  # actor and targets move at every update
    ),
    Component(
        "target smoothing",
        "Fujimoto et al. 2018",
        on={"target_noise": 0.2},
        off={"target_noise": 0.0},  # the target policy's own action
    ),
    *FOUNDATIONS,
    Component(
        "exploration noise",
        "Lillicrap et al. 2016",
        on={"noise": "gaussian"},
        off={"noise": "none"},  # random actions come from the warm-up alone
        foundation=True,
    ),
    *NORMALIZATION,
)

FAMILY = Family(
    base="ddpg",
    full="td3",
    parts=("clipped double-Q", "delayed policy", "target smoothing"),
)

PRESETS = {
    "td3": Preset(
        "clipped double-Q, a delayed policy and target smoothing", "Fujimoto et al. 2018"
    ),
    "ddpg": Preset(
        "TD3 without its three parts, at TD3's architecture and settings",
        "Lillicrap et al. 2016",
    ),
}


class TD3(OffPolicy):
    """The family's agent; see ``TD3Config`` for its parts."""

    Config: ClassVar[type] = TD3Config
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    FAMILY: ClassVar[Family] = FAMILY
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    PARTS = (*OffPolicy.PARTS, "noise", "target_draws", "updates")
    config: TD3Config

    def __init__(
        self, config: TD3Config, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert isinstance(spec.action_space, spaces.Box)
        box = UnitBox(spec.action_space, device)
        n_act = box.width
        super().__init__(config, spec, seeds, device, box, n_act, (n_act, 1), slow_actor=True)
        self.noise = _noise(config, seeds, (config.lanes, n_act), device)
        self.target_draws = RandomStream(
            seeds, "noise/target", (config.rows, n_act), "normal", device=device
        )
        self.updates = 0  # of the critics

    def _explore(self, seen: Tensor) -> Tensor:
        return self.noise(squash(self.actor.online.forward(seen)))

    def _greedy(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Take the actor's own actions; the values are the first critic's."""
        action = squash(self.actor.online.forward(seen))
        return action, self.critics.judge_first(seen, action)

    def observe(self, step: Step) -> None:
        """Store one tick."""
        super().observe(step)
        self.noise.restart(step.terminated | step.truncated)

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics learn, ``[K, B]``."""
        c = self.config
        seen = self._see(batch.next_obs, slow=True)
        action = squash(self.actor.target.forward(seen))
        if c.target_noise > 0:
            draws = self.target_draws()
            action = continuous.smoothed(action, draws, c.target_noise, c.target_noise_clip)
        q = continuous.smallest(self.critics.target_values(seen, action))
        return td.bootstrap(batch.reward, batch.discount, q)

    def _improve(self, seen: Tensor) -> dict[str, Tensor]:
        """Update the actor and all targets of every seed, every ``policy_every`` times."""
        self.updates += 1
        if self.updates % self.config.policy_every:
            return {}
        loss = self._policy_loss(seen)
        self.actor.step(loss)
        self.actor.update_target(self.config.tau)
        self._update_targets()
        return {"loss/actor": loss.detach()}

    def _policy_loss(self, seen: Tensor) -> Tensor:
        """Return the actor's loss ``[K]``: the first critic alone judges it."""
        action = squash(self.actor.online.forward(seen))
        return continuous.deterministic_policy_loss(self.critics.judge_first(seen, action))


def _noise(
    config: TD3Config, seeds: Sequence[int], grid: tuple[int, int], device: torch.device
) -> noise.Noise:
    if config.noise == "none":
        return noise.NoNoise()
    if config.noise == "gaussian":
        return noise.Gaussian(seeds, grid, config.noise_std, device)
    scale = config.noise_std, config.noise_theta, config.noise_dt
    return noise.OrnsteinUhlenbeck(seeds, grid, *scale, device)
