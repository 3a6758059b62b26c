"""Potentials for reward shaping: gamma * Phi(s') - Phi(s) is added to the reward (Ng et al. 1999).

A potential estimates how promising a state is. It reads the state of the unwrapped environment, so
observation wrappers do not affect it. Each is scaled to the order of magnitude of the returns.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np


class Potential(NamedTuple):
    """A potential function and the environments (ids without version) whose state it can read."""

    of: Callable[[Any], float]
    environments: tuple[str, ...]


def _upright(env: Any) -> float:
    """-10 times the sum of |pole angle| and |cart position|, each as a fraction of its limit."""
    x, _, theta, _ = env.state
    return -10 * float(abs(theta) / env.theta_threshold_radians + abs(x) / env.x_threshold)


def _energy(env: Any) -> float:
    """Mechanical energy of the car as a percentage of its energy at rest at the top of the hill.

    Gravity along the track is 0.0025 cos(3x), so the potential energy is 0.0025 sin(3x) / 3.
    """
    position, velocity = env.state
    height = 0.0025 / 3 * (math.sin(3 * position) + 1)
    return 100 * float((height + velocity**2 / 2) / (2 * 0.0025 / 3))


def _tip_height(env: Any) -> float:
    """Height of the lower link's tip above the pivot, in [-2, 2], times 25."""
    theta1, theta2, *_ = env.state
    return 25 * float(-math.cos(theta1) - math.cos(theta1 + theta2))


def _pendulum_height(env: Any) -> float:
    """Height of the pendulum, in [-1, 1], times 100."""
    return 100 * math.cos(float(env.state[0]))


def _goal_distance(env: Any) -> float:
    """Minus the Manhattan distance to the goal, divided by rows + columns.

    FrozenLake marks its goal with G in its map; CliffWalking's goal is the bottom right corner.
    """
    if hasattr(env, "desc"):
        rows, columns = env.desc.shape
        goal_row, goal_column = np.argwhere(env.desc == b"G")[0]
    else:
        rows, columns = env.shape
        goal_row, goal_column = rows - 1, columns - 1
    row, column = divmod(int(env.s), columns)
    return -float((abs(row - goal_row) + abs(column - goal_column)) / (rows + columns))


POTENTIALS = {
    "cartpole": Potential(_upright, ("CartPole",)),
    "mountaincar": Potential(_energy, ("MountainCar", "MountainCarContinuous")),
    "acrobot": Potential(_tip_height, ("Acrobot",)),
    "pendulum": Potential(_pendulum_height, ("Pendulum",)),
    "grid": Potential(_goal_distance, ("FrozenLake", "FrozenLake8x8", "CliffWalking")),
}
