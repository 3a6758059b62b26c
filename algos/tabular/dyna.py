"""Dyna-Q and Dyna-Q+: Q-learning from experience, and from a model learned on the way.

Sutton 1990; Sutton and Barto, sections 8.2 and 8.3. The model is the last outcome of each state and
action, as for deterministic environments. Each planning step draws a state that has been met and an
action that has been taken in it. Dyna-Q+ draws among all actions (one never taken is imagined to
lead back with reward 0) and adds ``kappa sqrt(time since it was last taken)`` to the reward.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from algos.core.agent import State
from algos.core.rng import Draws
from algos.tabular.one_step import QLearning
from algos.tabular.policies import sample
from algos.tabular.rule import Transition
from algos.tabular.values import Table


class Dyna(QLearning):
    """Q-learning that plans.

    Args:
        values: the table. gamma: discount. seeds: draw what is planned. lanes: N.
        steps: planning steps per step of the environment. bonus: kappa; 0 = Dyna-Q.
        base: ``[S, A]``, the uniform distribution over the legal actions.
    """

    def __init__(
        self,
        values: Table,
        gamma: float,
        seeds: Sequence[int],
        lanes: int,
        steps: int,
        bonus: float,
        base: Tensor,
    ) -> None:
        super().__init__(values, gamma)
        self.steps, self.bonus = steps, bonus
        k, states, actions = values.q.shape
        device = values.q.device
        self.draws = Draws(seeds, "plan", (lanes, steps, 2), device=device)
        shape = (k, states, actions)
        self._reward = torch.zeros(shape, dtype=torch.float64, device=device)
        self._over = torch.zeros(shape, dtype=torch.bool, device=device)
        self._next = torch.arange(states, device=device)[None, :, None].repeat(k, 1, actions)
        self._taken = torch.zeros(shape, dtype=torch.float64, device=device)
        self._last = torch.zeros(shape, dtype=torch.float64, device=device)  # time it was taken
        self._met = torch.zeros(k, states, dtype=torch.int64, device=device)  # states, as first met
        self._count = torch.zeros(k, dtype=torch.int64, device=device)
        self._time = torch.zeros(k, dtype=torch.float64, device=device)
        self._seed = torch.arange(k, device=device)
        self._base = (base > 0).double()
        self._u = torch.zeros(k, lanes, steps, 2)

    def learn(self, t: Transition) -> Tensor:
        """Learn from the step, remember it, then learn from memories."""
        error = super().learn(t)
        self._remember(t)
        if t.lane == 0 and self.steps:
            self._u = self.draws()
        for step in range(self.steps):
            self._plan(self._u[:, t.lane, step])
        return error

    def _remember(self, t: Transition) -> None:
        place = (self._seed, t.s, t.a)
        self._time += t.valid
        new = (self._taken[self._seed, t.s].sum(-1) == 0) & t.valid
        slot = (self._seed, self._count.clamp(max=self._met.shape[1] - 1))
        self._met[slot] = torch.where(new, t.s, self._met[slot])
        self._count += new
        for memory, value in (
            (self._reward, t.r),
            (self._over, t.terminated),
            (self._next, t.s_next),
            (self._taken, torch.ones_like(t.r)),
            (self._last, self._time),
        ):
            memory[place] = torch.where(t.valid, value, memory[place])

    def _plan(self, u: Tensor) -> None:
        """Learn from one remembered outcome of every seed; ``u [K, 2]`` chooses it."""
        index = (u[:, 0] * self._count).long().clamp(max=self._met.shape[1] - 1)
        s = self._met[self._seed, torch.minimum(index, (self._count - 1).clamp(min=0))]
        among = self._base[s] if self.bonus > 0 else self._taken[self._seed, s]
        chances = among / among.sum(-1, keepdim=True).clamp(min=1)
        a = sample(chances, u[:, 1])
        place = (self._seed, s, a)
        following = self.values.at(self._next[place]).amax(-1)
        target = self._reward[place] + self.gamma * torch.where(self._over[place], 0.0, following)
        if self.bonus > 0:
            target = target + self.bonus * (self._time - self._last[place]).sqrt()
        self.values.learn(s, a, target - self.values.of(s, a), self._count > 0)

    def state(self) -> State:
        """Return the model and the position in the stream."""
        return {
            "reward": self._reward,
            "over": self._over,
            "next": self._next,
            "taken": self._taken,
            "last": self._last,
            "met": self._met,
            "count": self._count,
            "time": self._time,
            "draws": self.draws.state(),
        }

    def load(self, state: State) -> None:
        """Continue with them."""
        for name, ours in self.state().items():
            if isinstance(ours, Tensor):
                ours.copy_(state[name])
        self.draws.load(state["draws"])
