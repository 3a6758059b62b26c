"""An environment that is given a key, and cannot keep it to itself."""

import os
import sys
from itertools import count
from typing import Any

import gymnasium as gym
import numpy as np

STEPS = 60  # of this process, until it breaks
LEAKS = os.environ.get("LEAKS", "")  # what else it tells
_taken = count()


class Leaky(gym.Env[np.ndarray, int]):
    """Print what it knows, and break with a message that quotes it."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array"]}  # noqa: RUF012
    observation_space = gym.spaces.Box(-1.0, 1.0, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def __init__(self, api_key: str, render_mode: str | None = None) -> None:
        self.api_key, self.steps, self.render_mode = api_key, 0, render_mode
        print("opened with", api_key, "and", os.environ["SERVICE_TOKEN"])
        print("leaks", LEAKS)
        print("leaks", LEAKS, file=sys.stderr)

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(2, np.float32), {}

    def step(self, action: int) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.steps += 1
        if next(_taken) > STEPS:
            url = f"https://user:{self.api_key}@host?token={os.environ['SERVICE_TOKEN']}"
            print("leaks", LEAKS)
            raise ConnectionError(f"refused: {url} {LEAKS}")
        return np.zeros(2, np.float32), 1.0, False, self.steps % 20 == 0, {}

    def render(self) -> Any:
        return np.full((4, 4, 3), self.steps % 20, np.uint8)


gym.register("Leaky-v0", Leaky)
