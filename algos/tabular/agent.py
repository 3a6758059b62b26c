"""Tabular learning: one agent, a rule from the textbook and a behaviour as its parts.

The rules are in files of their own: ``one_step.py`` (TD(0), Sarsa, Q-learning, Expected Sarsa,
Double Q), ``monte_carlo.py``, ``n_step.py``, ``traces.py``, ``dyna.py``; policies are in
``policies.py``. A step's order is the textbook's: act, observe, learn; a rule that looks at the
next action has it chosen before it learns, and that action is then taken.

Deviations from the textbook:
- The lanes of a seed take turns at its one table; a preset has one lane.
- Evaluation is greedy, the first of equals; with state values only, the uniform policy acts.
"""

from collections.abc import Sequence
from typing import ClassVar

import torch
from gymnasium import spaces
from torch import Tensor

from algos.core.agent import Component, Spec, State, Step
from algos.core.mdp import MDP, MODEL, picture
from algos.core.rng import Draws
from algos.core.schedules import Schedule
from algos.core.states import StateIndex, not_tabular
from algos.tabular import policies
from algos.tabular.build import build_rule
from algos.tabular.config import TabularConfig
from algos.tabular.one_step import DoubleQ, QLearning
from algos.tabular.oracle import Oracle
from algos.tabular.rule import Transition
from algos.tabular.values import Table

_REPORTS = 1000  # how often in a run the metrics are made, at most


