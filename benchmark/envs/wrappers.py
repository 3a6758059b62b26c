"""Prism's wrappers: fresh episodes, stacked observations, training rewards."""

import logging
import math
from collections import deque
from collections.abc import Callable
from functools import cache
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from ..util.errors import one_line
from . import facts, outside
from .config import EnvWrappers
from .shaping import POTENTIALS

Outcome = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]
Start = tuple[Any, dict[str, Any]]

RAW_REWARD = "raw_reward"  # info key of the environment's own reward; set by TrainingReward

_log = logging.getLogger(__name__)


def close(env: gymnasium.Env) -> None:
    """Close an environment; if that fails, log it once, since the environment is done anyway."""
    try:
        env.close()
    except Exception as error:
        _report_close(type(env.unwrapped).__name__, one_line(error))


@cache
def _report_close(name: str, reason: str) -> None:
    _log.warning("%s.close() failed: %s", name, reason)


def check_reward(reward: Any) -> None:
    """Raise TypeError unless a reward is one number."""
    array = np.asarray(reward)
    if array.shape or array.dtype.kind not in "biuf":
        raise TypeError(f"the reward is {facts.describe(reward)}, not a number")


class Fresh(gymnasium.Wrapper):
    """Build a new environment for every episode, for those that keep state across resets."""

    def __init__(self, build: Callable[[], gymnasium.Env]) -> None:
        super().__init__(build())
        self._build = build

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        """Rebuild the environment and reset it."""
        close(self.env)
        self.env = self._build()
        return self.env.reset(seed=seed, options=options)


class Stack(gymnasium.ObservationWrapper):
    """Concatenate the last ``n`` observations along their first axis, oldest first."""

    def __init__(self, env: gymnasium.Env, n: int) -> None:
        super().__init__(env)
        self._last: deque[np.ndarray] = deque(maxlen=n)
        space = env.observation_space
        assert isinstance(space, spaces.Box)  # by Encode
        low, high = (np.concatenate([bound] * n) for bound in (space.low, space.high))
        self.observation_space = spaces.Box(low, high, dtype=space.dtype)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        """Reset, and fill the stack with the first observation."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._last.extend([obs.copy()] * (self._last.maxlen or 1))
        return np.concatenate(self._last), info

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Append a copy of the observation, whose array may be reused; drop the oldest."""
        self._last.append(observation.copy())
        return np.concatenate(self._last)


class History(gymnasium.Wrapper):
    """Return the last ``n`` observations and the ``n - 1`` actions between them as one vector.

    ``[o_{t-n+1}, ..., o_t, a_{t-n+1}, ..., a_{t-1}]``, zero-padded at the episode's start; discrete
    actions are one-hot.
    """

    def __init__(self, env: gymnasium.Env, n: int) -> None:
        super().__init__(env)
        assert env.observation_space.shape is not None  # by Encode
        self._obs_zero = np.zeros(math.prod(env.observation_space.shape), np.float32)
        self._action_zero = np.zeros(spaces.flatdim(env.action_space), np.float32)
        self._obs: deque[np.ndarray] = deque(maxlen=n)
        self._actions: deque[np.ndarray] = deque(maxlen=n - 1)
        size = n * self._obs_zero.size + (n - 1) * self._action_zero.size
        self.observation_space = spaces.Box(-np.inf, np.inf, (size,), np.float32)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        """Reset, and fill the history with zeros."""
        obs, info = self.env.reset(seed=seed, options=options)
        self._obs.extend([self._obs_zero] * (self._obs.maxlen or 1))
        self._actions.extend([self._action_zero] * (self._actions.maxlen or 1))
        return self._view(obs), info

    def step(self, action: Any) -> Outcome:
        """Step, and add the action and the observation to the history."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self._actions.append(np.asarray(spaces.flatten(self.action_space, action), np.float32))
        return self._view(obs), reward, terminated, truncated, info

    def _view(self, obs: np.ndarray) -> np.ndarray:
        self._obs.append(np.ravel(obs).astype(np.float32))
        return np.concatenate([*self._obs, *self._actions])


class TrainingReward(gymnasium.Wrapper):
    """Clip, delay, scale and shape the reward, in this order; ``info`` holds the raw reward.

    Shaping adds gamma * Phi(s') - Phi(s). Phi is 0 in terminal states, but not in the last state of
    a truncated episode; otherwise the optimal policy could change (Ng et al. 1999).

    Args:
        env: the environment with its time limit.
        config: its reward wrappers.
        gamma: the algorithm's discount.
    """

    def __init__(self, env: gymnasium.Env, config: EnvWrappers, gamma: float) -> None:
        super().__init__(env)
        self._clip = math.inf if config.reward_clip is None else config.reward_clip
        self._scale, self._delay, self._gamma = config.reward_scale, config.delay_reward, gamma
        self._phi = POTENTIALS[config.shaping].of if config.shaping is not None else None
        self._unpaid = self._potential = 0.0

    @classmethod
    def wanted(cls, config: EnvWrappers) -> bool:
        """Return whether any reward wrapper is on."""
        return (
            config.reward_scale != 1.0
            or config.reward_clip is not None
            or config.shaping is not None
            or config.delay_reward
        )

    @classmethod
    def of(cls, config: EnvWrappers, raw: np.ndarray) -> np.ndarray | None:
        """Return the agent's rewards for raw ones.

        None where a reward does not follow from its own raw one: delayed, shaped, or changed by
        wrappers that only training has.
        """
        training_only = outside.applied(config.extra, False) != config.extra
        if config.delay_reward or config.shaping is not None or training_only:
            return None
        clip = math.inf if config.reward_clip is None else config.reward_clip
        reward: np.ndarray = np.clip(raw, -clip, clip) * config.reward_scale
        return reward

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        """Reset, clear the delayed reward and compute the first state's potential."""
        start = self.env.reset(seed=seed, options=options)
        self._unpaid = 0.0
        if self._phi is not None:
            self._potential = self._phi(self.env.unwrapped)
        return start

    def step(self, action: Any) -> Outcome:
        """Step, and replace the reward by the agent's."""
        obs, raw, terminated, truncated, info = self.env.step(action)
        try:
            reward = min(max(float(raw), -self._clip), self._clip)
        except TypeError:
            check_reward(raw)
            raise
        if self._delay:
            self._unpaid += reward
            reward = self._unpaid if terminated or truncated else 0.0
        reward *= self._scale
        if self._phi is not None:
            successor = 0.0 if terminated else self._phi(self.env.unwrapped)
            reward += self._gamma * successor - self._potential
            self._potential = successor
        return obs, reward, terminated, truncated, {**info, RAW_REWARD: raw}
