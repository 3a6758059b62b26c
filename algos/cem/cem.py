"""Cross-entropy method over sessions: sample sessions, imitate the best (Rubinstein 1999).

The policy is a model that is fitted to the states and actions of the elite sessions: a table, a
linear or neural network, a random forest; discrete actions are classified, continuous ones
regressed (``models.py``). Lanes wait for each other: all sessions of an iteration are complete
before the best are chosen. The four declared components are in ``config.py``.
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from algos.cem.config import COMPONENTS, CEMConfig
from algos.cem.models import build
from algos.core.agent import Component, Spec, State, Step
from algos.core.states import not_tabular

_STEPS = 64  # of a session that there is room for at first


class CEM:
    """The agent; see ``CEMConfig`` for its parts."""

    Config: ClassVar[type] = CEMConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = COMPONENTS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    def __init__(
        self, config: CEMConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        self.config, k = config, len(seeds)
        self.sessions = config.lanes * config.rounds
        self.elites = max(1, round(config.elite * self.sessions))
        self.model = build(config, spec, seeds, device)
        space = spec.action_space
        discrete = isinstance(space, spaces.Discrete)
        act_shape = () if discrete else space.shape or ()
        act_type = torch.int64 if discrete else torch.float32
        width = spec.obs_space.shape

        def room(count: int, shape: tuple[int, ...], dtype: torch.dtype) -> Tensor:
            return torch.zeros(k, count, _STEPS, *shape, dtype=dtype, device=device)

        # this iteration's sessions, and the elites of the last ones, oldest first
        self.obs = room(self.sessions, width, torch.float32)
        self.actions = room(self.sessions, act_shape, act_type)
        kept = self.elites * config.memory
        self.elite_obs = room(kept, width, torch.float32)
        self.elite_actions = room(kept, act_shape, act_type)
        whole = torch.zeros(k, self.sessions, device=device)
        self.returns, self.length = whole, whole.long()
        self.elite_length = torch.zeros(k, kept, dtype=torch.int64, device=device)
        self.over = torch.zeros(k, config.lanes, dtype=torch.bool, device=device)
        self.round = torch.zeros(k, dtype=torch.int64, device=device)
        self.clock = torch.zeros(k, dtype=torch.int64, device=device)  # steps of this round
        self.ticks, self.budget = 0, spec.budget
        self._seed = torch.arange(k, device=device)[:, None]
        self._lane = torch.arange(config.lanes, device=device)[None]

    @classmethod
    def unsupported(cls, config: CEMConfig, spec: Spec) -> str | None:
        """Say why the task is impossible."""
        space = spec.action_space
        if config.model == "forest" and find_spec("sklearn") is None:
            return "model=forest needs scikit-learn, which is not installed"
        if config.model == "table":
            if not isinstance(space, spaces.Discrete):
                return f"model=table needs discrete actions, the environment has {space}"
            return not_tabular(spec)
        if isinstance(space, spaces.Discrete):
            return None
        if isinstance(space, spaces.Box) and len(space.shape) == 1 and space.is_bounded():
            return None
        return f"it needs discrete actions or a bounded vector of them, the environment has {space}"

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Sample actions ``[K, N]``, or take the most likely ones."""
        share = min(1.0, self.ticks * self.config.lanes / self.budget)
        return self.model.act(obs, explore, share), {}

    def observe(self, step: Step) -> None:
        """Write the tick into the sessions."""
        slot = self.round[:, None] * self.config.lanes + self._lane
        self._make_room()
        place = (self._seed, slot, self.clock[:, None])
        self.obs[place] = step.obs.to(self.obs.dtype)
        self.actions[place] = step.action.to(self.actions.dtype)
        self.returns[self._seed, slot] += torch.where(step.valid, step.reward, 0.0)
        self.length[self._seed, slot] += step.valid
        self.over |= (step.terminated | step.truncated) & step.valid
        self.ticks += 1
        complete = self.over.all(1)
        self.clock = torch.where(complete, 0, self.clock + 1)
        self.over &= ~complete[:, None]
        self.round += complete
        self.due = self.round >= self.config.rounds
        self.any_due = bool(self.due.any())

    def _make_room(self) -> None:
        """Double the steps there is room for when a session needs them."""
        if int(self.clock.max()) < self.obs.shape[2]:
            return
        for name in ("obs", "actions", "elite_obs", "elite_actions"):
            x = getattr(self, name)
            setattr(self, name, torch.cat([x, torch.zeros_like(x)], 2))

    def update(self) -> dict[str, Tensor] | None:
        """Choose the elites of those seeds whose sessions are complete, and imitate them."""
        if not self.any_due:
            return None
        due = self.due
        best = self.returns.argsort(dim=-1, descending=True, stable=True)[:, : self.elites]
        metrics = {
            "loss/elite_return": self.returns.gather(1, best).mean(-1),
            "loss/session_return": self.returns.mean(-1),
            "learned": due,
        }
        for name, new in (
            ("elite_obs", self.obs),
            ("elite_actions", self.actions),
            ("elite_length", self.length),
        ):
            old = getattr(self, name)
            queue = torch.cat([old[:, self.elites :], new[self._seed, best]], 1)
            setattr(self, name, torch.where(due.view(-1, *[1] * (old.ndim - 1)), queue, old))
        self.model.fit(self.elite_obs, self.elite_actions, self.elite_length, due)
        self.returns = torch.where(due[:, None], 0.0, self.returns)
        self.length = torch.where(due[:, None], 0, self.length)
        self.round = torch.where(due, 0, self.round)
        return metrics

    _TENSORS = (
        *("obs", "actions", "elite_obs", "elite_actions", "returns", "length", "elite_length"),
        *("over", "round", "clock"),
    )

    def state(self) -> State:
        """Return the model, the sessions and the elites."""
        sessions = {name: getattr(self, name) for name in self._TENSORS}
        return {
            "policy": self.model.policy(),
            "model": self.model.memory(),
            "sessions": sessions,
            "ticks": self.ticks,
        }

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        self.model.load(state["policy"], state.get("model"))
        if "sessions" not in state:
            return
        for name in self._TENSORS:
            setattr(self, name, state["sessions"][name].clone().to(self.over.device))
        self.ticks = state["ticks"]
