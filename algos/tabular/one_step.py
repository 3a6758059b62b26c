"""One-step temporal-difference learning: TD(0), Sarsa, Q-learning, Expected Sarsa, Double Q.

``Q(s, a) <- Q(s, a) + alpha (r + gamma V(s') - Q(s, a))``; the rules differ in V(s'), which is zero
behind a termination, and not behind a time limit.
"""

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
from numpy import ndarray as Array

from ..core.parts import HasParts
from ..core.rng import RandomStream
from .policies import expectation
from .rule import Policy, Transition
from .values import Table


class QLearning(HasParts):
    """V(s') = max_a Q(s', a) (Watkins 1989; Sutton and Barto, equation 6.8).

    Args:
        values: the table. gamma: discount.
    """

    chooses_next: ClassVar[bool] = False
    POLICY: ClassVar[tuple[str, ...]] = ("values",)

    def __init__(self, values: Table, gamma: float) -> None:
        self.values, self.gamma = values, gamma

    def learn(self, t: Transition) -> Array:
        """Move Q(s, a) towards the target; returns the error."""
        target = t.r + self.gamma * np.where(t.terminated, 0.0, self.following(t))
        error: Array = target - self.values.of(t.s, t.a)
        self.values.learn(t.s, t.a, error, t.valid)
        return error

    def following(self, t: Transition) -> Array:
        """Return V(s')."""
        best: Array = self.values.at(t.s_next).max(0)
        return best

    def at(self, s: Array) -> Array:
        """Return Q(s, .)."""
        return self.values.at(s)

    def q(self) -> Array:
        """Return the table."""
        return self.values.all()

    def mark(self, s: Array, legal: Array) -> None:
        """Remember what is ``legal [K, N, A]`` in ``s [K, N]``."""
        self.values.mark(s, legal)


class Sarsa(QLearning):
    """V(s') = Q(s', a'), a' the action taken next (Rummery and Niranjan 1994; S. and B. 6.7)."""

    chooses_next: ClassVar[bool] = True

    def following(self, t: Transition) -> Array:
        """Return Q(s', a')."""
        return self.values.of(t.s_next, t.a_next)


class TD(QLearning):
    """TD(0): the table has one column, V(s') itself (Sutton 1988; S. and B., equation 6.2)."""

    def following(self, t: Transition) -> Array:
        """Return V(s')."""
        value: Array = self.values.at(t.s_next)[0]
        return value


class ExpectedSarsa(QLearning):
    """V(s') = sum_a pi(a | s') Q(s', a) (van Seijen et al. 2009; S. and B., equation 6.9).

    On-policy where pi is the behaviour; with a greedy pi it is Q-learning.

    Args:
        values: the table. gamma: discount. policy: pi.
    """

    def __init__(self, values: Table, gamma: float, policy: Policy) -> None:
        super().__init__(values, gamma)
        self.policy = policy

    def following(self, t: Transition) -> Array:
        """Return the expectation of Q(s', .) under the target policy."""
        q = self.values.at(t.s_next)
        return expectation(q, self.policy(q, t.s_next))


class DoubleQ(QLearning):
    """Two tables; a coin picks which learns, the other values its best action (van Hasselt 2010).

    Args:
        values, other: the tables. gamma: discount. seeds: draw the coins. lanes: N.
    """

    POLICY = ("values", "other")
    PARTS = ("coin",)

    def __init__(
        self, values: Table, other: Table, gamma: float, seeds: Sequence[int], lanes: int
    ) -> None:
        super().__init__(values, gamma)
        self.other = other
        self.coin = RandomStream(seeds, "coin", (lanes,))
        self._flips = np.zeros((len(seeds), lanes), np.float32)

    def learn(self, t: Transition) -> Array:
        """Move one of Q1(s, a), Q2(s, a) towards the other's view (S. and B., equation 6.10)."""
        if t.lane == 0:
            self._flips = self.coin.host()
        heads = self._flips[:, t.lane] < 0.5
        errors = []
        for learner, judge, mine in (
            (self.values, self.other, heads),
            (self.other, self.values, ~heads),
        ):
            best = learner.at(t.s_next).argmax(0)
            following = np.where(t.terminated, 0.0, judge.of(t.s_next, best))
            errors.append(t.r + self.gamma * following - learner.of(t.s, t.a))
            learner.learn(t.s, t.a, errors[-1], t.valid & mine)
        error: Array = np.where(heads, errors[0], errors[1])
        return error

    def at(self, s: Array) -> Array:
        """Return the mean of both tables, which the policies look at."""
        mean: Array = (self.values.at(s) + self.other.at(s)) / 2
        return mean

    def q(self) -> Array:
        """Return the mean table."""
        mean: Array = (self.values.all() + self.other.all()) / 2
        return mean

    def mark(self, s: Array, legal: Array) -> None:
        """Remember it in both tables."""
        self.values.mark(s, legal)
        self.other.mark(s, legal)
