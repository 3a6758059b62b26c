"""Masks of legal actions: taken from an environment's ``info`` and appended to its observations.

As in Gymnasium's Taxi, ``info["action_mask"]`` is 1 for a legal action and 0 for an illegal one.
For ``MultiDiscrete`` it is a tuple of such masks, one for each number of an action, or their
concatenation. For ``MultiBinary`` it has one entry for each bit: 0 where the bit must be 0.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from ..util.errors import ConfigError
from .wrappers import Outcome, Start

KEY = "action_mask"  # of info


def entries(space: spaces.Space) -> int:
    """Return the size of a mask.

    Args:
        space: the action space that agents see.

    Raises:
        ConfigError: the actions are not discrete.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    raise ConfigError(f"env.masks: masks are of discrete actions, the environment has {space}")


def _flat(mask: Any) -> np.ndarray:
    if isinstance(mask, tuple):
        return np.concatenate([_flat(part) for part in mask])
    flat: np.ndarray = np.ravel(mask) > 0
    return flat


class Masked(gymnasium.Wrapper):
    """Append the mask to the observation: as further numbers of a vector, or a plane of an image.

    After a termination no action is chosen. A mask that allows none is then replaced by ones.

    Args:
        env: with observations that are vectors or ``[C, H, W]``, and actions that count from 0.
        declared: the environment's own action space.
    """

    def __init__(self, env: gymnasium.Env, declared: spaces.Space) -> None:
        super().__init__(env)
        space = env.observation_space
        assert isinstance(space, spaces.Box)  # Encode makes it one
        self.entries = entries(env.action_space)
        self._bits = isinstance(declared, spaces.MultiBinary)
        counts = getattr(env.action_space, "nvec", np.array([self.entries]))
        self._first = np.cumsum(counts) - counts  # where the mask of each number begins
        self._plane = space.shape[1:] if len(space.shape) == 3 else None
        if self._plane is not None and np.prod(self._plane) < self.entries:
            raise ConfigError(
                f"env.masks: a mask of {self.entries} numbers does not fit a plane of {self._plane}"
            )
        low, high = (self._behind(x, np.zeros(self.entries, bool)) for x in (space.low, space.high))
        ones = self._behind(np.zeros_like(space.high), np.ones(self.entries, bool))
        self.observation_space = spaces.Box(low, np.maximum(high, ones), dtype=space.dtype.type)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Start:
        """Begin an episode."""
        obs, info = self.env.reset(seed=seed, options=options)
        return self._behind(obs, self._mask(info, terminated=False)), info

    def step(self, action: Any) -> Outcome:
        """Step, and append the mask of the next actions."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        mask = self._mask(info, bool(terminated))
        return self._behind(obs, mask), reward, terminated, truncated, info

    def _mask(self, info: dict[str, Any], terminated: bool) -> np.ndarray:
        if KEY not in info:
            raise ValueError(f"the environment's info has no {KEY}")
        mask = _flat(info[KEY])
        if self._bits and mask.size == self._first.size:
            mask = np.stack([np.ones_like(mask), mask], 1).ravel()
        if mask.size != self.entries:
            raise ValueError(f"its {KEY} has {mask.size} numbers, not {self.entries}")
        if np.logical_or.reduceat(mask, self._first).all():
            return mask
        if terminated:
            return np.ones_like(mask)
        raise ValueError(f"its {KEY} leaves no legal action")

    def _behind(self, obs: np.ndarray, mask: np.ndarray) -> np.ndarray:
        if self._plane is None:
            return np.concatenate([obs, mask.astype(obs.dtype)])
        plane = np.zeros((1, *self._plane), obs.dtype)
        plane.reshape(-1)[: self.entries] = mask
        return np.concatenate([obs, plane])
