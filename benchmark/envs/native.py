"""Gymnasium's classic control tasks, stepped for all lanes at once, to the same bits.

Formulas and the order of their operations are those of Gymnasium's environments, whose scalars
round in ways of their own: a square of a numpy scalar is libm's ``pow``, the cosine of Python's
``math`` is not numpy's, and MountainCarContinuous keeps its state in float32 after the first step.
"""

import math
from collections.abc import Sequence
from itertools import repeat
from typing import Any, ClassVar

import gymnasium
import numpy as np

from .config import EnvConfig, registered
from .episodes import TRAINING
from .make import horizon_of
from .vector import Ended, SeedVecEnv
from .wrappers import TrainingReward

FEWEST = 3  # lanes; with fewer, a plain loop over Gymnasium's environments is faster
_Index = slice | np.ndarray
_Outcome = tuple[np.ndarray, np.ndarray, np.ndarray]  # observations, rewards, who terminated


def _map(function: Any, x: np.ndarray, *more: Any) -> np.ndarray:
    """Apply a function of Python's ``math`` to every element."""
    return np.fromiter(map(function, x.tolist(), *more), np.float64, len(x))


def _square(x: np.ndarray) -> np.ndarray:
    return _map(math.pow, x, repeat(2.0))


class Physics:
    """The lanes of one task.

    Attributes:
        state: ``[L, S]``.
    """

    WIDTH: ClassVar[int]  # S

    def __init__(self, lanes: int) -> None:
        self.state = np.zeros((lanes, self.WIDTH))

    def start(self, lane: int, rng: np.random.Generator) -> np.ndarray:
        """Draw the first state of a lane's episode; return its observation."""
        self.state[lane] = first = self._draw(rng)
        obs: np.ndarray = self._seen(first[None])[0]
        return obs

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        """Return the first state of an episode ``[S]``, of the type that Gymnasium gives it."""
        raise NotImplementedError

    @staticmethod
    def _seen(state: np.ndarray) -> np.ndarray:
        """Return the observations of states ``[l, S]``."""
        return state.astype(np.float32)

    def step(self, at: _Index, action: np.ndarray) -> _Outcome:
        """Step some lanes.

        Args:
            at: which.
            action: theirs, ``[l]`` or ``[l, D]``.

        Returns:
            Observations ``[l, obs]``, rewards ``[l]`` and who terminated ``[l]``.
        """
        raise NotImplementedError


class CartPole(Physics):
    """``CartPoleEnv``."""

    WIDTH = 4
    _X, _THETA = 2.4, 12 * 2 * math.pi / 360

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(low=-0.05, high=0.05, size=(4,))

    def step(self, at: _Index, action: np.ndarray) -> _Outcome:
        """See ``Physics``."""
        x, x_dot, theta, theta_dot = self.state[at].T
        total, pole = 0.1 + 1.0, 0.1 * 0.5
        force = np.where(action == 1, 10.0, -10.0)
        cos, sin = np.cos(theta), np.sin(theta)
        temp = (force + pole * np.square(theta_dot) * sin) / total
        theta_acc = (9.8 * sin - cos * temp) / (0.5 * (4.0 / 3.0 - 0.1 * np.square(cos) / total))
        x_acc = temp - pole * theta_acc * cos / total
        state = np.empty((len(x), 4))
        state[:, 0] = x = x + 0.02 * x_dot
        state[:, 1] = x_dot + 0.02 * x_acc
        state[:, 2] = theta = theta + 0.02 * theta_dot
        state[:, 3] = theta_dot + 0.02 * theta_acc
        self.state[at] = state
        over = (np.abs(x) > self._X) | (np.abs(theta) > self._THETA)
        return state.astype(np.float32), np.ones(len(x)), over


class MountainCar(Physics):
    """``MountainCarEnv``."""

    WIDTH = 2

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return np.array([rng.uniform(low=-0.6, high=-0.4), 0])

    def step(self, at: _Index, action: np.ndarray) -> _Outcome:
        """See ``Physics``."""
        position, velocity = self.state[at].T
        slope = _map(math.cos, 3 * position)
        velocity = velocity + ((action - 1) * 0.001 + slope * -0.0025)
        velocity = np.clip(velocity, -0.07, 0.07)
        position = np.clip(position + velocity, -1.2, 0.6)
        velocity[(position == -1.2) & (velocity < 0)] = 0.0
        self.state[at] = state = np.stack([position, velocity], 1)
        over = (position >= 0.5) & (velocity >= 0)
        return state.astype(np.float32), np.full(len(position), -1.0), over


