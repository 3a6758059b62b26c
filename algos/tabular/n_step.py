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

import torch
from torch import Tensor

from algos.core.agent import State
from algos.tabular.one_step import QLearning
from algos.tabular.rule import Policy, Transition
from algos.tabular.values import Table


class NStep(QLearning):
    """n-step learning.

    Args:
        values: the table. gamma: discount. k: seeds. lanes: N. n: steps. backup: see above.
        policy: pi, of expected, importance_sampling and tree.
    """

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
        device = values.q.device
        # slot i of a lane holds the ticks i, i + n, ... ; all seeds share the pointer
        self._s = torch.zeros(lanes, n, k, dtype=torch.int64, device=device)
        self._a, self._r = self._s.clone(), self._s.double()
        self._chance = torch.ones_like(self._r)  # of the action under the behaviour
        self._age = torch.zeros(lanes, k, dtype=torch.int64, device=device)
        self._ticks = 0

    def learn(self, t: Transition) -> Tensor:
        """Store the step, back up the window it completes and those that its end leaves open."""
        slot = self._ticks % self.n
        for memory, new in (
            (self._s, t.s),
            (self._a, t.a),
            (self._r, t.r),
            (self._chance, t.chance),
        ):
            memory[t.lane, slot] = new
        age = self._age[t.lane]
        age += t.valid
        error = self._back_up(t, self.n, t.valid & (age >= self.n))
        if t.any_ended:
            over = t.ended & t.valid
            for steps in range(min(self.n - 1, self._ticks + 1), 0, -1):
                self._back_up(t, steps, over & (age >= steps))
            age.mul_(~over)
        if t.lane == len(self._age) - 1:
            self._ticks += 1
        return error

    def _back_up(self, t: Transition, steps: int, where: Tensor) -> Tensor:
        """Move the value of the step ``steps - 1`` ago; returns the error ``[K]``."""
        slots = [(self._ticks - i) % self.n for i in range(steps)]  # newest first
        s, a, r = self._s[t.lane], self._a[t.lane], self._r[t.lane]
        g, ratio = self._bootstrap(t)
        for i, slot in enumerate(slots):
            g = r[slot] + self.gamma * g
            if i == steps - 1:
                break
            if self.backup in ("tree", "importance_sampling"):
                q = self.values.at(s[slot])
                policy = self.policy(q, s[slot])
                taken = policy.gather(-1, a[slot][:, None])[:, 0]
                if self.backup == "tree":
                    rest = torch.where(policy > 0, policy * q, 0.0)
                    mine = rest.gather(-1, a[slot][:, None])[:, 0]
                    g = rest.sum(-1) - mine + taken * g
                else:
                    ratio = ratio * taken / self._chance[t.lane, slot]
        start = slots[-1]
        error = ratio * (g - self.values.of(s[start], a[start]))
        self.values.learn(s[start], a[start], error, where)
        return torch.where(where, error, 0.0)

    def _bootstrap(self, t: Transition) -> tuple[Tensor, Tensor]:
        """Return the value behind the window and the ratio that its last action brings."""
        q, one = self.values.at(t.s_next), torch.ones_like(t.r)
        taken = q.gather(-1, t.a_next[:, None])[:, 0]
        if self.backup == "sarsa":
            value, ratio = taken, one
        elif self.backup == "q_learning":
            value, ratio = q.amax(-1), one
        else:
            policy = self.policy(q, t.s_next)
            value = torch.where(policy > 0, policy * q, 0.0).sum(-1)
            ratio = one
            if self.backup == "importance_sampling":
                value = taken
                ratio = policy.gather(-1, t.a_next[:, None])[:, 0] / t.chance_next
                ratio = torch.where(t.terminated, 1.0, ratio)
        return torch.where(t.terminated, 0.0, value), ratio

    def state(self) -> State:
        """Return the open windows; seeds lead."""
        memory = {"s": self._s, "a": self._a, "r": self._r, "chance": self._chance}
        moved = {name: x.movedim(-1, 0) for name, x in memory.items()}
        return moved | {"age": self._age.T, "ticks": self._ticks}

    def load(self, state: State) -> None:
        """Continue them."""
        for name, ours in (
            ("s", self._s),
            ("a", self._a),
            ("r", self._r),
            ("chance", self._chance),
        ):
            ours.copy_(state[name].movedim(0, -1))
        self._age.copy_(state["age"].T)
        self._ticks = state["ticks"]
