"""What DDPG, TD3 and SAC share: common settings, what they have lived through, and the agent around
what makes each of them itself: how it acts, what its critics learn, how its policy improves.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import Component, Spec, State, Step
from ..core.checks import check_cadence, check_layers, one_of, within
from ..core.noise import Warmup
from ..core.replay import Batch, ReplayBuffer
from ..core.samplers import Latest, Uniform
from ..core.squashed import UnitBox
from ..formulas import td
from .networks import Critics, Learner

TARGETS = ("soft", "none")

_COUNTS = ("lanes", "buffer_size", "batch_size", "train_every", "gradient_steps", "critics")
_BOUNDS = {
    **dict.fromkeys(_COUNTS, (1, math.inf)),
    **dict.fromkeys(("gamma", "tau"), (0, 1)),
    **dict.fromkeys(("warmup", "learning_starts", "actor_lr", "critic_lr"), (0, math.inf)),
}


@dataclass
class OffPolicyConfig:
    """Settings that every off-policy agent has; steps are environment steps of one seed."""

    agent: str = ""
    name: str = ""
    label: str = ""
    lanes: int = 1  # environments per seed
    reset: str = "each"
    gamma: float = 0.99  # discount per step

    hidden: list[int] = field(default_factory=lambda: [256, 256])  # of the actor and each critic
    actor_lr: float = 3e-4  # of Adam
    critic_lr: float = 3e-4

    replay: bool = True  # false: an update learns from the newest transition of each lane only
    buffer_size: int = 1_000_000  # transitions per seed
    batch_size: int = 256
    warmup: int = 1_000  # first steps, with uniformly random actions
    learning_starts: int = 1_000  # steps before the first update
    train_every: int = 1  # steps between updates: a multiple of lanes; below it, every tick
    gradient_steps: int = 1  # updates each time

    critics: int = 2  # the target takes the smallest of their values
    target: str = "soft"  # or none (bootstrap from the online networks)
    tau: float = 0.005  # share of the online network mixed in at each update of the targets

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        one_of("target", self.target, TARGETS)
        one_of("reset", self.reset, ("each",))
        for key, (low, high) in _BOUNDS.items():
            within(key, getattr(self, key), low, high)
        check_cadence(self.lanes, self.train_every)
        check_layers(self.hidden)
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


class Experience:
    """What K seeds have lived through, and when and from what to learn next.

    Actions are kept in the unit box.
    """

    def __init__(
        self, config: OffPolicyConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert isinstance(spec.action_space, spaces.Box)
        self.config = config
        self.box = UnitBox(spec.action_space, device)
        self.ring = ReplayBuffer(
            len(seeds),
            config.lanes,
            spec.obs_space,
            (spec.action_space.shape, np.float32),
            min(config.buffer_size, spec.budget) if config.replay else config.lanes,
            n_step=1,
            gamma=config.gamma,
            device=device,
        )
        self.sampler = (
            Uniform(self.ring, seeds, config.batch_size)
            if config.replay
            else Latest(self.ring, seeds)
        )
        self.ticks = 0  # observed

    @property
    def steps(self) -> int:
        """Environment steps per seed so far."""
        return self.ticks * self.config.lanes

    def add(self, step: Step) -> None:
        """Store one tick."""
        self.ring.add(step._replace(action=self.box.from_env(step.action)))
        self.ticks += 1

    def due(self) -> bool:
        """Whether the agent learns at this tick."""
        c = self.config
        every = max(1, c.train_every // c.lanes)
        return self.ticks > 0 and self.steps >= c.learning_starts and self.ticks % every == 0

    def sample(self) -> Batch:
        """Return a batch to learn from."""
        index, _ = self.sampler.sample(1.0)
        batch = self.ring.gather(index)
        return batch._replace(obs=_float(batch.obs), next_obs=_float(batch.next_obs))

    def state(self) -> State:
        """Return the transitions, the sampler's stream and the tick count."""
        return {"ring": self.ring.state(), "sampler": self.sampler.state(), "ticks": self.ticks}

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""
        self.ring.load(state["ring"])
        self.sampler.load(state["sampler"])
        self.ticks = state["ticks"]


def _float(obs: Tensor) -> Tensor:
    return obs if obs.dtype == torch.float32 else obs.float()


class Part(Protocol):
    """A piece of an agent with a state of its own."""

    def state(self) -> State:
        """Return all that its future depends on."""

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""


class OffPolicy(ABC):
    """An actor, C critics and their experience; an agent writes the last four methods.

    Args:
        config: the agent's. spec: the task. seeds: the K seeds. device: where to compute.
        outputs: numbers that the actor gives for each of the A numbers of an action.
        slow_actor: whether the actor has a target too.

    Attributes:
        parts: what learning depends on beside the weights, under the state's keys; an agent adds
            its own.
    """

    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    def __init__(
        self,
        config: OffPolicyConfig,
        spec: Spec,
        seeds: Sequence[int],
        device: torch.device,
        outputs: int,
        slow_actor: bool,
    ) -> None:
        self.config, self.experience = config, Experience(config, spec, seeds, device)
        n_obs, n_act = spec.obs_space.shape[0], self.experience.box.width
        slow, sizes = config.target == "soft", (n_obs, config.hidden, outputs * n_act)
        self.actor = Learner(seeds, "actor", sizes, config.actor_lr, slow and slow_actor, device)
        sizes = n_obs + n_act, config.hidden, 1
        self.critics = Critics(seeds, config.critics, sizes, config.critic_lr, slow, device)
        self.warmup = Warmup(seeds, (config.lanes, n_act), config.warmup, device)
        self.parts: dict[str, Part] = {
            "actor": self.actor,
            "critics": self.critics,
            "experience": self.experience,
            "warmup": self.warmup.draws,
        }

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
        box = self.experience.box
        if not explore:
            action, value = self._greedy(obs)
            return box.to_env(action), {"value": value}
        random = self.warmup(self.experience.steps)
        return box.to_env(self._explore(obs) if random is None else random), {}

    def observe(self, step: Step) -> None:
        """Store one tick."""
        self.experience.add(step)

    def update(self) -> dict[str, Tensor] | None:
        """Learn from ``gradient_steps`` batches if an update is due at this tick."""
        if not self.experience.due():
            return None
        for _ in range(self.config.gradient_steps):
            metrics = self._learn(self.experience.sample())
        return metrics

    def _learn(self, batch: Batch) -> dict[str, Tensor]:
        """Move the critics of every seed to their target, then improve the rest."""
        q = self.critics.values(batch.obs, batch.action)
        loss = td.squared(q - self._target(batch).unsqueeze(1)).mean(-1)  # [K, C]
        norm = self.critics.descend(loss)
        metrics = {"loss/critic": loss.detach().mean(1), "loss/q": q.detach().mean((1, 2))}
        metrics["loss/grad_norm"] = norm.view_as(loss).mean(1)
        return metrics | self._improve(batch)

    def state(self) -> State:
        """Return the weights, which acting needs, and every part."""
        weights = {"actor": self.actor.weights(), "critics": self.critics.weights()}
        return {"policy": weights} | {name: part.state() for name, part in self.parts.items()}

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        self.actor.load_weights(state["policy"]["actor"])
        self.critics.load_weights(state["policy"]["critics"])
        if "experience" in state:
            for name, part in self.parts.items():
                part.load(state[name])

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
