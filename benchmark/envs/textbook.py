"""The environments of Sutton and Barto (2018), as MDPs with a Gymnasium interface.

Terminal states are absorbing and have reward 0.
"""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from prism.algos.core.mdp import MDP, from_table

Table = dict[int, list[list[tuple[float, int, float, bool]]]]  # in the form of Gymnasium's P
UP, RIGHT, DOWN, LEFT = MOVES = ((-1, 0), (0, 1), (1, 0), (0, -1))


class Tabular(gymnasium.Env):
    """An environment that samples from a tabular model.

    Attributes:
        model: the MDP.
        s: the current state.
    """

    def __init__(self, model: MDP) -> None:
        self.model = model
        self.observation_space = spaces.Discrete(model.states)
        self.action_space = spaces.Discrete(model.actions)
        self._cdf = model.probability.cumsum(-1)
        self._start_cdf = model.start.cumsum()
        self.s = 0

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Draw the initial state."""
        super().reset(seed=seed)
        self.s = int(np.argmax(self._start_cdf > self.np_random.random()))
        return self.s, self._info()

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        """Draw the outcome of an action."""
        model, row = self.model, (self.s, action)
        branch = int(np.argmax(self._cdf[row] > self.np_random.random()))
        reward = float(model.reward[row][branch])
        if model.reward_std is not None and model.reward_std[row][branch] > 0:
            reward = float(self.np_random.normal(reward, model.reward_std[row][branch]))
        self.s = int(model.successor[row][branch])
        return self.s, reward, bool(model.terminal[row][branch]), False, self._info()

    def _info(self) -> dict[str, Any]:
        """Return what is legal in the state, where the model bars anything."""
        return {} if self.model.legal is None else {"action_mask": self.model.legal[self.s]}


def random_walk(states: int = 5, left: float = 0.0, right: float = 1.0) -> MDP:
    """Return the random walk of example 6.2 (5 states) and 7.1 (19 states, left = -1).

    One action; states 1 to ``states`` in a row between two terminal states, whose rewards are
    ``left`` and ``right``.
    """
    last = states + 1
    table: Table = {s: [[(1.0, s, 0.0, True)]] for s in (0, last)}
    for s in range(1, last):
        payoffs = {0: left, last: right}
        table[s] = [[(0.5, n, payoffs.get(n, 0.0), n in payoffs) for n in (s - 1, s + 1)]]
    return _model(table, (states + 1) // 2, grid=(1, states + 2))


def windy_gridworld(kings: bool = False) -> MDP:
    """Return example 6.5, 7 x 10 squares; ``kings``: with the diagonal moves of exercise 6.9."""
    wind = (0, 0, 0, 1, 1, 1, 2, 2, 1, 0)
    moves = MOVES + ((-1, -1), (-1, 1), (1, 1), (1, -1)) * kings
    goal = (3, 7)

    def move(row: int, column: int, step: tuple[int, int]) -> tuple[tuple[int, int], float, bool]:
        square = (row + step[0] - wind[column], column + step[1])
        square = (min(max(square[0], 0), 6), min(max(square[1], 0), 9))
        return square, -1.0, square == goal

    return _grid((7, 10), moves, (3, 0), goal, move)


def dyna_maze() -> MDP:
    """Return figure 8.2's maze: 6 x 9 squares, S = (2, 0), G = (0, 8), reward 1 at the goal."""
    walls = {(1, 2), (2, 2), (3, 2), (4, 5), (0, 7), (1, 7), (2, 7)}
    goal = (0, 8)

    def move(row: int, column: int, step: tuple[int, int]) -> tuple[tuple[int, int], float, bool]:
        square = (row + step[0], column + step[1])
        if square in walls or not (0 <= square[0] < 6 and 0 <= square[1] < 9):
            square = (row, column)
        return square, float(square == goal), square == goal

    return _grid((6, 9), MOVES, (2, 0), goal, move)


def maximisation_bias(actions: int = 10, mean: float = -0.1, std: float = 1.0) -> MDP:
    """Return example 6.7: in A, left (0) leads to B and right (1) terminates; so do B's actions.

    State 0 is A, 1 is B, 2 is terminal. ``legal`` allows only left and right in A. For agents that
    ignore it, A's other actions do the same as right.
    """
    p = np.ones((3, actions, 1))
    successor = np.full((3, actions, 1), 2)
    successor[0, 0] = 1
    terminal = np.ones((3, actions, 1), bool)
    terminal[0, 0] = False
    reward, spread = np.zeros(p.shape), np.zeros(p.shape)
    reward[1], spread[1] = mean, std
    legal = np.ones((3, actions), bool)
    legal[0, 2:] = False
    start = np.eye(3)[0]
    return MDP(p, successor, reward, terminal, start, reward_std=spread, legal=legal)


def bandit(arms: int = 10, task: int = 0, std: float = 1.0) -> MDP:
    """Return a task of the 10-armed testbed (section 2.3) as an MDP of one state.

    The arms' values are drawn from N(0, 1) with the seed ``task``.
    """
    values = np.random.default_rng(task).standard_normal(arms)
    shape = (1, arms, 1)
    return MDP(
        np.ones(shape),
        np.zeros(shape, np.int64),
        values.reshape(shape),
        np.ones(shape, bool),
        np.ones(1),
        reward_std=np.full(shape, std),
    )


def _grid(
    shape: tuple[int, int],
    moves: tuple[tuple[int, int], ...],
    start: tuple[int, int],
    goal: tuple[int, int],
    move: Callable[[int, int, tuple[int, int]], tuple[tuple[int, int], float, bool]],
) -> MDP:
    def number(square: tuple[int, int]) -> int:
        return square[0] * shape[1] + square[1]

    table: Table = {}
    for row in range(shape[0]):
        for column in range(shape[1]):
            s = number((row, column))
            table[s] = []
            for step in moves:
                square, reward, over = move(row, column, step)
                outcome = (1.0, number(square), reward, over)
                table[s].append([(1.0, s, 0.0, True) if (row, column) == goal else outcome])
    return _model(table, number(start), grid=shape, moves=moves)


def _model(table: Table, start: int, **facts: Any) -> MDP:
    return from_table(table, np.eye(len(table))[start], **facts)


MODELS: dict[str, Callable[..., MDP]] = {
    "RandomWalk": random_walk,
    "WindyGridworld": windy_gridworld,
    "DynaMaze": dyna_maze,
    "MaximisationBias": maximisation_bias,
    "Bandit": bandit,
}


def make(model: str, **kwargs: Any) -> Tabular:
    """Build the environment of a model in ``MODELS``."""
    return Tabular(MODELS[model](**kwargs))
