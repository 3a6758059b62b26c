"""Potentials for reward shaping: gamma * Phi(s') - Phi(s) is added to the reward (Ng et al. 1999).

A potential says how promising a state is. It reads the state of the unwrapped environment, so it
is the same whatever the agent observes. The sizes below are of the order of the returns.
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
    """Minus the share of the allowed pole angle and track that is used up, times 10."""
    x, _, theta, _ = env.state
    return -10 * float(abs(theta) / env.theta_threshold_radians + abs(x) / env.x_threshold)


def _energy(env: Any) -> float:
    """Mechanical energy of the car over that at rest on the goal, times 100.

    Gravity along the track is 0.0025 cos(3x), hence the height energy 0.0025 sin(3x) / 3.
    """
    position, velocity = env.state
    height = 0.0025 / 3 * (math.sin(3 * position) + 1)
    return 100 * float((height + velocity**2 / 2) / (2 * 0.0025 / 3))


def _tip_height(env: Any) -> float:
    """Height of the lower link's tip over the pivot, in [-2, 2], times 25."""
    theta1, theta2, *_ = env.state
    return 25 * float(-math.cos(theta1) - math.cos(theta1 + theta2))


def _pendulum_height(env: Any) -> float:
    """Height of the pendulum, in [-1, 1], times 100."""
    return 100 * math.cos(float(env.state[0]))


def _goal_distance(env: Any) -> float:
    """Minus the number of moves to the goal on an empty grid, over the grid's half perimeter.

    The goal of FrozenLake is where its map says G; that of CliffWalking is the last cell.
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
