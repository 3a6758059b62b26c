"""Monte-Carlo learning from whole episodes (Sutton and Barto, sections 5.1 and 5.4).

Deviation: the return of an episode that a time limit cut goes on with the value of its last state,
since what would have followed is unknown.
"""

from typing import ClassVar

import numpy as np
from numpy import ndarray as Array

from .one_step import QLearning
from .rule import Transition
from .values import Table

_ROWS = 64  # steps that an episode's memory holds at first


class MonteCarlo(QLearning):
    """Every-visit or first-visit Monte Carlo; control is on-policy, by the behaviour's softness.

    Args:
        values: the table. gamma: discount. k: seeds. lanes: N. first_visit: learn a state and
            action only from its first occurrence in an episode.
    """

    PARTS = ("length", "s", "a", "r", "first", "ticks")
    GROWING = ("s", "a", "r", "first")
    chooses_next: ClassVar[bool] = True  # a cut episode goes on with the action after it

    def __init__(self, values: Table, gamma: float, k: int, lanes: int, first_visit: bool) -> None:
        super().__init__(values, gamma)
        self.first_visit = first_visit
        shape = (k, lanes, _ROWS)
        self.s, self.a = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.r, self.first = np.zeros(shape), np.zeros(shape, bool)
        self.length = np.zeros((k, lanes), np.int64)
        self._seed = np.arange(k)
        self.ticks = 0  # since room was made: no episode has grown by more

    def learn(self, t: Transition) -> Array:
        """Remember the step; learn from the episodes that it ends, last step first."""
        self.ticks += t.lane == 0
        if self.ticks > self.s.shape[-1]:
            self._make_room()
        length = self.length[:, t.lane]  # a view, until it grows below
        place = (self._seed, t.lane, length)
        for memory, new in ((self.s, t.s), (self.a, t.a), (self.r, t.r)):
            memory[place] = np.where(t.valid, new, memory[place])
        if self.first_visit:
            same = (self.s[:, t.lane] == t.s[:, None]) & (self.a[:, t.lane] == t.a[:, None])
            before = np.arange(same.shape[-1]) < length[:, None]
            self.first[place] = ~(same & before).any(-1)
        length += t.valid
        return self._learn_from(t, length) if t.any_ended else np.zeros_like(t.r)

    def _learn_from(self, t: Transition, length: Array) -> Array:
        """Learn from the episodes that ended, ``G <- gamma G + r`` backwards."""
        over = t.ended & t.valid
        g = np.where(t.terminated, 0.0, self.values.of(t.s_next, t.a_next))
        total, count = np.zeros_like(g), np.zeros_like(g)
        for step in reversed(range(length[over].max(initial=0))):
            here = over & (step < length)
            g = np.where(here, self.gamma * g + self.r[:, t.lane, step], g)
            if self.first_visit:
                here = here & self.first[:, t.lane, step]
            s, a = self.s[:, t.lane, step], self.a[:, t.lane, step]
            error = g - self.values.of(s, a)
            self.values.learn(s, a, error, here)
            total, count = total + np.where(here, error, 0.0), count + here
        length[over] = 0
        mean: Array = total / np.maximum(count, 1)
        return mean

    def _make_room(self) -> None:
        """Make room for as many steps again as the longest running episode has had."""
        longest = int(self.length.max())
        if 2 * longest > self.s.shape[-1]:
            self.s, self.a, self.r, self.first = (
                np.concatenate([x, np.zeros_like(x)], -1)
                for x in (self.s, self.a, self.r, self.first)
            )
        self.ticks = longest + 1
