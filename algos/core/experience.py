"""What an off-policy agent has lived through, and when and from what it learns next."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from .agent import Spec, Step
from .parts import HasParts
from .replay import Batch, ReplayBuffer, Sequences
from .samplers import Latest, Prioritized, Sampler, Uniform


class ExperienceConfig(Protocol):
    """The settings of an agent that say how it replays; steps are those of one seed."""

    lanes: int
    gamma: float
    replay: bool
    batch_size: int
    learning_starts: int
    train_every: int
    gradient_steps: int


class Experience(HasParts):
    """A replay buffer, what samples it, and the cadence at which K seeds learn from it.

    Args:
        config: the agent's. spec: the task. seeds: the K seeds. device: where batches are wanted.
        capacity: transitions per seed that can be sampled.
        n_step: steps of a transition.
        alpha: exponent of the priorities; None: every transition alike.

    Attributes:
        ticks: observed so far; each is a step in every lane.
    """

    PARTS = ("buffer", "sampler", "ticks")

    def __init__(
        self,
        config: ExperienceConfig,
        spec: Spec,
        seeds: Sequence[int],
        device: torch.device,
        capacity: int,
        n_step: int = 1,
        alpha: float | None = None,
    ) -> None:
        self.config, self.ticks = config, 0
        self.interval = max(1, config.train_every // config.lanes)  # ticks between updates
        self.buffer = ReplayBuffer(
            len(seeds),
            config.lanes,
            spec.obs_space,
            _stored(spec.action_space),
            capacity if config.replay else config.lanes,
            n_step,
            config.gamma,
            device,
        )
        self.sampler: Sampler
        if not config.replay:
            self.sampler = Latest(self.buffer, seeds)
        elif alpha is None:
            self.sampler = Uniform(self.buffer, seeds, config.batch_size)
        else:
            self.sampler = Prioritized(self.buffer, seeds, config.batch_size, alpha)

    @property
    def steps(self) -> int:
        """Environment steps per seed so far."""
        return self.ticks * self.config.lanes

    def add(self, step: Step) -> None:
        """Store one tick."""
        self.buffer.add(step)
        self.ticks += 1

    @property
    def due(self) -> int:
        """How many gradient steps are due at this tick."""
        c = self.config
        if self.steps < c.learning_starts or not len(self.buffer) or self.ticks % self.interval:
            return 0
        return c.gradient_steps

    def crossed(self, every: int) -> bool:
        """Whether a multiple of ``every`` steps lies between the last update and this one."""
        before = (self.ticks - self.interval) * self.config.lanes
        return self.steps // every > before // every

    def sample(self, beta: float = 1.0) -> tuple[Batch, Tensor, Tensor]:
        """Return transitions, their weights and, on the host, their places, ``[K, B]`` each.

        Args:
            beta: exponent of the importance weights, where there are priorities.
        """
        index, weight = self.sampler.sample(beta)
        return self.buffer.gather(index), weight.to(self.buffer.device), index

    def sample_sequences(self, burn_in: int, length: int) -> Sequences:
        """Return sequences of ``length`` steps with what comes before; every start alike."""
        index, _ = self.sampler.sample(1.0)
        return self.buffer.gather_sequences(index, burn_in, length)


def averaged(steps: list[dict[str, Tensor]]) -> dict[str, Tensor] | None:
    """Return the means ``[K]`` of the metrics of some gradient steps; None of no step.

    A metric that only some steps have is averaged over these.
    """
    if len(steps) < 2:
        return steps[0] if steps else None
    names = dict.fromkeys(name for step in steps for name in step)
    # seeds lead: a mean over the first axis would sum in an order that depends on K
    return {
        name: torch.stack([step[name] for step in steps if name in step], -1).mean(-1)
        for name in names
    }


def _stored(space: spaces.Space) -> tuple[Sequence[int], type[np.generic]]:
    """Return shape and dtype of an action in the buffer."""
    return ((), np.int64) if isinstance(space, spaces.Discrete) else (space.shape or (), np.float32)
