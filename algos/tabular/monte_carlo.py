"""Monte-Carlo learning from whole episodes (Sutton and Barto, sections 5.1 and 5.4).

Deviation: the return of an episode that a time limit cut goes on with the value of its last state,
since what would have followed is unknown.
"""

from typing import ClassVar

import torch
from torch import Tensor

from algos.core.agent import State
from algos.tabular.one_step import QLearning
from algos.tabular.rule import Transition
from algos.tabular.values import Table

_ROWS = 64  # steps that an episode's memory holds at first


class MonteCarlo(QLearning):
    """Every-visit or first-visit Monte Carlo; control is on-policy, by the behaviour's softness.

    Args:
        values: the table. gamma: discount. k: seeds. lanes: N. first_visit: learn a state and
            action only from its first occurrence in an episode.
    """

    chooses_next: ClassVar[bool] = True  # a cut episode goes on with the action after it

    def __init__(self, values: Table, gamma: float, k: int, lanes: int, first_visit: bool) -> None:
        super().__init__(values, gamma)
        self.first_visit = first_visit
        device = values.q.device
        self._s = torch.zeros(k, lanes, _ROWS, dtype=torch.int64, device=device)
        self._a, self._r = self._s.clone(), self._s.double()
        self._first = self._s.bool()
        self._length = torch.zeros(k, lanes, dtype=torch.int64, device=device)
        self._seed = torch.arange(k, device=device)
        self._ticks = 0  # since room was made: no episode has grown by more

    def learn(self, t: Transition) -> Tensor:
        """Remember the step; learn from the episodes that it ends, last step first."""
        length = self._length[:, t.lane].clone()
        self._ticks += t.lane == 0
        if self._ticks > self._s.shape[-1]:
            self._make_room()
        place = (self._seed, t.lane, length)
        keep = t.valid
        self._s[place] = torch.where(keep, t.s, self._s[place])
        self._a[place] = torch.where(keep, t.a, self._a[place])
        self._r[place] = torch.where(keep, t.r, self._r[place])
        if self.first_visit:
            same = (self._s[:, t.lane] == t.s[:, None]) & (self._a[:, t.lane] == t.a[:, None])
            before = torch.arange(same.shape[-1], device=same.device) < length[:, None]
            self._first[place] = ~(same & before).any(-1)
        self._length[:, t.lane] += keep
        error = torch.zeros_like(t.r)
        if t.any_ended:
            error = self._learn_from(t)
        return error

    def _learn_from(self, t: Transition) -> Tensor:
        """Learn from the episodes that ended, ``G <- gamma G + r`` backwards."""
        over, length = t.ended & t.valid, self._length[:, t.lane]
        following = self.values.of(t.s_next, t.a_next)
        g = torch.where(t.terminated, 0.0, following)
        total, count = torch.zeros_like(g), torch.zeros_like(g)
        longest = int(torch.where(over, length, 0).max())  # how often to loop, no value
        for step in reversed(range(longest)):
            here = over & (step < length)
            g = torch.where(here, self.gamma * g + self._r[:, t.lane, step], g)
            if self.first_visit:
                here = here & self._first[:, t.lane, step]
            s, a = self._s[:, t.lane, step], self._a[:, t.lane, step]
            error = g - self.values.of(s, a)
            self.values.learn(s, a, error, here)
            total, count = total + torch.where(here, error, 0.0), count + here
        self._length[:, t.lane] = torch.where(over, 0, length)
        return total / count.clamp(min=1)

    def _make_room(self) -> None:
        """Make room for as many steps again as the longest running episode has had."""
        longest = int(self._length.max())
        if 2 * longest > self._s.shape[-1]:
            self._s, self._a, self._r, self._first = (
                torch.cat([x, torch.zeros_like(x)], -1)
                for x in (self._s, self._a, self._r, self._first)
            )
        self._ticks = longest + 1

    def state(self) -> State:
        """Return the running episodes."""
        names = ("s", "a", "r", "first", "length")
        tensors = (self._s, self._a, self._r, self._first, self._length)
        return dict(zip(names, tensors, strict=True)) | {"ticks": self._ticks}

    def load(self, state: State) -> None:
        """Continue them."""
        device = self._s.device
        names = ("s", "a", "r", "first", "length")
        copies = (state[name].clone().to(device) for name in names)
        self._s, self._a, self._r, self._first, self._length = copies
        self._ticks = state["ticks"]
