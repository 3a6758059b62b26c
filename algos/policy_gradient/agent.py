"""What the agents of the family have in common; each says in ``_learn`` what an update is."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from ..core.agent import Component, Spec, State, Step
from ..core.distributions import action_head
from ..core.rollout import Episodes, Rollout, Trajectories
from .body import Body
from .config import PolicyGradientConfig


class PolicyGradientAgent(ABC):
    """A body that acts, and experience that is gathered until it is due to be learned from.

    Args:
        config: the agent's. spec: the task. seeds: the K seeds. device: where to compute.
        length: ticks of a rollout, or episodes of each lane.
        values: outputs of the critic: 1 for V, A for Q, 0 for none.
    """

    Config: ClassVar[type]
    COMPONENTS: ClassVar[tuple[Component, ...]]
    Experience: ClassVar[type[Rollout] | type[Episodes]] = Rollout
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

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
    ) -> None:
        self.config, self.k = config, len(seeds)
        self.body = Body(config, spec, seeds, device, values)
        action = self.body.head.action
        self.experience = self.Experience(
            self.k, length, config.lanes, spec.obs_space, action, device
        )
        self.ticks = 0  # observed

    @classmethod
    def unsupported(cls, config: Any, spec: Spec) -> str | None:
        """Say why the task is impossible."""
        try:
            action_head(spec.action_space)
        except ValueError as error:
            return str(error)
        return None

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Sample actions ``[K, N]``; the likeliest ones come with a critic's values ``[K, N]``."""
        return self.body.act(obs, explore)

    def observe(self, step: Step) -> None:
        """Store one tick."""
        self.experience.add(step)
        self.ticks += 1

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the experience if it is due; observation statistics move behind it."""
        if not self.experience.due:
            return None
        data = self.experience.take()
        self.body.anneal(self.begun)
        metrics = self._learn(data)
        rows = self.experience.rows
        for obs, valid in zip(rows(data.obs), rows(data.valid), strict=True):
            self.body.absorb(obs, valid)
        self.experience.clear()
        return metrics

    @property
    def begun(self) -> int:
        """The environment step of a seed from which schedules count for this update."""
        return (self.ticks - self.experience.lag) * self.config.lanes

    @abstractmethod
    def _learn(self, data: Trajectories) -> dict[str, Tensor]:
        """Make an update from experience that is due; returns metrics ``[K]``."""

    def state(self) -> State:
        """Return policy, optimiser, experience, streams and the tick count."""
        experience = {self.experience.name: self.experience.state()}
        return self.body.state() | experience | {"ticks": self.ticks}

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        self.body.load(state)
        if "ticks" in state:
            self.experience.load(state[self.experience.name])
            self.ticks = state["ticks"]
