"""What DDPG, TD3 and SAC share: common settings, and the agent around what makes each of them
itself: how it acts, what its critics learn, how its policy improves.

Of images, actor and critics take the features of one stack of convolutions. The critics' loss
trains it, the actor's does not (Yarats et al. 2021, "Improving sample efficiency in model-free
reinforcement learning from images"); where there are targets, it has one too. There is neither an
autoencoder nor augmentation.

The buffer holds observations as they came: a batch is normalised by the statistics of the day on
which it is drawn. These move with every step that is observed.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import Component, Spec, Step
from ..core.checks import check_cadence
from ..core.configs import AgentConfig, check_conv
from ..core.experience import Experience, averaged
from ..core.learner import Learner
from ..core.legality import unheeded
from ..core.nets import InitStream, Mode
from ..core.noise import Warmup
from ..core.normalize import ObservationNormalizer
from ..core.optim import SeedOptimizer
from ..core.parts import HasParts
from ..core.replay import Batch
from ..core.rng import Draws
from ..core.schedules import Schedule
from ..core.settings import setting
from ..core.torso import BARE, Around, Torso, obs_scale, too_small
from ..formulas import td
from .networks import Critics, Perceptron, Sizes

TARGETS = ("soft", "none")


@dataclass
class OffPolicyConfig(AgentConfig):
    """Settings that every off-policy agent has; steps are environment steps of one seed."""

    hidden: list[int] = setting(
        [256, 256], "widths of the hidden layers of the actor and of each critic", ge=1
    )
    conv: list[list[int]] = setting(
        [[16, 3, 1]],
        "of images, layers that actor and critics share: [channels, kernel, stride] of each",
        ge=1,
    )
    actor_lr: float = setting(3e-4, "learning rate of the actor, by Adam", ge=0)
    critic_lr: float = setting(
        3e-4, "learning rate of the critics and of the convolutions, by Adam", ge=0
    )
    anneal: bool = setting(False, "the learning rates fall linearly to 0 at the budget's end")
    normalize_obs: bool = setting(
        False, "observations by their running mean and deviation; the buffer holds them raw"
    )

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
        check_conv(self.conv)
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

NORMALIZATION = (
    Component(
        "observation normalisation",
        "Huang et al. 2022",
        on={"normalize_obs": True},
        off={"normalize_obs": False},
        foundation=True,
    ),
    Component(
        "annealing",
        "Huang et al. 2022",
        on={"anneal": True},
        off={"anneal": False},
        foundation=True,
    ),
)


class Actions(Protocol):
    """Actions as the agent holds them, and as the environment takes them."""

    shape: tuple[int, ...]  # of an action

    def random(self, draws: Tensor) -> Tensor:
        """Return uniform actions from draws in [0, 1)."""

    def to_env(self, action: Tensor, /) -> Tensor:
        """Return the environment's action."""

    def from_env(self, action: Tensor, /) -> Tensor:
        """Undo ``to_env``."""