class MountainCarContinuous(Physics):
    """``Continuous_MountainCarEnv``."""

    WIDTH = 2

    def __init__(self, lanes: int) -> None:
        super().__init__(lanes)
        self._first = np.ones(lanes, bool)  # whose next step is its episode's first

    def start(self, lane: int, rng: np.random.Generator) -> np.ndarray:
        """See ``Physics``."""
        self._first[lane] = True
        return super().start(lane, rng)

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return np.array([rng.uniform(low=-0.6, high=-0.4), 0])

    def step(self, at: _Index, action: np.ndarray) -> _Outcome:
        """See ``Physics``."""
        force = np.clip(action[:, 0], np.float32(-1), np.float32(1))
        state, first = self.state[at], self._first[at]
        after, goal = self._moved(state.astype(np.float32), force)
        if first.any():
            after[first], goal[first] = self._moved(state[first], force[first])
        self._first[at] = False
        self.state[at] = after
        wide = force.astype(np.float64)
        reward = np.where(goal, 100.0, 0.0) - wide * wide * 0.1  # the square is exact
        return after, reward, goal

    @staticmethod
    def _moved(state: np.ndarray, force: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return states after a step as float32, and who is at the goal, in the type of before."""
        position, velocity = state.T
        kind = state.dtype.type
        slope = (0.0025 * _map(math.cos, 3 * position)).astype(np.float32)
        velocity = velocity + (force * np.float32(0.0015) - slope)
        velocity = np.minimum(np.maximum(velocity, kind(-0.07)), kind(0.07))
        position = np.minimum(np.maximum(position + velocity, kind(-1.2)), kind(0.6))
        velocity[(position == kind(-1.2)) & (velocity < 0)] = 0
        goal = (position >= kind(0.45)) & (velocity >= 0)
        return np.stack([position, velocity], 1).astype(np.float32), goal


class Acrobot(Physics):
    """``AcrobotEnv``, by the book's equations."""

    WIDTH = 4
    _FASTEST = 4 * np.pi, 9 * np.pi

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        return rng.uniform(low=-0.1, high=0.1, size=(4,)).astype(np.float32)

    def step(self, at: _Index, action: np.ndarray) -> _Outcome:
        """See ``Physics``."""
        y = self.state[at].T  # [4, l]
        torque = action - 1.0
        k1 = self._change(y, torque)
        k2 = self._change(y + 0.1 * k1, torque)
        k3 = self._change(y + 0.1 * k2, torque)
        k4 = self._change(y + 0.2 * k3, torque)
        y = y + 0.2 / 6.0 * (k1 + 2 * k2 + 2 * k3 + k4)
        for angle in y[:2]:
            while (high := angle > np.pi).any():
                angle[high] -= 2 * np.pi
            while (low := angle < -np.pi).any():
                angle[low] += 2 * np.pi
        for speed, fastest in zip(y[2:], self._FASTEST, strict=True):
            np.minimum(np.maximum(speed, -fastest), fastest, out=speed)
        self.state[at] = state = y.T
        over = -np.cos(y[0]) - np.cos(y[1] + y[0]) > 1.0
        return self._seen(state), np.where(over, 0.0, -1.0), over

    @staticmethod
    def _seen(state: np.ndarray) -> np.ndarray:
        first, second, *speeds = state.T
        columns = [np.cos(first), np.sin(first), np.cos(second), np.sin(second), *speeds]
        return np.stack(columns, 1).astype(np.float32)

    @staticmethod
    def _change(y: np.ndarray, torque: np.ndarray) -> np.ndarray:
        """Return the time derivative of states ``[4, l]``; all masses and lengths are 1."""
        theta1, theta2, dtheta1, dtheta2 = y
        cos, sin = np.cos(theta2), np.sin(theta2)
        d1 = 0.25 + (1.25 + 2 * 0.5 * cos) + 1.0 + 1.0
        d2 = (0.25 + 0.5 * cos) + 1.0
        phi2 = 0.5 * 9.8 * np.cos(theta1 + theta2 - np.pi / 2.0)
        phi1 = (
            -0.5 * _square(dtheta2) * sin
            - 2 * 0.5 * dtheta2 * dtheta1 * sin
            + 1.5 * 9.8 * np.cos(theta1 - np.pi / 2)
            + phi2
        )
        pull = torque + d2 / d1 * phi1 - 0.5 * _square(dtheta1) * sin - phi2
        ddtheta2 = pull / (0.25 + 1.0 - _square(d2) / d1)
        ddtheta1 = -(d2 * ddtheta2 + phi1) / d1
        return np.stack([dtheta1, dtheta2, ddtheta1, ddtheta2])


class Pendulum(Physics):
    """``PendulumEnv``."""

    WIDTH = 2

    def _draw(self, rng: np.random.Generator) -> np.ndarray:
        high = np.array([np.pi, 1.0])
        return rng.uniform(low=-high, high=high)

    def step(self, at: _Index, action: np.ndarray) -> _Outcome:
        """See ``Physics``."""
        theta, speed = self.state[at].T
        torque = np.clip(action[:, 0], np.float32(-2), np.float32(2))
        by_torque = np.array([u**2 for u in torque], np.float32)  # powf; u * u differs at times
        angle = ((theta + np.pi) % (2 * np.pi)) - np.pi
        costs = _square(angle) + 0.1 * _square(speed) + np.float32(0.001) * by_torque
        speed = speed + (15.0 * np.sin(theta) + np.float32(3.0) * torque) * 0.05
        speed = np.clip(speed, -8, 8)
        self.state[at] = state = np.stack([theta + speed * 0.05, speed], 1)
        return self._seen(state), -costs, np.zeros(len(theta), bool)

    @staticmethod
    def _seen(state: np.ndarray) -> np.ndarray:
        theta, speed = state.T
        return np.stack([np.cos(theta), np.sin(theta), speed], 1).astype(np.float32)


_MODULE = "gymnasium.envs.classic_control"
PHYSICS: dict[str, type[Physics]] = {  # by what Gymnasium has registered
    f"{_MODULE}.cartpole:CartPoleEnv": CartPole,
    f"{_MODULE}.mountain_car:MountainCarEnv": MountainCar,
    f"{_MODULE}.continuous_mountain_car:Continuous_MountainCarEnv": MountainCarContinuous,
    f"{_MODULE}.acrobot:AcrobotEnv": Acrobot,
    f"{_MODULE}.pendulum:PendulumEnv": Pendulum,
}


def physics_of(config: EnvConfig, training: bool) -> type[Physics] | None:
    """Return the native form of an environment: of an original one that nothing wraps."""
    if not config.native or config.kwargs or config.fresh or config.masks or config.record:
        return None
    spec, wrappers = registered(config), config.wrappers
    wrapped = wrappers.extra or wrappers.frame_stack > 1 or wrappers.history > 1 or wrappers.image
    changed = wrapped or (training and TrainingReward.wanted(wrappers))
    if changed or spec.kwargs or spec.additional_wrappers:
        return None
    return PHYSICS.get(str(spec.entry_point))


class NativeVecEnv(SeedVecEnv):
    """``SeedVecEnv`` of a task that is stepped for all lanes at once.

    Args:
        physics: the task. config, seeds, lanes, reset, purpose: as for ``SeedVecEnv``.
    """

    def __init__(
        self,
        physics: type[Physics],
        config: EnvConfig,
        seeds: Sequence[int],
        lanes: int,
        *,
        training: bool = True,
        reset: str = "each",
        purpose: str = TRAINING,
    ) -> None:
        self._physics = physics(len(seeds) * lanes)
        self._horizon = horizon_of(config)
        super().__init__(config, seeds, lanes, training=training, reset=reset, purpose=purpose)

    def _built(self) -> list[gymnasium.Env]:
        return [self._build()]  # for its spaces, and to be rendered

    def _advance(
        self,
        actions: np.ndarray,
        rows: np.ndarray,
        reward: np.ndarray,
        raw: np.ndarray,
        broken: dict[int, str],
    ) -> list[Ended]:
        at: _Index = np.array(self._live, int) if self._waiting else slice(None)
        rows[at], reward[at], terminated = self._physics.step(at, actions[at])
        over = terminated
        if self._horizon is not None:
            over = terminated | (self._length[at] + 1 >= self._horizon)
        if not over.any():
            return []
        live = self._live
        return [(live[i], bool(terminated[i]), ()) for i in np.flatnonzero(over).tolist()]

    def _first(self, lane: int) -> Any:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence(self._seed_of(lane))))
        return self._physics.start(lane, rng)

    def _begun(self, lane: int) -> None:
        pass  # its types are known

    def _again(self, lane: int, action: Any, count: int) -> tuple[Any, float, bool]:
        obs, reward, over = self._physics.step(np.array([lane]), np.asarray(action)[None])
        late = self._horizon is not None and count >= self._horizon
        return obs[0], float(reward[0]), bool(over[0]) or late
