"""Conversion of an agent's actions to those that the environment takes.

Agents act in three spaces: Discrete from 0, a vector MultiDiscrete from 0, and a vector Box.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ..util.errors import ConfigError


def adapt_actions(env: gymnasium.Env) -> gymnasium.Env:
    """Return the environment with an action space that agents know.

    Raises:
        ConfigError: the action space is not Discrete, MultiDiscrete, MultiBinary or Box.
    """
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return env if space.start == 0 and space.dtype == np.int64 else FromZero(env)
    if isinstance(space, spaces.MultiDiscrete):
        plain = space.nvec.ndim == 1 and not space.start.any() and space.dtype == np.int64
        return env if plain else InRow(env)
    if isinstance(space, spaces.MultiBinary):
        return InRow(env)
    if isinstance(space, spaces.Box):
        vector = len(space.shape) == 1
        return Clip(env) if vector and space.dtype == np.float32 else Typed(env)
    raise ConfigError(
        f"env.id: actions of type {type(space).__name__} are not supported; a wrapper in "
        "env.wrappers.extra can make Discrete, MultiDiscrete or Box ones of them"
    )


class FromZero(gymnasium.ActionWrapper):
    """Number discrete actions from 0; the environment gets its own numbers and type."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.Discrete)
        self._start, self._type = int(space.start), space.dtype.type
        self.action_space = spaces.Discrete(int(space.n))

    def action(self, action: Any) -> Any:
        """Add the number of the environment's first action."""
        return self._type(action + self._start)


class InRow(gymnasium.ActionWrapper):
    """Flatten MultiDiscrete and MultiBinary actions to one vector, numbered from 0."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary)
        self._dtype = space.dtype
        if isinstance(space, spaces.MultiDiscrete):
            self._start, counts = space.start, space.nvec
        else:
            self._start, counts = np.zeros(space.shape, np.int8), np.full(space.shape, 2)
        self.action_space = spaces.MultiDiscrete(counts.ravel())

    def action(self, action: np.ndarray) -> np.ndarray:
        """Restore shape, numbering and type."""
        shifted: np.ndarray = action.reshape(self._start.shape) + self._start
        return shifted.astype(self._dtype)


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


class Typed(gymnasium.ActionWrapper):
    """Clip actions to a Box of any shape and type, and round them where it holds integers.

    The agent's space is the flattened Box in float32; a vector of float64 stays as it is.
    """

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        space = env.action_space
        assert isinstance(space, spaces.Box)
        self._space = space
        if space.dtype != np.float64 or len(space.shape) != 1:
            with np.errstate(over="ignore"):  # beyond float32, a bound is infinite
                low, high = (x.ravel().astype(np.float32) for x in (space.low, space.high))
            self.action_space = spaces.Box(low, high, dtype=np.float32)

    def action(self, action: np.ndarray) -> np.ndarray:
        """Return a new array of the environment's shape and type."""
        space, wide = self._space, action.reshape(self._space.shape).astype(np.float64)
        with np.errstate(invalid="ignore"):  # out of the type's range: replaced by a bound below
            near = (wide if space.dtype.kind == "f" else np.rint(wide)).astype(space.dtype)
        clipped: np.ndarray = np.where(wide >= space.high, space.high, near)
        return np.where(wide <= space.low, space.low, clipped)
