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

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor

from algos.actor_critic.networks import Critics, Learner
from algos.actor_critic.off_policy import FOUNDATIONS, Experience, OffPolicyConfig, unsupported
from algos.core import noise
from algos.core.agent import Component, Spec, State, Step
from algos.core.checks import one_of, within
from algos.core.replay import Batch
from algos.core.rng import Draws
from algos.core.squashed import squash
from algos.formulas import continuous, td


@dataclass
class TD3Config(OffPolicyConfig):
    """Every setting of TD3 and DDPG; the defaults are TD3's (Fujimoto et al. 2018, section 6.1)."""

    agent: str = "algos.actor_critic.td3:TD3"
    name: str = "td3"
    label: str = "TD3"
    hidden: list[int] = field(default_factory=lambda: [400, 300])
    actor_lr: float = 1e-3
    critic_lr: float = 1e-3
    batch_size: int = 100

    policy_every: int = 2  # updates of the critics per update of the actor and the targets
    target_noise: float = 0.2  # std of the noise that smooths the target policy; 0: none
    target_noise_clip: float = 0.5  # its largest magnitude

    noise: str = "gaussian"  # of exploration; or ornstein_uhlenbeck, none
    noise_std: float = 0.1
    noise_theta: float = 0.15  # ornstein_uhlenbeck: pull to zero
    noise_dt: float = 0.01  # ornstein_uhlenbeck: time between two ticks

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        one_of("noise", self.noise, noise.KINDS)
        within("policy_every", self.policy_every, 1, math.inf)
        for key in ("target_noise", "target_noise_clip", "noise_std", "noise_theta", "noise_dt"):
            within(key, getattr(self, key), 0, math.inf)


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
)


class TD3:
    """The family's agent; see ``TD3Config`` for its parts."""

    Config: ClassVar[type] = TD3Config
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    def __init__(
        self, config: TD3Config, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config = config
        self.experience = Experience(config, spec, seeds, device)
        n_obs, n_act = spec.obs_space.shape[0], self.experience.box.width
        has_target = config.target == "soft"
        self.actor = Learner(
            seeds, "actor", (n_obs, config.hidden, n_act), config.actor_lr, has_target, device
        )
        sizes = (n_obs + n_act, config.hidden, 1)
        self.critics = Critics(seeds, config.critics, sizes, config.critic_lr, has_target, device)
        grid = config.lanes, n_act
        self.warmup = noise.Warmup(seeds, grid, config.warmup, device)
        self.noise = _noise(config, seeds, grid, device)
        self.target_draws = Draws(
            seeds, "noise/target", (config.rows, n_act), "normal", device=device
        )
        self.updates = 0  # of the critics

    @classmethod
    def unsupported(cls, config: TD3Config, spec: Spec) -> str | None:
        """Say why the task is impossible: the actor's output is a point of a bounded box."""
        return unsupported(spec)

    @torch.no_grad()
    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N, A]``; greedy acting remembers the first critic's values."""
        box = self.experience.box
        action = self.warmup(self.experience.steps) if explore else None
        if action is not None:
            return box.to_env(action), {}
        action = squash(self.actor.net.forward(obs))
        if not explore:
            return box.to_env(action), {"value": self.critics.judge_first(obs, action)}
        return box.to_env(self.noise(action)), {}

    def observe(self, step: Step) -> None:
        """Store one tick."""
        self.experience.add(step)
        self.noise.restart(step.terminated | step.truncated)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from ``gradient_steps`` batches if an update is due at this tick."""
        if not self.experience.due():
            return None
        for _ in range(self.config.gradient_steps):
            metrics = self._learn(self.experience.sample())
        return metrics

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        """Update the critics of every seed and, every ``policy_every`` times, all the rest."""
        q = self.critics.values(batch.obs, batch.action)
        loss = td.squared(q - self._target(batch).unsqueeze(1)).mean(-1)  # [K, C]
        norm = self.critics.descend(loss)
        metrics = {"loss/critic": loss.detach().mean(1), "loss/q": q.detach().mean((1, 2))}
        metrics["loss/grad_norm"] = norm.view_as(loss).mean(1)
        self.updates += 1
        if self.updates % self.config.policy_every == 0:
            loss = self._policy_loss(batch.obs)
            self.actor.descend(loss)
            metrics["loss/actor"] = loss.detach()
            self.actor.follow(self.config.tau)
            self.critics.follow(self.config.tau)
        return metrics

    @torch.no_grad()
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics learn, ``[K, B]``."""
        c = self.config
        action = squash(self.actor.target.forward(batch.next_obs))
        if c.target_noise > 0:
            draws = self.target_draws()
            action = continuous.smoothed(action, draws, c.target_noise, c.target_noise_clip)
        q = continuous.smallest(self.critics.target_values(batch.next_obs, action))
        return td.bootstrap(batch.reward, batch.discount, q)

    def _policy_loss(self, obs: Tensor) -> Tensor:
        """Return the actor's loss ``[K]``: the first critic alone judges it."""
        action = squash(self.actor.net.forward(obs))
        return continuous.deterministic_policy_loss(self.critics.judge_first(obs, action))

    def state(self) -> State:
        """Return networks, optimisers, replay, noise, streams and counters."""
        return {
            "policy": {"actor": self.actor.weights(), "critics": self.critics.weights()},
            "actor": self.actor.state(),
            "critics": self.critics.state(),
            "experience": self.experience.state(),
            "noise": self.noise.state(),
            "warmup": self.warmup.draws.state(),
            "target_draws": self.target_draws.state(),
            "updates": self.updates,
        }

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        self.actor.load_weights(state["policy"]["actor"])
        self.critics.load_weights(state["policy"]["critics"])
        if "experience" not in state:
            return
        self.actor.load(state["actor"])
        self.critics.load(state["critics"])
        self.experience.load(state["experience"])
        self.noise.load(state["noise"])
        self.warmup.draws.load(state["warmup"])
        self.target_draws.load(state["target_draws"])
        self.updates = state["updates"]


def _noise(
    config: TD3Config, seeds: Sequence[int], grid: tuple[int, int], device: torch.device
) -> noise.Noise:
    if config.noise == "none":
        return noise.Silence()
    if config.noise == "gaussian":
        return noise.Gaussian(seeds, grid, config.noise_std, device)
    scale = config.noise_std, config.noise_theta, config.noise_dt
    return noise.OrnsteinUhlenbeck(seeds, grid, *scale, device)
