"""Tabular learning: one agent, a rule from the textbook and a behaviour as its parts.

The rules are in files of their own: ``one_step.py`` (TD(0), Sarsa, Q-learning, Expected Sarsa,
Double Q), ``monte_carlo.py``, ``n_step.py``, ``traces.py``, ``dyna.py``; policies are in
``policies.py``. A step's order is the textbook's: act, observe, learn; a rule that looks at the
next action has it chosen before it learns, and that action is then taken.

Deviations from the textbook:
- The lanes of a seed take turns at its one table; a preset has one lane.
- A mask is taken for a fact of the state: planning and traces use the one that was last seen in it.
- Evaluation is greedy, the first of equals; where state values are learned, the uniform policy is
  evaluated.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np
import torch
from gymnasium import spaces
from numpy import ndarray as Array
from torch import Tensor

from ..core.agent import GREEDY, SAMPLED, Component, Preset, Spec, Step
from ..core.legality import COMPONENT, NO_MASKS, Legality
from ..core.mdp import MDP, MODEL, picture
from ..core.oracle import Oracle
from ..core.parts import HasParts
from ..core.rng import Draws, RandomStream
from ..core.schedules import Schedule
from ..core.states import StateIndex, not_tabular
from . import policies
from .build import build_rule
from .config import GLIE, PRESETS, TabularConfig
from .rule import Transition

_REPORTS = 1000  # how often in a run the metrics are made, at most


class Tabular(HasParts):
    """The family's agent; see ``TabularConfig`` for its parts."""

    Config: ClassVar[type] = TabularConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = (COMPONENT,)
    PRESETS: ClassVar[Mapping[str, Preset]] = PRESETS
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    POLICY = ("rule",)
    PARTS = ("draws", "plan", "chance", "follow", "ticks", "seen")

    def __init__(
        self, config: TabularConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert isinstance(spec.action_space, spaces.Discrete)
        self.config, self.seeds, self.device = config, tuple(seeds), device
        self.actions, self.index = int(spec.action_space.n), StateIndex(spec, device)
        self.model: MDP | None = spec.extras.get(MODEL)
        told = self.model if config.masks == "use" else None
        self.base = _uniform_over_legal(told, self.index.states, self.actions)
        self.legality = Legality.of(spec, config.masks)
        if told is not None and told.legal is not None:
            self.legality = NO_MASKS  # the model has said it all
        b = config.behaviour
        self.glie = b.schedule == GLIE
        steps = max(1, int(b.fraction * spec.budget))
        self.schedule = Schedule("constant" if self.glie else b.schedule, b.start, b.end, steps)
        counted = self.index.states if self.glie else 0
        self.seen = np.zeros((len(seeds), counted), np.int64)  # visits of each state
        masked = self.legality.used
        self.rule = build_rule(config, self.seeds, self.base, self._target, masked)
        known = _comparable(self.model, config.masks == "use", self.legality.used)
        self.oracle = Oracle(known, config.gamma, config.predict)
        self.draws = {name: RandomStream(seeds, name, (config.lanes,)) for name in ("act", "next")}
        shape = (len(self.seeds), config.lanes)
        self.plan, self.chance = np.zeros(shape, np.int64), np.ones(shape)
        self.follow = np.zeros(shape, bool)  # whether the planned action is the next one
        self.ticks = 0
        self._report_every = max(1, spec.budget // config.lanes // _REPORTS)
        self._tick: dict[str, Array] = {}

    @classmethod
    def unsupported(cls, config: TabularConfig, spec: Spec) -> str | None:
        """Say why the task is impossible: a table needs finite states and actions."""
        if not isinstance(spec.action_space, spaces.Discrete):
            return f"it needs discrete actions, the environment has {spec.action_space}"
        model: MDP | None = spec.extras.get(MODEL)
        barred = spec.legal > 0 or (model is not None and model.legal is not None)
        if config.values == "linear" and config.masks == "use" and barred:
            return "linear values cannot bar the actions that are illegal in some states"
        return not_tabular(spec)

    @classmethod
    def policies(cls, config: TabularConfig) -> tuple[str, ...]:
        """Action values are for acting greedily; state values are of a policy that is given."""
        return (SAMPLED,) if config.predict else (GREEDY,)

    @classmethod
    def valued(cls, config: TabularConfig) -> str | None:
        """Say whose values the rule learns; those of an exploring policy are never evaluated.

        Dyna-Q+'s values include its bonus. Several steps of reward are the greedy policy's only
        where they are corrected, by importance sampling or a tree.
        """
        c, targets = config, config.target == "greedy"
        corrected = c.n_step == 1 or c.backup in ("importance_sampling", "tree")
        if c.predict:
            return SAMPLED
        greedy = {
            "q_learning": True,
            "double_q": True,
            "dyna": c.planning_bonus == 0,
            "traces": c.watkins,
            "expected_sarsa": targets,
            "n_step": corrected and (c.backup == "q_learning" or (c.backup != "sarsa" and targets)),
        }
        return GREEDY if greedy.get(c.rule, False) else None

    def act(
        self, obs: Tensor, explore: bool = True, draws: Draws | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N]``; evaluation remembers the values it expects."""
        s = self.index.host(obs.numpy(force=True))
        if not explore:
            return self._evaluate(s, self.legality.mask(obs), draws)
        self._mark(s, obs)
        action, chance = self._choose(s, self.draws["act"].host())
        if self.rule.chooses_next:
            action = np.where(self.follow, self.plan, action)
            chance = np.where(self.follow, self.chance, chance)
        memo = {"state": torch.from_numpy(s), "chance": torch.from_numpy(chance)}
        return torch.from_numpy(action).to(self.device), memo

    def _mark(self, s: Array, obs: Tensor) -> None:
        """Remember what is legal in the states ``s [K, N]`` that were observed."""
        legal = self.legality.mask(obs)
        if legal is not None:
            self.rule.mark(s, legal.numpy(force=True))

    def _choose(self, s: Array, u: Array) -> tuple[Array, Array]:
        """Return actions of the behaviour in ``s [K, N]``; their chances for rules that ask."""
        policy = self._behaviour(self.rule.at(s), s)
        action = policies.sample(policy, u)
        if not self.rule.chooses_next:
            return action, self.chance
        return action, np.take_along_axis(policy, action[None], 0)[0]

    def _behaviour(self, q: Array, s: Array) -> Array:
        """Return the behaviour's probabilities ``[A, ...]`` for ``q [A, ...]`` in ``s [...]``."""
        b, base = self.config.behaviour, self._uniform(s)
        if self.config.predict:
            return base
        level = self._level(s)
        visits = self.rule.values.visits_at(s) if b.kind == "ucb" else None
        return policies.probabilities(b.kind, q, base, level, visits)

    def _level(self, s: Array) -> Array | float:
        """Return the level of the behaviour in ``s [K, ...]``."""
        level = self.schedule(self.ticks * self.config.lanes)
        if not self.glie:
            return level
        visits = np.take_along_axis(self.seen, s.reshape(len(s), -1), 1).reshape(s.shape)
        return level / (1 + visits)  # this visit is the first one that is not counted yet

    def _target(self, q: Array, s: Array) -> Array:
        """Return the target policy's probabilities ``[A, K]`` for ``q [A, K]`` in ``s [K]``."""
        c = self.config
        if c.predict:
            return np.ones_like(q)
        if c.target == "behaviour":
            return self._behaviour(q, s)
        return policies.probabilities(c.target, q, self._uniform(s), c.target_epsilon)

    def _uniform(self, s: Array) -> Array:
        """Return the uniform policy over the legal actions in ``s [...]``, ``[A, ...]``."""
        if not self.legality.used:
            return self.base.take(s, 1)
        return policies.uniform(self.rule.values.legal_at(s))

    def _evaluate(
        self, s: Array, mask: Tensor | None, draws: Draws | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        q, base = self.rule.at(s), self.base.take(s, 1)
        if mask is not None:  # it may be seen for the first time, and is not remembered
            legal = np.moveaxis(mask.numpy(force=True), -1, 0)
            base = policies.uniform(legal)
            q = np.where(legal, q, -np.inf)
        if draws is None:
            action = q.argmax(0)
        else:
            action = policies.sample(base, draws(1)[..., 0].numpy(force=True))
        value = torch.from_numpy(q.max(0)).to(self.device)
        return torch.from_numpy(action).to(self.device), {"value": value}

    def observe(self, step: Step) -> None:
        """Keep one tick, on the host."""
        terminated = step.terminated.numpy(force=True)
        s_next = self.index.host(step.next_obs.numpy(force=True))
        self._mark(s_next, step.next_obs)
        self._tick = {
            "s": step.memo["state"].numpy(),
            "a": step.action.numpy(force=True),
            "r": step.reward.numpy(force=True).astype(np.float64),
            "s_next": s_next,
            "terminated": terminated,
            "ended": terminated | step.truncated.numpy(force=True),
            "valid": step.valid.numpy(force=True),
            "chance": step.memo["chance"].numpy(),
        }
        if self.glie:
            seed = np.arange(len(self.seeds))[:, None]
            np.add.at(self.seen, (seed, self._tick["s"]), self._tick["valid"])

    def update(self) -> dict[str, Tensor]:
        """Learn from the tick; metrics now and then."""
        tick = self._tick
        if self.config.predict:
            tick["a"] = np.zeros_like(tick["a"])  # a state's value, whatever was done in it
        if self.rule.chooses_next:
            u = self.draws["next"].host()
        ended = tick["ended"]
        any_ended = bool(ended.any())
        with np.errstate(over="ignore", invalid="ignore"):  # the harness sees to what diverges
            for n in range(self.config.lanes):
                at = {name: x[:, n] for name, x in tick.items()}
                if self.rule.chooses_next:
                    choice = self._choose(tick["s_next"][:, n : n + 1], u[:, n : n + 1])
                    self.plan[:, n], self.chance[:, n] = (x[:, 0] for x in choice)
                following = at["a"] if self.config.predict else self.plan[:, n]
                chance = self.chance[:, n]
                error = self.rule.learn(
                    Transition(
                        **at, a_next=following, chance_next=chance, lane=n, any_ended=any_ended
                    )
                )
        self.follow = ~ended
        self.ticks += 1
        if self.ticks % self._report_every:
            return {}
        metrics = self.oracle.errors(self.q().amax(-1))
        metrics["loss/td_error"] = torch.from_numpy(np.abs(error))
        return {name: x.to(self.device) for name, x in metrics.items()}

    def q(self) -> Tensor:
        """Return the action values (state values) ``[K, S, A]``."""
        return torch.from_numpy(self.rule.q())

    def arrays(self) -> dict[str, Tensor]:
        """Return the final values, and what a picture of them needs."""
        return {"q": self.q()} | picture(self.model, len(self.seeds))


def _comparable(model: MDP | None, told: bool, by_mask: bool) -> MDP | None:
    """Return the model whose values the table's are compared with; None if there is none.

    Args:
        model: the environment's.
        told: whether the agent heeds what is legal; if not, it may take any action.
        by_mask: whether observations alone say what is legal, of which the model knows nothing.
    """
    if model is None or model.observation is not None or by_mask:  # not each state is its own
        return None
    return model if told else replace(model, legal=None)


def _uniform_over_legal(model: MDP | None, states: int, actions: int) -> Array:
    """Return the uniform policy over the legal actions, ``[A, S]``."""
    if model is None or model.legal is None:
        return np.full((actions, states), 1 / actions)
    return model.uniform.T