class OffPolicy(HasParts, ABC):
    """An actor, C critics and their experience; an agent writes the last five methods.

    "Seen" observations ``[K, B, F]`` are what actor and critics take: normalised ones, and of
    images the features of the convolutions.

    Args:
        config: the agent's. spec: the task. seeds: the K seeds. device: where to compute.
        actions: of the task.
        action_in: numbers of an action that the critics take.
        outputs: numbers that come out of the actor, and out of a critic.
        slow_actor: whether the actor has a target too.
        around: normalisation and dropout of the actor and the critics.
    """

    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    POLICY = ("actor", "critics", "encoder", "obs_norm")
    PARTS: ClassVar[tuple[str, ...]] = ("experience", "warmup")

    def __init__(
        self,
        config: OffPolicyConfig,
        spec: Spec,
        seeds: Sequence[int],
        device: torch.device,
        actions: Actions,
        action_in: int,
        outputs: tuple[int, int],
        slow_actor: bool,
        around: Around = BARE,
    ) -> None:
        c = self.config = config
        self.actions = actions
        capacity = min(c.buffer_size, spec.budget)
        self.experience = Experience(c, spec, seeds, device, capacity)
        slow, shape = c.target == "soft", spec.obs_space.shape
        self.obs_norm = (
            ObservationNormalizer(len(seeds), shape, device) if c.normalize_obs else None
        )
        adam = partial(SeedOptimizer, kind="adam", lr=c.critic_lr)
        self.encoder: Learner[Torso] | None = None
        width = shape[0]
        if len(shape) == 3:
            self.encoder = Learner(_convolutions(c, spec, seeds), adam, device, has_target=slow)
            width = self.encoder.online.width
        sizes = width + action_in, c.hidden, outputs[1]
        self.critics = Critics(seeds, c.critics, sizes, adam, device, slow, around)

        def build(name: str) -> Perceptron:
            return self._actor(seeds, (width, c.hidden, outputs[0]), around, name)

        adam = partial(SeedOptimizer, kind="adam", lr=c.actor_lr)
        self.actor = Learner(build, adam, device, has_target=slow and slow_actor)
        self.warmup = Warmup(seeds, (c.lanes, *actions.shape), c.warmup, device)
        self._rate = Schedule("linear" if c.anneal else "constant", 1.0, 0.0, spec.budget)

    def _actor(self, seeds: Sequence[int], sizes: Sizes, around: Around, role: str) -> Perceptron:
        """Return the networks of the policy."""
        return Perceptron(seeds, "actor", *sizes, around, role)

    @classmethod
    def unsupported(cls, config: OffPolicyConfig, spec: Spec) -> str | None:
        """Say why a task is impossible."""
        if len(obs := spec.obs_space.shape) not in (1, 3):
            says = "it needs observations that are vectors or images"
            return f"{says}, the environment's have the shape {obs}"
        reason = cls._impossible(spec.action_space) or unheeded(spec)
        return reason or too_small(spec.obs_space, config.conv)

    @classmethod
    def _impossible(cls, space: spaces.Space) -> str | None:
        """Say why actions are impossible: they are points of a bounded box."""
        if not isinstance(space, spaces.Box):
            return f"it needs continuous actions, the environment has {space}"
        if len(space.shape) != 1:
            return (
                f"it needs actions that are vectors, the environment's have the shape {space.shape}"
            )
        if not (np.isfinite(space.low).all() and np.isfinite(space.high).all()):
            return f"it needs bounded actions, the environment has {space}"
        return None

    @torch.no_grad()
    def act(
        self, obs: Tensor, explore: bool = True, draws: Draws | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N, ...]``; greedy acting remembers the values it expects."""
        if draws is not None:
            return self.actions.to_env(self._sampled(self._see(obs), draws)), {}
        if not explore:
            action, value = self._greedy(self._see(obs))
            return self.actions.to_env(action), {"value": value}
        random = self.warmup(self.experience.steps)
        action = self._explore(self._see(obs)) if random is None else self.actions.random(random)
        return self.actions.to_env(action), {}

    def observe(self, step: Step) -> None:
        """Store one tick; observation statistics move."""
        self.experience.add(step._replace(action=self.actions.from_env(step.action)))
        if self.obs_norm is not None:
            self.obs_norm.add(step.obs, step.valid)

    def update(self) -> dict[str, Tensor] | None:
        """Make the gradient steps that are due at this tick."""
        steps = []
        if due := self.experience.due:
            self._anneal(self._rate(self.experience.steps))
        for _ in range(due):
            batch, _, _ = self.experience.sample()
            steps.append(self._learn(batch))
        return averaged(steps)

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        """Move the critics of every seed to their target, then improve the rest."""
        seen = self._see(batch.obs)
        q = self._taken(seen, batch.action, Mode.LEARN)
        loss = td.squared(q - self._target(batch).unsqueeze(1)).mean(-1)  # [K, C]
        if self.encoder is not None:
            self.encoder.optimizer.backward(loss, keep_graph=True)
        norm = self.critics.step(loss)
        if self.encoder is not None:
            self.encoder.optimizer.step()
        metrics = {"loss/critic": loss.detach().mean(1), "loss/q": q.detach().mean((1, 2))}
        metrics["loss/grad_norm"] = norm.view_as(loss).mean(1)
        return metrics | self._improve(seen.detach())

    def _see(self, obs: Tensor, slow: bool = False) -> Tensor:
        """Return observations ``[K, B, *obs]`` as seen; ``slow``: by the target's convolutions."""
        x = obs if self.obs_norm is None else self.obs_norm(obs.float())
        if self.encoder is None:
            return x
        return (self.encoder.target if slow else self.encoder.online).forward(x)

    def _anneal(self, share: float) -> None:
        """Set every learning rate to a share of its setting."""
        self.actor.optimizer.lr = share * self.config.actor_lr
        self.critics.optimizer.lr = share * self.config.critic_lr
        if self.encoder is not None:
            self.encoder.optimizer.lr = share * self.config.critic_lr

    def _update_targets(self) -> None:
        """Move the targets of the critics, and of what they see by."""
        self.critics.update_target(self.config.tau)
        if self.encoder is not None:
            self.encoder.update_target(self.config.tau)

    def _taken(self, seen: Tensor, action: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Return the critics' values ``[K, C, B]`` of actions that were taken."""
        return self.critics.values(seen, action, mode=mode)

    @abstractmethod
    def _explore(self, seen: Tensor) -> Tensor:
        """Return actions ``[K, N, ...]`` that are to be learned from."""

    def _sampled(self, seen: Tensor, draws: Draws) -> Tensor:
        """Return sampled actions ``[K, N, ...]``; agents whose ``policies`` name SAMPLED do."""
        raise NotImplementedError(f"{type(self).__name__} is deterministic")

    @abstractmethod
    def _greedy(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the best actions ``[K, N, ...]``, and their values ``[K, N]``."""

    @abstractmethod
    def _target(self, batch: Batch) -> Tensor:
        """Return what the critics learn, ``[K, B]``, without a graph."""

    @abstractmethod
    def _improve(self, seen: Tensor) -> dict[str, Tensor]:
        """Update all but the critics' weights, once these have learned; return metrics ``[K]``.

        Args:
            seen: ``[K, B, F]``, the batch as it was seen before that.
        """


def _convolutions(
    config: OffPolicyConfig, spec: Spec, seeds: Sequence[int]
) -> Callable[[str], Torso]:
    """Return what makes the convolutions of K seeds."""
    scale = 1.0 if config.normalize_obs else obs_scale(spec.obs_space)
    layers = [(n, kernel, stride) for n, kernel, stride in config.conv]

    def build(name: str) -> Torso:
        init = InitStream(seeds, "init/encoder")
        return Torso(init, spec.obs_space.shape, (), layers, obs_scale=scale)

    return build
