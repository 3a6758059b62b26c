"""What the agents of the family have in common; each says in ``_learn`` what an update is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..core.agent import GREEDY, SAMPLED, Component, Spec, Step
from ..core.distributions import action_head
from ..core.parts import HasParts
from ..core.recurrent import MemoryShape
from ..core.rng import Draws
from ..core.rollout import Episodes, Rollout, Trajectories
from ..core.torso import BARE, Around, too_small
from .actor_critic import ActorCritic
from .config import PolicyGradientConfig


class PolicyGradientAgent(HasParts, ABC):
    """An actor-critic, and experience that is gathered until it is due to be learned from.

    Args:
        config: the agent's. spec: the task. seeds: the K seeds. device: where to compute.
        length: ticks of a rollout, or episodes of each lane.
        values, has_target, memory, around: see ``ActorCritic``.
    """

    Config: ClassVar[type]
    COMPONENTS: ClassVar[tuple[Component, ...]]
    Storage: ClassVar[type[Rollout] | type[Episodes]] = Rollout
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    POLICY = ("actor_critic",)
    PARTS: ClassVar[tuple[str, ...]] = ("experience",)

    config: PolicyGradientConfig
    experience: Rollout | Episodes

    def __init__(
        self,
        config: PolicyGradientConfig,
        spec: Spec,
        seeds: Sequence[int],
        device: torch.device,
        length: int,
        values: int = 1,
        has_target: bool = False,
        memory: MemoryShape | None = None,
        around: Around = BARE,
    ) -> None:
        self.config, self.k = config, len(seeds)
        self.actor_critic = ActorCritic(
            config, spec, seeds, device, values, has_target, memory, around
        )
        self.learner = self.actor_critic.learner
        action = self.actor_critic.head.action
        self.experience = self.Storage(self.k, length, config.lanes, spec.obs_space, action, device)

    @classmethod
    def unsupported(cls, config: Any, spec: Spec) -> str | None:
        """Say why the task is impossible."""
        try:
            action_head(spec.action_space)
        except ValueError as error:
            return str(error)
        return too_small(spec.obs_space, config.conv)

    @classmethod
    def policies(cls, config: Any) -> tuple[str, ...]:
        """Greedy by default, as the field scores these agents where it evaluates them.

        Stable-Baselines3 and rl-baselines3-zoo, whose scores the learning runs are held to, take
        the likeliest action (but on Atari). CleanRL and the papers' training returns sample.
        """
        return GREEDY, SAMPLED

    @classmethod
    def valued(cls, config: Any) -> str | None:
        """A critic values the policy that is sampled; normalised rewards have no fixed unit."""
        return None if config.normalize_reward else SAMPLED

    def act(
        self, obs: Tensor, explore: bool = True, draws: Draws | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N]``; in evaluation with a critic's values ``[K, N]``."""
        return self.actor_critic.act(obs, explore, draws)

    def observe(self, step: Step) -> None:
        """Store one tick."""
        self.experience.add(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the experience if it is due; observation statistics move behind it."""
        if not self.experience.due:
            return None
        data = self.experience.take()
        self.actor_critic.anneal(self.experience.begun)
        metrics = self._learn(data) | self.actor_critic.settings()
        rows = self.experience.rows
        for obs, valid in zip(rows(data.obs), rows(data.valid), strict=True):
            self.actor_critic.absorb(obs, valid)
        self.experience.clear()
        return metrics

    @abstractmethod
    def _learn(self, data: Trajectories) -> dict[str, Tensor]:
        """Make an update from experience that is due; returns metrics ``[K]``."""
