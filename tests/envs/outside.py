"""An environment and wrappers as other people write them, in a module that Prism does not know."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces


class Walk(gymnasium.Env[np.ndarray, int]):
    """A walk along a line: 1 goes right, 0 left; tells at its end whether it got to the right."""

    def __init__(self, size: int = 4, tells: Any = None) -> None:
        self.observation_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.action_space = spaces.Discrete(2)
        self.size, self.tells = size, tells

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.x = int(self.np_random.integers(-1, 2))
        return self.observe(), {}

    def observe(self) -> np.ndarray:
        return np.array([self.x / self.size, self.np_random.random()], np.float32)

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.x += 1 if action == 1 else -1
        over = abs(self.x) >= self.size
        info: dict[str, Any] = {"x": self.x}
        if over:
            info |= {"success": self.x > 0 if self.tells is None else self.tells}
            if self.x > 0:
                info["luck"] = np.float32(self.np_random.random())
        return self.observe(), -0.1, over, False, info


class Drain(gymnasium.Wrapper):
    """Pay less with every step of the wrapper's life, which no reset ends."""

    def __init__(self, env: gymnasium.Env, by: float = 0.01) -> None:
        super().__init__(env)
        self.by, self.steps = by, 0

    def step(self, action: Any) -> Any:
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.steps += 1
        return obs, float(reward) - self.by * self.steps, terminated, truncated, info


class Forgetful(Drain):
    """The same, begun anew at every reset."""

    def reset(self, **options: Any) -> Any:
        self.steps = 0
        return self.env.reset(**options)


class Wide(gymnasium.ObservationWrapper):
    """One number more to look at."""

    def __init__(self, env: gymnasium.Env) -> None:
        super().__init__(env)
        self.observation_space = spaces.Box(-1.0, 1.0, (3,), np.float32)

    def observation(self, observation: np.ndarray) -> np.ndarray:
        return np.append(observation, np.float32(0.5))


class Old(gymnasium.Wrapper):
    """Of the time before Gymnasium: a reset returns the observation alone, a step four things."""

    def __init__(self, env: gymnasium.Env, where: str) -> None:
        super().__init__(env)
        self.where = where

    def reset(self, **options: Any) -> Any:
        start = self.env.reset(**options)
        return start[0] if self.where == "reset" else start

    def step(self, action: Any) -> Any:
        outcome = self.env.step(action)
        return outcome[:4] if self.where == "step" else outcome


class Picky(gymnasium.Wrapper):
    """Takes what it likes."""

    def __init__(self, env: gymnasium.Env, level: int) -> None:
        super().__init__(env)
        if level > 3:
            raise ValueError(f"level {level} is too high\nand more about it")


gymnasium.register("Outside/Walk-v0", Walk, max_episode_steps=40)
