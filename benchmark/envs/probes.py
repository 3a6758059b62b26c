"""Tiny environments with known value functions, for tests of agents and of the harness.

Each isolates one mechanism: bootstrapping at truncation, no bootstrapping at termination, credit
assignment over two steps, dependence on the observation, sampling bias, a crash, a non-finite
number.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Outcome = tuple[np.ndarray, float, bool, bool, dict[str, Any]]


class _Probe(gymnasium.Env):
    """Base class: the observation is one number in [0, 1]; ``t`` counts the episode's steps.

    Args:
        actions: number of discrete actions; 0: one continuous action in [-1, 1].
    """

    def __init__(self, actions: int = 2) -> None:
        self.observation_space = spaces.Box(0.0, 1.0, (1,), np.float32)
        self.action_space: spaces.Space = spaces.Box(-1.0, 1.0, (1,), np.float32)
        if actions:
            self.action_space = spaces.Discrete(actions)
        self.t = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        return np.ones(1, np.float32)


class ConstantTruncated(_Probe):
    """Reward ``r`` at every step, truncated after ``T`` steps: the value is r / (1 - gamma)."""

    def __init__(self, r: float = 1.0, T: int = 5, actions: int = 2) -> None:
        super().__init__(actions)
        self.r, self.T = r, T

    def step(self, action: int) -> Outcome:
        """Pay ``r``; truncate after ``T`` steps."""
        self.t += 1
        return self.observe(), self.r, False, self.t >= self.T, {}


class ConstantTerminated(ConstantTruncated):
    """Reward ``r`` until the episode terminates after ``T`` steps; the observation is t / T.

    The value at t is r (1 - gamma^(T - t)) / (1 - gamma).
    """

    def step(self, action: int) -> Outcome:
        """Pay ``r``; terminate after ``T`` steps."""
        self.t += 1
        return self.observe(), self.r, self.t >= self.T, False, {}

    def observe(self) -> np.ndarray:
        """Return the elapsed fraction of the episode."""
        return np.full(1, self.t / self.T, np.float32)


class Chain(_Probe):
    """Two steps, observed as 0 and 1; only the second pays ``r``: the values are gamma r and r."""

    def __init__(self, r: float = 1.0, actions: int = 2) -> None:
        super().__init__(actions)
        self.r = r

    def step(self, action: int) -> Outcome:
        """Pay at the second step, which terminates."""
        self.t += 1
        last = self.t == 2
        return self.observe(), self.r * last, last, False, {}

    def observe(self) -> np.ndarray:
        """Return 0 or 1, the state; the terminal state looks like state 1."""
        return np.full(1, min(self.t, 1), np.float32)


class Identity(_Probe):
    """The observation is a random one-hot vector; the action of its index pays 1, others 0."""

    def __init__(self, actions: int = 2, T: int = 10) -> None:
        super().__init__(actions)
        self.observation_space = spaces.Box(0.0, 1.0, (actions,), np.float32)
        self.T, self.target = T, 0

    def step(self, action: int) -> Outcome:
        """Compare the action with the target; terminate after ``T`` steps."""
        self.t += 1
        reward = float(action == self.target)
        return self.observe(), reward, self.t >= self.T, False, {}

    def observe(self) -> np.ndarray:
        """Draw the next target and return it."""
        one_hot = np.zeros(int(self.action_space.n), np.float32)  # type: ignore[attr-defined]
        self.target = int(self.np_random.integers(len(one_hot)))
        one_hot[self.target] = 1.0
        return one_hot


class Follow(_Probe):
    """The observation is a random number in [0, 1]; the reward is minus the squared distance."""

    def __init__(self, T: int = 10) -> None:
        super().__init__(actions=0)
        self.T, self.target = T, 0.0

    def step(self, action: np.ndarray) -> Outcome:
        """Compare the action with the target; terminate after ``T`` steps."""
        self.t += 1
        reward = -float((action[0] - self.target) ** 2)
        return self.observe(), reward, self.t >= self.T, False, {}

    def observe(self) -> np.ndarray:
        """Draw the next target and return it."""
        self.target = float(self.np_random.random())
        return np.full(1, self.target, np.float32)


class Roulette(_Probe):
    """One step: action 0 pays 0; any other is a bet that pays 35 with probability 1/37, else -1.

    A bet has value -1/37 = -0.027. Prioritised replay without importance weights overestimates it.
    """

    def __init__(self, bets: int = 1) -> None:
        super().__init__(bets + 1)

    def step(self, action: int) -> Outcome:
        """Spin once and terminate."""
        won = self.np_random.integers(37) == 0
        return self.observe(), 0.0 if action == 0 else 35.0 if won else -1.0, True, False, {}


class Raises(ConstantTruncated):
    """Raises at step ``n`` of an episode whose seed is a multiple of ``every``."""

    def __init__(self, n: int = 3, every: int = 1, T: int = 5) -> None:
        super().__init__(T=T)
        self.n, self.every, self.hit = n, every, True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Decide from the seed whether this episode raises."""
        self.hit = seed is None or seed % self.every == 0
        return super().reset(seed=seed, options=options)

    def step(self, action: int) -> Outcome:
        """Pay 1; raise at step ``n``."""
        if self.hit and self.t + 1 == self.n:
            raise RuntimeError(f"broke at step {self.n}")
        return super().step(action)


class NaN(ConstantTruncated):
    """Emits NaN at step ``n``: in the observation (``where="obs"``) or the reward ("reward")."""

    def __init__(self, n: int = 3, where: str = "obs", T: int = 5) -> None:
        super().__init__(T=T)
        self.n, self.where = n, where

    def step(self, action: int) -> Outcome:
        """Pay 1; emit NaN at step ``n``."""
        obs, reward, terminated, truncated, info = super().step(action)
        if self.t == self.n and self.where == "obs":
            obs = np.full(1, np.nan, np.float32)
        elif self.t == self.n:
            reward = float("nan")
        return obs, reward, terminated, truncated, info
