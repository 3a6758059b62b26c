"""Environments that break a rule of Gymnasium each, in a module that registers them."""

import sys
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

print("a module that prints")


class Plain(gymnasium.Env):
    """Ends by itself after five steps; what subclasses return in ``obs`` and ``pay`` is odd."""

    observation_space: spaces.Space = spaces.Box(-1, 1, (3,), np.float32)
    action_space: spaces.Space = spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.t = 0
        return self.obs(), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        return self.obs(), self.pay(), self.t == 5, False, {}

    def obs(self) -> Any:
        return np.zeros(3, np.float32)

    def pay(self) -> Any:
        return 1.0


class Says(Plain):
    """Returns what it is told to, observations from a step on."""

    def __init__(self, obs: Any = None, pay: Any = 1.0, space: Any = None, at: int = 0) -> None:
        self.said, self.paid, self.at = obs, pay, at
        self.observation_space = space or Plain.observation_space

    def obs(self) -> Any:
        return super().obs() if self.said is None or self.t < self.at else self.said

    def pay(self) -> Any:
        return self.paid


class CloseRaises(Plain):
    def close(self) -> None:
        raise RuntimeError("not connected\nto the simulator")


class Prints(Plain):
    def __init__(self) -> None:
        print("a constructor that prints")
        sys.stdout.flush()


class Raises(Plain):
    def __init__(self, how: str) -> None:
        if how == "exit":
            sys.exit("no licence")
        raise RuntimeError("no licence\nand more about it")


class Many(Plain):
    """Observes one of 60 000 states."""

    observation_space = spaces.Discrete(60_000)

    def obs(self) -> int:
        return 59_999 - self.t


for _kind in (Says, CloseRaises, Prints, Raises, Many):
    gymnasium.register(f"Oddities/{_kind.__name__}-v0", _kind, max_episode_steps=50)
gymnasium.register("Oddities/Größe-v0", Plain, max_episode_steps=50)
