"""Tasks that show a part of their state: what an agent needs to know it has to remember."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control import CartPoleEnv

Outcome = tuple[np.ndarray, float, bool, bool, dict[str, Any]]
NORTH, EAST, SOUTH, WEST = range(4)
_POSITIONS = [0, 2]  # of CartPole's observation: the cart's position, the pole's angle


class TMaze(gymnasium.Env):
    """A corridor with a sign at its start and a junction at its end (Bakker 2002, section 4.1).

    The sign says whether the goal lies north or south of the junction, ``length`` steps away.
    Reaching it pays 4, the other arm -0.1; both end the episode. Standing still, by walking into a
    wall, pays -0.1, any other step 0. Without a memory the best mean return is 1.95, with one it
    is 4. The paper's observations: 011 and 110 at the start, 101 in the corridor, 010 at the
    junction.

    It has no table form: a model would tell planners what the observations hide.

    Args:
        length: steps from the start to the junction.

    Raises:
        ValueError: there is no corridor.
    """

    GOAL, PENALTY = 4.0, -0.1
    SIGNS: ClassVar = {NORTH: (0, 1, 1), SOUTH: (1, 1, 0)}
    CORRIDOR, JUNCTION = (1, 0, 1), (0, 1, 0)

    def __init__(self, length: int = 10) -> None:
        if length < 1:
            raise ValueError(f"length must be at least 1, got {length}")
        self.length, self.at, self.goal = length, 0, NORTH
        self.observation_space = spaces.Box(0.0, 1.0, (3,), np.float32)
        self.action_space = spaces.Discrete(4)

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """Start below a new sign."""
        super().reset(seed=seed)
        self.at, self.goal = 0, (NORTH, SOUTH)[int(self.np_random.integers(2))]
        return self._observe(), {}

    def step(self, action: int) -> Outcome:
        """Walk, or choose an arm at the junction."""
        if self.at == self.length and action in (NORTH, SOUTH):
            pays = self.GOAL if action == self.goal else self.PENALTY
            return self._observe(), pays, True, False, {}
        before, move = self.at, {EAST: 1, WEST: -1}.get(int(action), 0)
        self.at = min(max(self.at + move, 0), self.length)
        still = self.at == before
        return self._observe(), self.PENALTY if still else 0.0, False, False, {}

    def _observe(self) -> np.ndarray:
        if self.at == 0:
            shown = self.SIGNS[self.goal]
        else:
            shown = self.JUNCTION if self.at == self.length else self.CORRIDOR
        return np.array(shown, np.float32)


class CartPolePositions(gymnasium.ObservationWrapper):
    """CartPole that shows the cart's position and the pole's angle, and hides both velocities.

    As in Wieland 1991: to balance the pole, they have to be inferred from the past.
    """

    def __init__(self, render_mode: str | None = None) -> None:
        super().__init__(CartPoleEnv(render_mode=render_mode))
        space = self.env.observation_space
        assert isinstance(space, spaces.Box)
        self.observation_space = spaces.Box(space.low[_POSITIONS], space.high[_POSITIONS])

    def observation(self, observation: np.ndarray) -> np.ndarray:
        """Return position and angle."""
        seen: np.ndarray = observation[_POSITIONS]
        return seen
