"""A sound environment, and one that breaks Gymnasium's rules for each check."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Sound(gymnasium.Env[Any, Any]):
    """A walk of random steps that ends beyond 3, or at its limit."""

    def __init__(self) -> None:
        self.observation_space = spaces.Box(-9.0, 9.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2, start=1)
        self.x = 0.0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self.x = 0.0
        return self.look(), {}

    def draw(self) -> float:
        return float(self.np_random.random())

    def look(self) -> Any:
        return np.array([self.x, self.draw()], np.float32)

    def step(self, action: Any) -> Any:
        assert action in (1, 2)
        self.x += (2 * action - 3) * self.draw()
        return self.look(), self.x, abs(self.x) > 3, False, {}


class OldReset(Sound):
    def reset(self, **options: Any) -> Any:
        return super().reset(**options)[0]


class OldStep(Sound):
    def step(self, action: Any) -> Any:
        return super().step(action)[:4]


class NoReward(Sound):
    def step(self, action: Any) -> Any:
        obs, _, *rest = super().step(action)
        return obs, None, *rest


class FlagOfOne(Sound):
    def step(self, action: Any) -> Any:
        obs, reward, _, *rest = super().step(action)
        return obs, reward, 0, *rest


class NoInfo(Sound):
    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], None


class Wider(Sound):
    def look(self) -> Any:
        return np.append(super().look(), np.float32(0))


class Double(Sound):
    def look(self) -> Any:
        return super().look().astype(np.float64)


class Beyond(Sound):
    def look(self) -> Any:
        return super().look() + np.float32(20)


class BadReward(Sound):
    def step(self, action: Any) -> Any:
        obs, _, *rest = super().step(action)
        return obs, float("inf"), *rest


class Unseeded(Sound):
    stream = np.random.default_rng(1)

    def draw(self) -> float:
        return float(self.stream.random())


class Stale(Sound):
    """Keeps its place across episodes."""

    kept = 0.0

    def look(self) -> Any:
        self.kept = min(self.kept + 0.01, 5)
        return super().look() + np.float32(self.kept)


class Clock(Sound):
    """Takes its time limit for an end."""

    def reset(self, **options: Any) -> Any:
        self.t = 0
        return super().reset(**options)

    def step(self, action: Any) -> Any:
        obs, reward, *_ = super().step(action)
        self.t += 1
        return obs, reward, self.t == 5, False, {}


class Aliased(Sound):
    """Answers the caller by what it did to the action's type."""

    def step(self, action: Any) -> Any:
        obs, reward, *rest = super().step(int(action))
        return obs, reward + isinstance(action, np.int64) * type(self).calls(), *rest

    count = 0

    @classmethod
    def calls(cls) -> int:
        cls.count += 1
        return cls.count


_KINDS: list[Any] = [Sound, *Sound.__subclasses__()]
for _kind in _KINDS:
    gymnasium.register(f"Broken/{_kind.__name__}-v0", _kind, max_episode_steps=60)
gymnasium.register("Broken/Endless-v0", _KINDS[0])
