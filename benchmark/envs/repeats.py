"""Whether an environment repeats: whether an episode's seed and actions determine it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

Build = Callable[[], gymnasium.Env]
_WIDE = 10.0  # range of random actions where the space has no bounds


@dataclass
class Played:
    """An episode of random actions, or its beginning."""

    observations: list[Any] = field(default_factory=list)  # the first one, and one after each step
    steps: list[tuple[float, bool, bool]] = field(default_factory=list)  # reward and flags

    @property
    def over(self) -> bool:
        """Return whether it came to its end."""
        return bool(self.steps) and (self.steps[-1][1] or self.steps[-1][2])


def play(env: gymnasium.Env, seed: int, steps: int) -> Played:
    """Play the episode of a seed, at most so many steps; the seed determines the actions too."""
    rng, played = np.random.default_rng(seed), Played()
    played.observations.append(env.reset(seed=seed)[0])
    while len(played.steps) < steps and not played.over:
        obs, reward, terminated, truncated, _ = env.step(random_action(env.action_space, rng))
        played.observations.append(obs)
        played.steps.append((float(reward), bool(terminated), bool(truncated)))
    return played


def random_action(space: spaces.Space, rng: np.random.Generator) -> Any:
    """Return an action of a space, as its environment takes it."""
    if isinstance(space, spaces.Discrete):
        return space.dtype.type(space.start + rng.integers(space.n))
    if isinstance(space, spaces.MultiDiscrete):
        return (space.start + rng.integers(space.nvec)).astype(space.dtype)
    if isinstance(space, spaces.Box):
        low, high = np.maximum(space.low, -_WIDE), np.minimum(space.high, _WIDE)
        if space.dtype.kind != "f":
            return rng.integers(low.astype(int), high.astype(int), endpoint=True).astype(
                space.dtype
            )
        return rng.uniform(low, high).astype(np.float32).astype(space.dtype)
    space.seed(int(rng.integers(2**31)))
    return space.sample()


def not_repeating(build: Build, seed: int, steps: int) -> str | None:
    """Say where two new environments differ under one seed and the same actions, if they do."""
    return _compared(build, build, seed, steps, "two episodes of one seed")


def not_fresh(build: Build, seed: int, steps: int) -> str | None:
    """Say where an environment that has played before differs from a new one, if it does."""

    def used() -> gymnasium.Env:
        env = build()
        play(env, seed + 1, steps)
        return env

    return _compared(build, used, seed, steps, "an episode in a new environment and in a used one")


def _compared(one: Build, other: Build, seed: int, steps: int, words: str) -> str | None:
    first, second = one(), other()
    a, b = play(first, seed, steps), play(second, seed, steps)
    first.close()
    second.close()
    for t in range(min(len(a.observations), len(b.observations))):
        if not same(a.observations[t], b.observations[t]):
            return f"{words}, with the same actions, differ in the observation of step {t}"
        if t and not same(a.steps[t - 1], b.steps[t - 1]):
            return f"{words}, with the same actions, differ in the reward or the end of step {t}"
    return None


def same(a: Any, b: Any) -> bool:
    """Return whether two observations, or parts of them, are equal; NaN equals NaN."""
    if isinstance(a, Mapping):
        return isinstance(b, Mapping) and a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    a, b = np.asarray(a), np.asarray(b)
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    return bool(np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"))
