"""Cross-entropy method over sessions: sample sessions, imitate the best (Rubinstein 1999).

The policy is a model that is fitted to the states and actions of the elite sessions: a table, a
linear or neural network, or a random forest. Discrete actions are classified, continuous ones
regressed (``models.py``). Lanes wait for each other, so that an iteration has whole sessions only.
The elites are chosen from the sessions of the last iterations (``elites.py``). ``config.py``
declares the components.
"""

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from ..core.agent import GREEDY, SAMPLED, Component, Preset, Spec, Step
from ..core.legality import unheeded
from ..core.parts import HasParts
from ..core.rng import Draws
from ..core.rollout import Episodes
from ..core.states import not_tabular
from .config import COMPONENTS, PRESETS, CEMConfig
from .elites import elites
from .models import SAMPLE, build
from .spaces import refused


class CEM(HasParts):
    """The agent; see ``CEMConfig`` for its parts."""

    Config: ClassVar[type] = CEMConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    POLICY = ("model",)
    PARTS = ("episodes", "returns", "length", "obs", "actions", "lengths", "scores")
    GROWING = ("obs", "actions")

    def __init__(
        self, config: CEMConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config, k = config, len(seeds)
        self.sessions = config.lanes * config.rounds
        self.model = build(config, spec, seeds, device)
        space = spec.action_space
        discrete = isinstance(space, spaces.Discrete)
        action = ((), np.int64) if discrete else (space.shape or (), np.float32)
        self.episodes = Episodes(k, config.rounds, config.lanes, spec.obs_space, action, device)
        self.returns = torch.zeros(k, self.sessions, device=device)
        self.length = torch.zeros(k, self.sessions, dtype=torch.int64, device=device)
        # the sessions of the last iterations, oldest first
        capacity = self.sessions * config.memory
        self.obs = torch.zeros(k, capacity, 0, *spec.obs_space.shape, device=device)
        self.actions = torch.from_numpy(np.zeros((k, capacity, 0, *action[0]), action[1]))
        self.actions = self.actions.to(device)
        self.lengths = torch.zeros(k, capacity, dtype=torch.int64, device=device)
        self.scores = torch.full((k, capacity), -torch.inf, device=device)  # their returns
        self.budget = spec.budget
        self._seed = torch.arange(k, device=device)[:, None]
        self._lane = torch.arange(config.lanes, device=device)[None]

    @classmethod
    def unsupported(cls, config: CEMConfig, spec: Spec) -> str | None:
        """Say why the task is impossible."""
        space = spec.action_space
        if config.model == "forest" and find_spec("sklearn") is None:
            return "model=forest needs scikit-learn, which is not installed"
        if reason := unheeded(spec):
            return reason
        if config.model == "table":
            if not isinstance(space, spaces.Discrete):
                return f"model=table needs discrete actions, the environment has {space}"
            return not_tabular(spec)
        return refused(space)

    @classmethod
    def policies(cls, config: CEMConfig) -> tuple[str, ...]:
        """Sampled by default: the elites' actions are fitted as probabilities.

        The likeliest action is not trained to be good: it may loop where the sampled policy
        succeeds. With continuous actions both forms are the regressed action, without noise.
        """
        return SAMPLED, GREEDY

    def act(
        self, obs: Tensor, explore: bool = True, draws: Draws | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Sample actions ``[K, N]``, or take the most likely ones."""
        share = (self.episodes.steps.double() / self.budget).clamp(max=1.0)
        return self.model.act(obs, explore, draws, share)

    def observe(self, step: Step) -> None:
        """Write the tick into the sessions."""
        session = self.episodes.done[:, None] * self.config.lanes + self._lane
        self.returns[self._seed, session] += torch.where(step.valid, step.reward, 0.0)
        self.length[self._seed, session] += step.valid
        self.episodes.add(step._replace(action=step.memo.get(SAMPLE, step.action)))

    def update(self) -> dict[str, Tensor] | None:
        """Choose the elites of the seeds whose sessions are complete, and imitate them.

        A seed whose sessions all have the same return learns nothing.
        """
        if not self.episodes.due:
            return None
        due = self.episodes.ready
        self._keep(due)
        elite = elites(self.scores, self.config.elite)
        alike = ~elite.any(-1)
        counted = torch.where(alike[:, None], self.scores > -torch.inf, elite)
        total = torch.where(counted, self.scores, 0.0).sum(-1)
        metrics = {
            "loss/elite_return": total / counted.sum(-1).clamp(min=1),
            "loss/session_return": self.returns.mean(-1),
            "learned": due,
        }
        self.model.fit(self.obs, self.actions, torch.where(elite, self.lengths, 0), due & ~alike)
        self.episodes.clear()
        self.returns = torch.where(due[:, None], 0.0, self.returns)
        self.length = torch.where(due[:, None], 0, self.length)
        return metrics

    def _keep(self, due: Tensor) -> None:
        """Replace the oldest sessions by those of this iteration."""
        data, lanes = self.episodes.take(), self.config.lanes
        longest = int(torch.where(due[:, None], self.length, 0).max())
        session = torch.arange(self.sessions, device=due.device)
        begin = self.episodes.start[:, session // lanes]
        step = torch.arange(longest, device=due.device)
        tick = (begin[..., None] + step).clamp(max=data.reward.shape[1] - 1)
        at = (self._seed[..., None], tick, (session % lanes)[None, :, None])
        # beyond a session's end, the gathered ticks belong to other sessions
        behind = step >= self.length[..., None]
        for name, new in (
            ("obs", data.obs[at].float()),
            ("actions", data.action[at]),
            ("lengths", self.length),
            ("scores", self.returns),
        ):
            old = getattr(self, name)
            if new.ndim > 2:
                new = new.masked_fill(behind.view(*behind.shape, *[1] * (new.ndim - 3)), 0)
                room = max(old.shape[2], longest)
                old, new = (_with_room(x, room) for x in (old, new))
            queue = torch.cat([old[:, self.sessions :], new], 1)
            setattr(self, name, torch.where(due.view(-1, *[1] * (old.ndim - 1)), queue, old))


def _with_room(x: Tensor, ticks: int) -> Tensor:
    """Return sessions ``[K, M, T, ...]`` with room for more ticks."""
    room = x.new_zeros(*x.shape[:2], ticks - x.shape[2], *x.shape[3:])
    return torch.cat([x, room], 2)