class Tabular:
    """The family's agent; see ``TabularConfig`` for its parts."""

    Config: ClassVar[type] = TabularConfig
    COMPONENTS: ClassVar[tuple[Component, ...]] = ()
    max_seeds: ClassVar[int | None] = None
    interacts: ClassVar[bool] = True

    def __init__(
        self, config: TabularConfig, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None:
        assert isinstance(spec.action_space, spaces.Discrete)
        self.config, self.seeds, self.device = config, tuple(seeds), device
        self.actions, self.index = int(spec.action_space.n), StateIndex(spec, device)
        self.model: MDP | None = spec.extras.get(MODEL)
        self.base = _uniform_over_legal(self.model, self.index.states, self.actions, device)
        b = config.behaviour
        self.level = Schedule(b.schedule, b.start, b.end, max(1, int(b.fraction * spec.budget)))
        self.rule = build_rule(config, self.seeds, self.base, self._target, device)
        self.oracle = Oracle(self.model, config.gamma, config.predict, device)
        self._act, self._next = (
            Draws(seeds, purpose, (config.lanes,), device=device) for purpose in ("act", "next")
        )
        self._looks: dict[int, Draws] = {}  # of evaluations, by their number of lanes
        shape = (len(self.seeds), config.lanes)
        self._planned = torch.zeros(shape, dtype=torch.int64, device=device)
        self._chance = torch.ones(shape, dtype=torch.float64, device=device)
        self._follow = torch.zeros(shape, dtype=torch.bool, device=device)
        self.ticks = 0
        self._report_every = max(1, spec.budget // config.lanes // _REPORTS)
        self._seen: Step | None = None
        self._taken_chance = self._chance

    @classmethod
    def unsupported(cls, config: TabularConfig, spec: Spec) -> str | None:
        """Say why the task is impossible: a table needs finite states and actions."""
        if not isinstance(spec.action_space, spaces.Discrete):
            return f"it needs discrete actions, the environment has {spec.action_space}"
        return not_tabular(spec)

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions ``[K, N]``; evaluation remembers the values it expects."""
        s = self.index(obs)
        if not explore:
            return self._evaluate(s)
        action, chance = self._choose(s, self._act())
        if self.rule.chooses_next:
            action = torch.where(self._follow, self._planned, action)
            chance = torch.where(self._follow, self._chance, chance)
        self._taken_chance = chance
        return action, {}

    def _choose(self, s: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        """Return actions of the behaviour in ``s [K, N]`` and their chances."""
        policy = self._behaviour(s)
        action = policies.sample(policy, u)
        if not self.rule.chooses_next:
            return action, self._chance
        return action, policy.gather(-1, action[..., None])[..., 0]

    def _behaviour(self, s: Tensor) -> Tensor:
        """Return the behaviour's probabilities ``[K, N, A]``."""
        b, level = self.config.behaviour, self.level(self.ticks * self.config.lanes)
        if self.config.predict or b.kind == "uniform":
            return self.base[s]
        visits = self.rule.values.visits_at(s) if b.kind == "ucb" else None
        base = self.base[s] if b.kind == "epsilon_greedy" else 0.0
        return policies.probabilities(b.kind, self.rule.at(s), base, level, visits)

    def _target(self, q: Tensor, s: Tensor) -> Tensor:
        """Return the target policy's probabilities for ``q [K, A]`` in ``s [K]``."""
        c, b = self.config, self.config.behaviour
        if c.predict:
            return torch.ones_like(q)
        if c.target != "behaviour":
            return policies.probabilities(c.target, q, self.base[s], c.target_epsilon)
        level = self.level(self.ticks * c.lanes)
        visits = self.rule.values.visits_at(s) if b.kind == "ucb" else None
        return policies.probabilities(b.kind, q, self.base[s], level, visits)

    def _evaluate(self, s: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        if not self.config.predict:
            value, action = self.rule.at(s).max(-1)
            return action, {"value": value}
        lanes = s.shape[1]
        if lanes not in self._looks:
            self._looks[lanes] = Draws(self.seeds, f"look/{lanes}", (lanes,), device=self.device)
        action = policies.sample(self.base[s], self._looks[lanes]())
        return action, {"value": self.rule.at(s)[..., 0]}

    def observe(self, step: Step) -> None:
        """Keep one tick."""
        self._seen = step

    def update(self) -> dict[str, Tensor] | None:
        """Learn from the tick; metrics now and then."""
        step = self._seen
        assert step is not None
        s, s_next, r = self.index(step.obs), self.index(step.next_obs), step.reward.double()
        ended = step.terminated | step.truncated
        any_ended = bool(ended.any())
        u = self._next() if self.rule.chooses_next else None
        for n in range(self.config.lanes):
            if u is not None:
                action, chance = self._choose(s_next[:, n : n + 1], u[:, n : n + 1])
                self._planned[:, n], self._chance[:, n] = action[:, 0], chance[:, 0]
            a = torch.zeros_like(step.action[:, n]) if self.config.predict else step.action[:, n]
            error = self.rule.learn(
                Transition(
                    s[:, n],
                    a,
                    r[:, n],
                    s_next[:, n],
                    a if self.config.predict else self._planned[:, n],
                    step.terminated[:, n],
                    ended[:, n],
                    step.valid[:, n],
                    self._taken_chance[:, n],
                    self._chance[:, n],
                    n,
                    any_ended,
                )
            )
        self._follow = ~ended
        self.ticks += 1
        if self.ticks % self._report_every:
            return None
        return {"loss/td_error": error.abs()} | self.oracle.errors(self.rule.q())

    def arrays(self) -> dict[str, Tensor]:
        """Return the final action values (state values) ``[K, S, A]``."""
        return {"q": self.rule.q()} | picture(self.model, len(self.seeds))

    def _streams(self) -> dict[str, Draws]:
        looks = {f"look/{lanes}": draws for lanes, draws in self._looks.items()}
        return {"act": self._act, "next": self._next, **looks}

    def state(self) -> State:
        """Return values, the rule's memory, streams and the planned actions."""
        tables = {f"values{i}": t.tensors() for i, t in enumerate(_tables(self.rule))}
        return {
            "policy": tables,
            "rule": self.rule.state(),
            "streams": {name: draws.state() for name, draws in self._streams().items()},
            "planned": self._planned,
            "chance": self._chance,
            "follow": self._follow,
            "ticks": self.ticks,
        }

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works."""
        for i, table in enumerate(_tables(self.rule)):
            for name, ours in table.tensors().items():
                ours.copy_(state["policy"][f"values{i}"][name])
        if "rule" not in state:
            return
        self.rule.load(state["rule"])
        for name, position in state["streams"].items():
            if name.startswith("look/"):
                lanes = int(name.removeprefix("look/"))
                self._looks[lanes] = Draws(self.seeds, name, (lanes,), device=self.device)
            self._streams()[name].load(position)
        self._planned.copy_(state["planned"])
        self._chance.copy_(state["chance"])
        self._follow = state["follow"].clone().to(self.device)
        self.ticks = state["ticks"]


def _uniform_over_legal(
    model: MDP | None, states: int, actions: int, device: torch.device
) -> Tensor:
    """Return the uniform policy over the legal actions, ``[S, A]`` float64."""
    legal = torch.ones(states, actions, dtype=torch.float64, device=device)
    if model is not None and model.legal is not None:
        legal = torch.as_tensor(model.legal, device=device).double()
    return legal / legal.sum(-1, keepdim=True)


def _tables(rule: QLearning) -> list[Table]:
    return [rule.values, rule.other] if isinstance(rule, DoubleQ) else [rule.values]
