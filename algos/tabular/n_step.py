"""n-step bootstrapping (Sutton and Barto, chapter 7): one window, five ways to back it up.

The target of (s_t, a_t) is a return of n steps and a value behind them:

- ``sarsa``: ``+ gamma^n Q(s_{t+n}, a_{t+n})`` (equation 7.4); with state values, n-step TD (7.1).
- ``q_learning``: ``+ gamma^n max_a Q(s_{t+n}, a)``, uncorrected: off-policy for n > 1, its fixed
  point is neither Q* nor the behaviour's values.
- ``expected``: ``+ gamma^n sum_a pi(a) Q(s_{t+n}, a)`` (equation 7.7).
- ``importance_sampling``: as sarsa, the error times the ratio of pi to the behaviour over the
  actions a_{t+1} .. a_{t+n} (equation 7.11).
- ``tree``: no ratio; at every step the actions not taken are backed up as pi weighs them, the taken
  one goes on (equation 7.16).

At an episode's end the windows that are still open are backed up to it. A termination is worth
nothing; a time limit is not an end of the process, so the last value enters there.
"""

from typing import ClassVar

import numpy as np
from numpy import ndarray as Array

from .one_step import QLearning
from .policies import expectation
from .rule import Policy, Transition
from .values import Table


class NStep(QLearning):
    """n-step learning.

    Args:
        values: the table. gamma: discount. k: seeds. lanes: N. n: steps. backup: see above.
        policy: pi, of expected, importance_sampling and tree.
    """

    PARTS = ("s", "a", "r", "chance", "age", "ticks")
    chooses_next: ClassVar[bool] = True

    def __init__(
        self,
        values: Table,
        gamma: float,
        k: int,
        lanes: int,
        n: int,
        backup: str,
        policy: Policy,
    ) -> None:
        super().__init__(values, gamma)
        self.n, self.backup, self.policy = n, backup, policy
        # slot i of a lane holds the ticks i, i + n, ... ; all seeds share the pointer
        shape = (k, lanes, n)
        self.s, self.a = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        self.r, self.chance = np.zeros(shape), np.ones(shape)  # of a under the behaviour
        self.age = np.zeros((k, lanes), np.int64)
        self.ticks = 0

    def learn(self, t: Transition) -> Array:
        """Store the step, back up the window it completes and those that its end leaves open."""
        slot = (slice(None), t.lane, self.ticks % self.n)
        self.s[slot], self.a[slot], self.r[slot], self.chance[slot] = t.s, t.a, t.r, t.chance
        age = self.age[:, t.lane]
        age += t.valid
        error = self._back_up(t, self.n, t.valid & (age >= self.n))
        if t.any_ended:
            over = t.ended & t.valid
            for steps in range(min(self.n - 1, self.ticks + 1), 0, -1):
                self._back_up(t, steps, over & (age >= steps))
            age[over] = 0
        if t.lane == self.age.shape[1] - 1:
            self.ticks += 1
        return error

    def _back_up(self, t: Transition, steps: int, where: Array) -> Array:
        """Move the value of the step ``steps - 1`` ago; returns the error ``[K]``."""
        slots = [(self.ticks - i) % self.n for i in range(steps)]  # newest first
        s, a, r, chance = (x[:, t.lane].T for x in (self.s, self.a, self.r, self.chance))  # [n, K]
        g, ratio = self._bootstrap(t)
        for i, slot in enumerate(slots):
            g = r[slot] + self.gamma * g
            if i == steps - 1:
                break
            if self.backup in ("tree", "importance_sampling"):
                q = self.values.at(s[slot])
                policy = self.policy(q, s[slot])
                p = _pick(policy, a[slot])
                if self.backup == "tree":
                    mine = p * _pick(q, a[slot])
                    g = expectation(q, policy) - mine + p * g
                else:
                    ratio = ratio * p / chance[slot]
        start = slots[-1]
        error: Array = ratio * (g - self.values.of(s[start], a[start]))
        self.values.learn(s[start], a[start], error, where)
        return np.where(where, error, 0.0)

    def _bootstrap(self, t: Transition) -> tuple[Array, Array]:
        """Return the value behind the window and the ratio that its last action brings."""
        q, ratio = self.values.at(t.s_next), np.ones_like(t.r)
        value = _pick(q, t.a_next)
        if self.backup == "q_learning":
            value = q.max(0)
        elif self.backup != "sarsa":
            policy = self.policy(q, t.s_next)
            if self.backup == "importance_sampling":
                ratio = np.where(t.terminated, 1.0, _pick(policy, t.a_next) / t.chance_next)
            else:
                value = expectation(q, policy)
        return np.where(t.terminated, 0.0, value), ratio


def _pick(x: Array, a: Array) -> Array:
    """Return the entries ``[K]`` of the actions ``a [K]`` in ``x [A, K]``."""
    entry: Array = np.take_along_axis(x, a[None], 0)[0]
    return entry
