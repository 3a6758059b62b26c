"""Dyna-Q and Dyna-Q+: Q-learning from experience, and from a model learned on the way.

Sutton 1990; Sutton and Barto, sections 8.2 and 8.3. The model is the last outcome of each state and
action, as for deterministic environments. Each planning step draws a state that has been met and an
action that has been taken in it. Dyna-Q+ draws among all actions (one never taken is imagined to
lead back with reward 0) and adds ``kappa sqrt(time since it was last taken)`` to the reward.
"""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray as Array

from ..core.rng import RandomStream
from .one_step import QLearning
from .policies import sample, total
from .rule import Transition
from .values import Table


class Dyna(QLearning):
    """Q-learning that plans.

    Args:
        values: the table. gamma: discount. seeds: draw what is planned. lanes: N.
        steps: planning steps per step of the environment. bonus: kappa; 0 = Dyna-Q.
    """

    PARTS = (
        *("draws", "reward", "terminal", "successor"),
        *("entries", "last", "states", "count", "time"),
    )

    def __init__(
        self,
        values: Table,
        gamma: float,
        seeds: Sequence[int],
        lanes: int,
        steps: int,
        bonus: float,
    ) -> None:
        super().__init__(values, gamma)
        self.steps, self.bonus = steps, bonus
        k, states, actions = shape = values.q.shape
        self.draws = RandomStream(seeds, "plan", (lanes, steps, 2))
        self.reward, self.terminal = np.zeros(shape), np.zeros(shape, bool)
        self.successor = np.tile(np.arange(states)[None, :, None], (k, 1, actions))
        self.entries, self.last = (
            np.zeros(shape),
            np.zeros(shape),
        )  # 1 where there is one; when last
        self.states = np.zeros((k, states), np.int64)  # in the order in which they were met
        self.count, self.time = np.zeros(k, np.int64), np.zeros(k)
        self._seed = np.arange(k)
        self._u = np.zeros((k, lanes, steps, 2), np.float32)

    def learn(self, t: Transition) -> Array:
        """Learn from the step, remember it, then learn from memories."""
        error = super().learn(t)
        self._remember(t)
        if t.lane == 0 and self.steps:
            self._u = self.draws.host()
        for step in range(self.steps):
            self._plan(self._u[:, t.lane, step])
        return error

    def _remember(self, t: Transition) -> None:
        place = (self._seed, t.s, t.a)
        self.time += t.valid
        new = ~self.entries[self._seed, t.s].any(-1) & t.valid
        slot = (self._seed, np.minimum(self.count, self.states.shape[1] - 1))
        self.states[slot] = np.where(new, t.s, self.states[slot])
        self.count += new
        for memory, value in (
            (self.reward, t.r),
            (self.terminal, t.terminated),
            (self.successor, t.s_next),
            (self.entries, 1.0),
            (self.last, self.time),
        ):
            memory[place] = np.where(t.valid, value, memory[place])

    def _plan(self, u: Array) -> None:
        """Learn from one remembered outcome of every seed; ``u [K, 2]`` chooses it."""
        last = np.maximum(self.count - 1, 0)
        index = np.minimum((u[:, 0] * self.count).astype(np.int64), last)
        s = self.states[self._seed, index]
        if self.bonus > 0:
            among = (self.values.at(s) > -np.inf).astype(np.float64)
        else:
            among = self.entries[self._seed, s].T
        a = sample(among / np.maximum(total(among), 1), u[:, 1])
        place = (self._seed, s, a)
        following = self.values.at(self.successor[place]).max(0)
        target = self.reward[place] + self.gamma * np.where(self.terminal[place], 0.0, following)
        if self.bonus > 0:
            target = target + self.bonus * np.sqrt(self.time - self.last[place])
        self.values.learn(s, a, target - self.values.of(s, a), self.count > 0)
