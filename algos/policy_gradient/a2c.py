"""Advantage actor-critic (Mnih et al. 2016, the synchronous form): one step on each short rollout.

Deviations from the paper:
- Synchronous lanes take the place of asynchronous workers; those are in ``a3c.py``.
- Two networks by default, as in Stable-Baselines3; ``shared: true`` is the paper's single torso.
- A truncated episode bootstraps from its true last observation.
- ``critic: q`` is the classic actor-critic that learns Q (Sutton et al. 2000); it weighs
  log-probabilities by Q(s, a) less its mean under the policy, which has the same expectation.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from ..core import legality
from ..core.agent import Component, Preset, Spec
from ..core.distributions import Categorical
from ..core.rollout import Trajectories
from ..core.settings import setting
from ..formulas import advantages, policy, td
from .agent import PolicyGradientAgent
from .config import PolicyGradientConfig

CRITICS = ("v", "q")


@dataclass
class A2CConfig(PolicyGradientConfig):
    """Stable-Baselines3's defaults."""

    agent: str = "a2c"
    name: str = "a2c"
    label: str = "A2C"
    lanes: int = 8
    optimizer: str = "rmsprop_uncentred"
    lr: float = 7e-4
    betas: list[float] = setting([0.9, 0.99])
    rmsprop_alpha: float = 0.99

    rollout: int = setting(
        5, "ticks between updates, and the largest n of n-step returns (`n_steps` elsewhere)", ge=1
    )
    gae_lambda: float = setting(1.0, "lambda of GAE; 1: n-step returns; critic=v only", ge=0, le=1)
    normalize_advantage: bool = setting(False, "over a rollout")
    critic: str = setting(
        "v", "what is learned of states; q: discrete actions only", choices=CRITICS
    )
    value_coef: float = setting(
        1.0, "weight of half the value's squared error: twice Stable-Baselines3's vf_coef", ge=0
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.rollout * self.lanes == 1 and self.normalize_advantage:
            raise ValueError("normalize_advantage=true needs rollout * lanes above 1")
        if self.critic == "q" and self.gae_lambda != 1:
            raise ValueError("critic=q takes its advantages from Q itself: leave gae_lambda at 1")


COMPONENTS = (
    Component(
        "multi-step",
        "Mnih et al. 2016",
        on={"rollout": 5},
        off={"rollout": 1},  # one-step errors, an update at every tick
    ),
    Component("entropy bonus", "Mnih et al. 2016", on={"entropy": 0.01}, off={"entropy": 0.0}),
    Component(
        "gradient clipping",
        "Mnih et al. 2016",
        on={"grad_clip": 0.5},
        off={"grad_clip": None},
        foundation=True,
    ),
    Component(
        "state-value critic",
        "Sutton et al. 2000",
        on={"critic": "v"},
        off={"critic": "q", "gae_lambda": 1.0},
        foundation=True,
    ),
    Component(
        "observation normalisation",
        "Huang et al. 2022",
        on={"normalize_obs": True},
        off={"normalize_obs": False},
        foundation=True,
    ),
    legality.COMPONENT,
)

PRESETS = {
    "a2c": Preset(
        "one step on each short rollout, at Stable-Baselines3's settings", "Mnih et al. 2016"
    ),
}


class A2C(PolicyGradientAgent):
    """The agent; see ``A2CConfig`` for its parts."""

    Config: ClassVar[type] = A2CConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS

    config: A2CConfig

    def __init__(
        self, config: A2CConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        values = 1
        if config.critic == "q":
            assert isinstance(spec.action_space, spaces.Discrete)
            values = int(spec.action_space.n)
        super().__init__(config, spec, seeds, device, config.rollout, values)

    @classmethod
    def unsupported(cls, config: A2CConfig, spec: Spec) -> str | None:
        """Say why the task is impossible; a critic of Q needs a finite set of actions."""
        if config.critic == "q" and not isinstance(spec.action_space, spaces.Discrete):
            return f"critic=q needs discrete actions, the environment has {spec.action_space}"
        return super().unsupported(config, spec)

    def _learn(self, data: Trajectories) -> dict[str, Tensor]:
        """Make one step on a rollout."""
        loss, metrics = self.loss(data)
        metrics["loss/grad_norm"] = self.learner.step(loss)
        return metrics

    def loss(self, data: Trajectories) -> tuple[Tensor, dict[str, Tensor]]:
        """Return the loss ``[K]`` and metrics ``[K]``."""
        c, ac = self.config, self.actor_critic
        action = data.action.flatten(1, 2)
        out, values = ac.net(ac.normalized(data.obs.flatten(1, 2)))
        pi = ac.distribution(out)
        if c.critic == "q":
            advantage, target, predicted = self._q(data, out, values, action)
        else:
            predicted = values.squeeze(-1)
            advantage = ac.gae(data, predicted.detach(), c.gae_lambda)
            target = advantage + predicted.detach()
        if c.normalize_advantage:
            advantage = advantages.standardise(advantage)
        policy_loss = policy.policy_gradient(pi.log_prob(action), advantage).mean(-1)
        value_loss = td.squared(predicted - target).mean(-1)
        entropy = pi.entropy().mean(-1)
        metrics = {"policy": policy_loss, "value": value_loss, "entropy": entropy}
        explained = advantages.explained_variance(predicted.detach(), target)
        metrics["explained_variance"] = explained
        loss = policy_loss + c.value_coef * value_loss - c.entropy * entropy
        return loss, {f"loss/{name}": x.detach() for name, x in metrics.items()}

    @torch.no_grad()
    def _q(
        self, data: Trajectories, out: Tensor, q: Tensor, action: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return advantages, targets and, with its graph, Q(s, a), each ``[K, B]``."""
        ac = self.actor_critic
        out_next, q_next = ac.net(ac.normalized(data.next_obs.flatten(1, 2)))
        v_t = data.timewise(self._mean(out_next, q_next))
        reward = ac.rewards(data).transpose(0, 1)
        target = advantages.returns(reward, v_t, *data.discounts(self.config.gamma))
        with torch.enable_grad():
            predicted = q.gather(-1, action.unsqueeze(-1)).squeeze(-1)
        advantage = predicted.detach() - self._mean(out, q)
        return advantage, target.transpose(0, 1).flatten(1), predicted

    def _mean(self, out: Tensor, q: Tensor) -> Tensor:
        """Return the mean of Q under the policy, ``[K, B]``."""
        pi = self.actor_critic.distribution(out)
        assert isinstance(pi, Categorical)
        return (pi.log_p.exp() * q).sum(-1)
