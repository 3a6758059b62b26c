"""A point that is to be steered to a mark, seen as an image or as the two numbers of its cell."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

SIZE, STEPS = 10, 10
MARK = np.array([7.0, 2.0])
IDS = {form: f"Tests/Steer-{form}-v0" for form in ("image", "vector")}


class Steer(gymnasium.Env):
    """Ten steps of up to two cells on a 10x10 grid; each costs the share of the way still to go."""

    def __init__(self, form: str = "image") -> None:
        self.form = form
        self.action_space = spaces.Box(-1.0, 1.0, (2,), np.float32)
        self.observation_space = spaces.Box(0.0, 1.0, (2,), np.float32)
        if form == "image":
            self.observation_space = spaces.Box(0, 1, (1, SIZE, SIZE), np.bool_)
        self.t, self.point = 0, np.zeros(2)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        super().reset(seed=seed)
        self.t = 0
        self.point = self.np_random.integers(0, SIZE, 2).astype(float)
        return self._look(), {}

    def step(self, action: np.ndarray) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        self.t += 1
        self.point = np.rint(self.point + 2 * action).clip(0, SIZE - 1)
        cost = np.abs(self.point - MARK).sum() / SIZE
        return self._look(), -float(cost), False, self.t >= STEPS, {}

    def _look(self) -> np.ndarray:
        if self.form == "vector":
            return (self.point / (SIZE - 1)).astype(np.float32)
        image = np.zeros((1, SIZE, SIZE), np.bool_)
        row, column = self.point.astype(int)
        image[0, row, column] = True
        return image


for _form, _id in IDS.items():
    if _id not in gymnasium.registry:
        gymnasium.register(_id, entry_point=lambda form: Steer(form), kwargs={"form": _form})
