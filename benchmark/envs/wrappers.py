"""Prism's wrappers: fresh episodes, observation encoding, action conversion, training rewards."""

import math
from collections import deque
from collections.abc import Callable
from typing import Any, SupportsFloat

import gymnasium
import numpy as np
from gymnasium import spaces

from ..util.errors import ConfigError
from .config import EnvWrappers
from .shaping import POTENTIALS

Outcome = tuple[Any, SupportsFloat, bool, bool, dict[str, Any]]
Start = tuple[Any, dict[str, Any]]

RAW_REWARD = "raw_reward"  # info key of the environment's own reward; set by TrainingReward


class Fresh(gymnasium.Wrapper):
    """Build a new environment for every episode, for those that keep state across resets."""

    def __init__(self, build: Callable[[], gymnasium.Env]) -> None:
        super().__init__(build())
        self._build = build

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        """Rebuild the environment and reset it."""
        self.env.close()
        self.env = self._build()
        return self.env.reset(seed=seed, options=options)


def _bounds(
    space: spaces.Box, reshape: Callable[[np.ndarray], np.ndarray], dtype: Any
) -> spaces.Box:
    return spaces.Box(
        reshape(space.low).astype(dtype), reshape(space.high).astype(dtype), dtype=dtype
    )


def _reshaper(space: spaces.Box) -> Callable[[np.ndarray], np.ndarray]:
    """Return the function that makes an observation array a vector or a channel-first image."""
    shape = space.shape
    if space.dtype == np.uint8 and len(shape) == 2:
        return lambda frame: frame[None]
    if space.dtype == np.uint8 and len(shape) == 3 and shape[-1] in (1, 3, 4) and shape[0] > 4:
        return lambda frame: np.moveaxis(frame, -1, 0)
    if len(shape) in (1, 3):
        return lambda array: array
    return np.ravel


def encoding(space: spaces.Space) -> tuple[Callable[[Any], np.ndarray], spaces.Box]:
    """Return the function that encodes observations of ``space`` as arrays, and its output space.

    Images become ``[C, H, W]`` and keep their type, uint8 or bool. A discrete observation becomes
    one-hot. Everything else becomes one float32 vector.

    Raises:
        ConfigError: observations of this space have no fixed size (graphs, sequences, text).
    """
    if isinstance(space, spaces.Box):
        reshape = _reshaper(space)
        image = len(space.shape) in (2, 3) and space.dtype in (np.uint8, np.bool_)
        dtype = space.dtype if image else np.float32
        return lambda obs: reshape(np.asarray(obs, dtype)), _bounds(space, reshape, dtype)
    if isinstance(space, spaces.Discrete):
        one_hot, start = np.eye(int(space.n), dtype=np.float32), int(space.start)
        return lambda obs: one_hot[obs - start].copy(), spaces.Box(0.0, 1.0, (int(space.n),))
    if not space.is_np_flattenable:
        raise ConfigError(f"env.id: observations of type {type(space).__name__} are not supported")
    flat = spaces.flatten_space(space)
    assert isinstance(flat, spaces.Box)  # what np_flattenable means
    return (
        lambda obs: np.asarray(spaces.flatten(space, obs), np.float32),
        _bounds(flat, np.ravel, np.float32),
    )


class Encode(gymnasium.ObservationWrapper):
    """Encode observations with ``encoding``."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self._encode, self.observation_space = encoding(env.observation_space)

    def observation(self, observation: Any) -> np.ndarray:
        """Return the encoded observation."""
        return self._encode(observation)


def encoded_space(env: gymnasium.Env) -> spaces.Space:
    """Return the observation space below ``Encode``; without one, the environment's own."""
    layer = env
    while isinstance(layer, gymnasium.Wrapper):
        if isinstance(layer, Encode):
            return layer.env.observation_space
        layer = layer.env
    return env.observation_space


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


class FromZero(gymnasium.ActionWrapper):
    """Number discrete actions from 0 where the environment's numbering starts elsewhere."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, spaces.Discrete)
        self._start = int(env.action_space.start)
        self.action_space = spaces.Discrete(int(env.action_space.n))

    def action(self, action: int) -> int:
        """Add the number of the environment's first action."""
        return action + self._start


class InRow(gymnasium.ActionWrapper):
    """Let discrete actions of several numbers be a vector that counts from 0.

    The environment gets each in the shape and type that it declares, from its own first number on.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary)
        self._shape, self._dtype = space.shape, space.dtype
        if isinstance(space, spaces.MultiBinary):
            self._start, counts = np.zeros(self._shape, self._dtype), np.full(self._shape, 2)
        else:
            self._start, counts = space.start, space.nvec
        self.action_space = spaces.MultiDiscrete(np.ravel(counts))

    def action(self, action: np.ndarray) -> np.ndarray:
        """Shape and shift; a fresh array, since environments keep it."""
        shaped: np.ndarray = np.reshape(action, self._shape).astype(self._dtype) + self._start
        return shaped


class Clip(gymnasium.ActionWrapper):
    """Clip continuous actions to the bounds of the action space, which does not change."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, spaces.Box)
        self._low, self._high = env.action_space.low, env.action_space.high

    def action(self, action: np.ndarray) -> np.ndarray:
        """Return the clipped action as a new array, since environments may keep a reference."""
        clipped: np.ndarray = np.minimum(np.maximum(action, self._low), self._high)
        return clipped


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
        reward = min(max(float(raw), -self._clip), self._clip)
        if self._delay:
            self._unpaid += reward
            reward = self._unpaid if terminated or truncated else 0.0
        reward *= self._scale
        if self._phi is not None:
            successor = 0.0 if terminated else self._phi(self.env.unwrapped)
            reward += self._gamma * successor - self._potential
            self._potential = successor
        return obs, reward, terminated, truncated, {**info, RAW_REWARD: raw}
