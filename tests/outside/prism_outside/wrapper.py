"""A wrapper: episodes end early, and say whether they lasted that long."""

from typing import Any

import gymnasium


class Short(gymnasium.Wrapper):
    """Ends an episode after ``steps`` steps."""

    def __init__(self, env: gymnasium.Env, steps: int) -> None:
        super().__init__(env)
        self.steps, self.count = steps, 0

    def reset(self, **options: Any) -> Any:
        """Begin to count."""
        self.count = 0
        return self.env.reset(**options)

    def step(self, action: Any) -> Any:
        """Count a step."""
        obs, reward, terminated, truncated, info = self.env.step(action)
        self.count += 1
        lasted = self.count >= self.steps
        return obs, reward, terminated, truncated or lasted, {**info, "lasted": lasted}
