"""Actions as agents choose them, and as the environment takes them.

Agents choose one number that counts from 0, a vector of such numbers, or a vector of real ones.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ..util.errors import ConfigError


def adapt_actions(env: gymnasium.Env) -> gymnasium.Env:
    """Return the environment with actions as agents choose them: Discrete, MultiDiscrete or Box.

    Raises:
        ConfigError: actions of another kind.
    """
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return env if space.start == 0 and space.dtype == np.int64 else FromZero(env)
    if isinstance(space, spaces.MultiDiscrete):
        plain = space.nvec.ndim == 1 and not space.start.any() and space.dtype == np.int64
        return env if plain else Counted(env)
    if isinstance(space, spaces.MultiBinary):
        return Counted(env)
    if isinstance(space, spaces.Box):
        vector = len(space.shape) == 1
        return Clip(env) if vector and space.dtype == np.float32 else Typed(env)
    raise ConfigError(
        f"env.id: actions of type {type(space).__name__} are not supported; a wrapper in "
        "env.wrappers.extra can make Discrete, MultiDiscrete or Box ones of them"
    )


class FromZero(gymnasium.ActionWrapper):
    """Let discrete actions count from 0, in int64."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.Discrete)
        self._start, self._type = int(space.start), space.dtype.type
        self.action_space = spaces.Discrete(int(space.n))

    def action(self, action: Any) -> Any:
        """Shift by the first action."""
        return self._type(action + self._start)


class Counted(gymnasium.ActionWrapper):
    """Let several choices, or switches, be one vector of numbers that count from 0."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary)
        several = isinstance(space, spaces.MultiDiscrete)
        self._start = space.start if several else np.zeros(space.shape, np.int8)
        self._type, self._shape = space.dtype, self._start.shape
        counts = space.nvec if several else np.full(self._shape, 2)
        self.action_space = spaces.MultiDiscrete(counts.ravel())

    def action(self, action: np.ndarray) -> np.ndarray:
        """Give them their shape, and shift each by its first."""
        shifted: np.ndarray = action.reshape(self._shape) + self._start
        return shifted.astype(self._type)


class Clip(gymnasium.ActionWrapper):
    """Cut continuous actions to the environment's box, whose space stays as it is."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        assert isinstance(env.action_space, spaces.Box)
        self._low, self._high = env.action_space.low, env.action_space.high

    def action(self, action: np.ndarray) -> np.ndarray:
        """Cut; a fresh array, since environments keep it."""
        cut: np.ndarray = np.minimum(np.maximum(action, self._low), self._high)
        return cut


class Typed(gymnasium.ActionWrapper):
    """Cut actions to a box of any shape and type; where it holds integers, take the nearest one.

    An agent sees a vector of float32, or of float64 where the environment's is one.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.Box)
        self._space = space
        if space.dtype != np.float64 or len(space.shape) != 1:
            with np.errstate(over="ignore"):  # a bound beyond float32 is none
                low, high = (x.ravel().astype(np.float32) for x in (space.low, space.high))
            self.action_space = spaces.Box(low, high, dtype=np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """Cut, and give them shape and type; a fresh array, since environments keep it."""
        space, wide = self._space, action.reshape(self._space.shape).astype(np.float64)
        with np.errstate(invalid="ignore"):  # beyond the integers, where a bound is taken instead
            near = (wide if space.dtype.kind == "f" else np.rint(wide)).astype(space.dtype)
        cut: np.ndarray = np.where(wide >= space.high, space.high, np.maximum(near, space.low))
        return np.where(wide <= space.low, space.low, cut)
