"""Eligibility traces: TD(lambda), Sarsa(lambda) and Watkins's Q(lambda), the backward view.

``e <- gamma lambda e``, then 1 is added to (accumulating) or put at (replacing) the visited entry;
every entry moves by ``alpha delta e`` (Sutton and Barto, chapter 12, for tables; 1st edition,
figures 7.11 and 7.14). With lambda = 1 and accumulating traces this is online every-visit Monte
Carlo, with lambda = 0 the one-step rule.
"""

from typing import ClassVar

import numpy as np
from numpy import ndarray as Array

from .one_step import QLearning
from .rule import Transition
from .values import Table


class Traces(QLearning):
    """Sarsa(lambda); with a table of one column, TD(lambda); with ``watkins``, Q(lambda).

    Args:
        values: the table. gamma: discount. k: seeds. lanes: N. decay: lambda.
        replacing: whether a visit sets the trace to 1 rather than adding 1.
        watkins: learn the greedy policy's values and cut the traces at other actions.
    """

    chooses_next: ClassVar[bool] = True
    PARTS = ("trace",)

    def __init__(
        self,
        values: Table,
        gamma: float,
        k: int,
        lanes: int,
        decay: float,
        replacing: bool,
        watkins: bool,
    ) -> None:
        super().__init__(values, gamma)
        self.decay, self.replacing, self.watkins = decay, replacing, watkins
        self.trace = np.zeros((k, lanes, *values.q.shape[1:]))
        self._seed = np.arange(k)

    def learn(self, t: Transition) -> Array:
        """Move all values by the one error, as far as they are eligible."""
        q_next = self.values.of(t.s_next, t.a_next)
        best = self.values.at(t.s_next).max(0)
        following = np.where(t.terminated, 0.0, best if self.watkins else q_next)
        error: Array = t.r + self.gamma * following - self.values.of(t.s, t.a)
        trace, place = self.trace[:, t.lane], (self._seed, t.s, t.a)
        trace *= np.where(t.valid, self.gamma * self.decay, 1.0)[:, None, None]
        visited = 1.0 if self.replacing else trace[place] + 1.0
        trace[place] = np.where(t.valid, visited, trace[place])
        self.values.learn_all(error, trace, t.s, t.a, t.valid)
        cut = t.ended & t.valid
        if self.watkins:  # equally good actions are both greedy
            cut = cut | (q_next < best) & t.valid
        trace[cut] = 0.0
        return error
