"""What DDPG, TD3 and SAC share: common settings, and the agent around what makes each of them
itself: how it acts, what its critics learn, how its policy improves.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import Component, Spec, Step
from ..core.checks import check_cadence
from ..core.configs import AgentConfig
from ..core.experience import Experience
from ..core.learner import Learner
from ..core.noise import Warmup
from ..core.optim import SeedOptimizer
from ..core.parts import HasParts
from ..core.replay import Batch
from ..core.settings import setting
from ..core.squashed import UnitBox
from ..core.torso import BARE, Around
from ..formulas import td
from .networks import Critics, Perceptron

TARGETS = ("soft", "none")


@dataclass
class OffPolicyConfig(AgentConfig):
    """Settings that every off-policy agent has; steps are environment steps of one seed."""

    hidden: list[int] = setting(
        [256, 256], "widths of the hidden layers of the actor and of each critic", ge=1
    )
    actor_lr: float = setting(3e-4, "learning rate of the actor, by Adam", ge=0)
    critic_lr: float = setting(3e-4, "learning rate of the critics, by Adam", ge=0)

    replay: bool = setting(
        True, "false: an update learns from the newest transition of each lane only"
    )
    buffer_size: int = setting(1_000_000, "transitions kept per seed", ge=1)
    batch_size: int = setting(256, "transitions in an update", ge=1)
    warmup: int = setting(1_000, "first environment steps, with uniformly random actions", ge=0)
    learning_starts: int = setting(1_000, "environment steps before the first update", ge=0)
    train_every: int = setting(
        1,
        "environment steps between updates: a multiple of lanes; below it, every tick",
        ge=1,
    )
    gradient_steps: int = setting(1, "updates each time", ge=1)

    critics: int = setting(2, "critics; a target takes the smallest of their values", ge=1)
    target: str = setting(
        "soft", "slow networks value successors; none: the online ones do", choices=TARGETS
    )
    tau: float = setting(
        0.005, "share of the online network mixed in at each update of the targets", gt=0, le=1
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        check_cadence(self.lanes, self.train_every)
        if self.buffer_size < self.lanes:
            raise ValueError(f"buffer_size must be at least lanes={self.lanes}")

    @property
    def rows(self) -> int:
        """Transitions in a batch, B."""
        return self.batch_size if self.replay else self.lanes


FOUNDATIONS = (
    Component(
        "replay",
        "Lin 1992",
        on={"replay": True},
        # Each transition once, when it is new: as many updates as with replay would repeat the
        # newest one where gradient_steps is large, and leave most unseen where train_every is.
        off={"replay": False, "train_every": 1, "gradient_steps": 1},
        foundation=True,
    ),
    Component(
        "target networks",
        "Mnih et al. 2015",
        on={"target": "soft"},
        off={"target": "none"},  # the online networks value their own successors
        foundation=True,
    ),
)


class OffPolicy(HasParts, ABC):
    """An actor, C critics and their experience; an agent writes the last four methods.

    The buffer holds actions of the unit box.

    Args:
        config: the agent's. spec: the task. seeds: the K seeds. device: where to compute.
        outputs: numbers that the actor gives for each of the A numbers of an action.
        slow_actor: whether the actor has a target too.
        around: normalisation and dropout of the actor and the critics.
    """

    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    POLICY = ("actor", "critics")
    PARTS: ClassVar[tuple[str, ...]] = ("experience", "warmup")

    def __init__(
        self,
        config: OffPolicyConfig,
        spec: Spec,
        seeds: Sequence[int],
        device: torch.device,
        outputs: int,
        slow_actor: bool,
        around: Around = BARE,
    ) -> None:
        assert isinstance(spec.action_space, spaces.Box)
        c = self.config = config
        self.box = UnitBox(spec.action_space, device)
        capacity = min(c.buffer_size, spec.budget)
        self.experience = Experience(c, spec, seeds, device, capacity)
        n_obs, n_act, slow = spec.obs_space.shape[0], self.box.width, c.target == "soft"

        def build(name: str) -> Perceptron:
            return Perceptron(seeds, "actor", n_obs, c.hidden, outputs * n_act, around, name)

        adam = partial(SeedOptimizer, kind="adam", lr=c.actor_lr)
        self.actor = Learner(build, adam, device, has_target=slow and slow_actor)
        adam = partial(SeedOptimizer, kind="adam", lr=c.critic_lr)
        sizes = n_obs + n_act, c.hidden
        self.critics = Critics(seeds, c.critics, sizes, adam, device, slow, around)
        self.warmup = Warmup(seeds, (c.lanes, n_act), c.warmup, device)

    @classmethod
    def unsupported(cls, config: OffPolicyConfig, spec: Spec) -> str | None:
        """Say why a task is impossible: actions are points of a bounded box."""
        space, obs = spec.action_space, spec.obs_space.shape
        if not isinstance(space, spaces.Box):
            return f"it needs continuous actions, the environment has {space}"
        if len(space.shape) != 1:
            return (
                f"it needs actions that are vectors, the environment's have the shape {space.shape}"
            )
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            return f"it needs bounded actions, the environment has {space}"
        if len(obs) != 1:
            return f"it needs observations that are vectors, the environment's have the shape {obs}"
        return None

    @torch.no_grad()
    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N, A]``; greedy acting remembers the values it expects."""
        if not explore:
            action, value = self._greedy(obs)
            return self.box.to_env(action), {"value": value}
        random = self.warmup(self.experience.steps)
        return self.box.to_env(self._explore(obs) if random is None else random), {}

    def observe(self, step: Step) -> None:
        """Store one tick."""
        self.experience.add(step._replace(action=self.box.from_env(step.action)))

    def update(self) -> dict[str, Tensor] | None:
        """Make the gradient steps that are due at this tick."""
        metrics = None
        for _ in range(self.experience.due):
            batch, _, _ = self.experience.sample()
            metrics = self._learn(batch)
        return metrics

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        """Move the critics of every seed to their target, then improve the rest."""
        q = self.critics.learning(batch.obs, batch.action)
        loss = td.squared(q - self._target(batch).unsqueeze(1)).mean(-1)  # [K, C]
        norm = self.critics.step(loss)
        metrics = {"loss/critic": loss.detach().mean(1), "loss/q": q.detach().mean((1, 2))}
        metrics["loss/grad_norm"] = norm.view_as(loss).mean(1)
        return metrics | self._improve(batch)

    @abstractmethod
    def _explore(self, obs: Tensor) -> Tensor:
        """Return actions ``[K, N, A]`` in the unit box that are to be learned from."""

    @abstractmethod
    def _greedy(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best actions ``[K, N, A]`` in the unit box, and their values ``[K, N]``."""

    @abstractmethod
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics learn, ``[K, B]``, without a graph."""

    @abstractmethod
    def _improve(self, batch: Batch) -> dict[str, Tensor]:
        """Update all but the critics' weights, once these have learned; return metrics ``[K]``."""
