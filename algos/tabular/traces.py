"""Eligibility traces: TD(lambda), Sarsa(lambda) and Watkins's Q(lambda), the backward view.

``e <- gamma lambda e``, then 1 is added to (accumulating) or put at (replacing) the visited entry;
every entry moves by ``alpha delta e`` (Sutton and Barto, chapter 12, for tables; 1st edition,
figures 7.11 and 7.14). With lambda = 1 and accumulating traces this is online every-visit Monte
Carlo, with lambda = 0 the one-step rule.
"""

from typing import ClassVar

import torch
from torch import Tensor

from algos.core.agent import State
from algos.tabular.one_step import QLearning
from algos.tabular.rule import Transition
from algos.tabular.values import Table


class Traces(QLearning):
    """Sarsa(lambda); with a table of one column, TD(lambda); with ``watkins``, Q(lambda).

    Args:
        values: the table. gamma: discount. k: seeds. lanes: N. decay: lambda.
        replacing: whether a visit sets the trace to 1 rather than adding 1.
        watkins: learn the greedy policy's values and cut the traces at other actions.
    """

    chooses_next: ClassVar[bool] = True

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
        shape = (k, lanes, *values.q.shape[1:])
        self.trace = torch.zeros(shape, dtype=torch.float64, device=values.q.device)
        self._seed = torch.arange(k, device=values.q.device)

    def learn(self, t: Transition) -> Tensor:
        """Move all values by the one error, as far as they are eligible."""
        taken = self.values.of(t.s_next, t.a_next)
        best = self.values.at(t.s_next).amax(-1)
        following = torch.where(t.terminated, 0.0, best if self.watkins else taken)
        error = t.r + self.gamma * following - self.values.of(t.s, t.a)
        trace, place = self.trace[:, t.lane], (self._seed, t.s, t.a)
        trace.mul_(torch.where(t.valid, self.gamma * self.decay, 1.0)[:, None, None])
        visited = torch.ones_like(error) if self.replacing else trace[place] + 1.0
        trace[place] = torch.where(t.valid, visited, trace[place])
        self.values.learn_all(error, trace, t.s, t.a, t.valid)
        cut = t.ended & t.valid
        if self.watkins:  # equally good actions are both greedy
            cut = cut | (taken < best) & t.valid
        trace.mul_(~cut[:, None, None])
        return error

    def state(self) -> State:
        """Return the traces."""
        return {"trace": self.trace}

    def load(self, state: State) -> None:
        """Continue them."""
        self.trace.copy_(state["trace"])
