"""K seeds x N lanes of one environment, stepped in a plain loop.

There is no autoreset: ``step`` returns true successors and ``begin`` starts the next episodes.
A lane is one of the parallel environments of a seed. Shapes: K seeds, N lanes, L = K * N.
"""

import math
from collections.abc import Callable, Sequence
from functools import cached_property, partial
from typing import Any, NamedTuple

import gymnasium
import numpy as np
import torch
from gymnasium import spaces

from prism.algos.core.agent import State

from ..util.errors import ConfigError
from . import facts
from .action_log import ActionLog
from .config import EnvConfig
from .episodes import BLOCK, TRAINING, episode_seeds
from .make import make_env
from .repeats import not_repeating
from .wrappers import RAW_REWARD, TrainingReward, check_reward, close

RESETS = ("each", "wait", "shared")
Ended = tuple[int, bool, tuple[float, ...]]  # lane, whether terminated, values of env.record
_SHORT = 50  # steps of an episode that shows whether an environment repeats
_REASON_BYTES = 400  # of a failure's reason in a saved state
_LARGEST = float(np.finfo(np.float32).max)
_LARGEST_SQUARE = _LARGEST**2


class VecStep(NamedTuple):
    """The result of one step of all lanes."""

    next_obs: np.ndarray  # [K, N, *obs], the true successor; not modified later
    reward: np.ndarray  # [K, N] float32, as the agent sees it
    terminated: np.ndarray  # [K, N] bool
    truncated: np.ndarray  # [K, N] bool; False where the episode also terminated
    valid: np.ndarray  # [K, N] bool; False if the lane waits or its seed has failed


class SeedVecEnv:
    """A vector environment of K seeds x N lanes in which each seed is independent of the others.

    The seed of every episode is a draw from the (seed, purpose, lane) stream, so an episode depends
    only on its number and its actions. The loop is ``begin -> step -> begin -> ...``.

    Args:
        config: a validated config.
        seeds: the K seeds.
        lanes: N, environments per seed.
        gamma: the algorithm's discount, for shaping.
        training: whether reward wrappers apply.
        reset: "each": a lane starts its next episode as soon as one ends. "wait": it waits until
            all lanes of its seed have ended. "shared": as "wait", and the lanes of a seed start
            from the same state.
        purpose: name of the random stream, as in ``episodes``.

    Attributes:
        failed: seed index -> why the seed failed.
        anew: indices of seeds that were resumed with a new episode, since the environment does not
            repeat the running one.
    """

    def __init__(
        self,
        config: EnvConfig,
        seeds: Sequence[int],
        lanes: int,
        *,
        gamma: float = 1.0,
        training: bool = True,
        reset: str = "each",
        purpose: str = TRAINING,
    ) -> None:
        if reset not in RESETS:
            raise ConfigError(f"algo.reset: {reset!r} is not one of {', '.join(RESETS)}")
        self.seeds, self.lanes, self.mode, self.purpose = tuple(seeds), lanes, reset, purpose
        self._build = partial(make_env, config, gamma=gamma, training=training)
        self._total = len(seeds) * lanes
        self._envs = self._built()
        self._steps: list[Callable[[Any], Any]] = [env.step for env in self._envs]
        space, self.action_space = self._envs[0].observation_space, self._envs[0].action_space
        assert isinstance(space, spaces.Box)  # by make_env
        self.obs_space = space
        self._grid = (len(self.seeds), lanes)
        self._float_actions = isinstance(self.action_space, spaces.Box)
        self._reshaped = training and TrainingReward.wanted(config.wrappers)
        self._record = tuple(config.record)
        self._clear()

    def _built(self) -> list[gymnasium.Env]:
        return [self._build() for _ in range(self._total)]

    def _clear(self) -> None:
        total = self._total
        self.failed: dict[int, str] = {}
        self.anew: set[int] = set()
        self._out: set[int] = set()  # indices of seeds that are not stepped
        self._obs = np.zeros((*self._grid, *self.obs_space.shape), self.obs_space.dtype)
        self._episode = np.full(total, -1)  # number of the running episode
        self._length, self._return = np.zeros(total, np.int64), np.zeros(total)
        self._ended = [True] * total
        self._finished: list[list[tuple[float, ...]]] = [[] for _ in self.seeds]
        self._drawn = [
            (-1, np.empty(0, np.int64))
        ] * total  # block number and its episode seeds, per lane
        self._log = ActionLog(total, self.action_space)
        self._live: list[int] = []  # lanes to step
        self._due: list[int] = []  # lanes to start
        self._waiting = False  # whether any lane is not stepped
        self._refresh()

    def reset(self, seeds: np.ndarray | None = None) -> np.ndarray:
        """Restart every lane at its first episode; return observations ``[K, N, *obs]``.

        Args:
            seeds: ``[K]`` bool, which seeds are stepped from now on; None = all.
        """
        self._clear()
        if seeds is not None:
            self._out = set(np.flatnonzero(~seeds).tolist())
            self._refresh()
        return self.begin()

    def begin(self) -> np.ndarray:
        """Start the episodes that are due; return the observations to act on ``[K, N, *obs]``.

        If none is due, this is the last ``next_obs`` itself, otherwise a new array.
        """
        if self._due:
            self._obs, due, self._due = self._obs.copy(), self._due, []
            for lane in due:
                self._start(lane)
            if self._waiting:
                self._refresh()
        return self._obs

    def step(self, action: np.ndarray) -> VecStep:
        """Step every live lane.

        Args:
            action: ``[K, N]`` int64, ``[K, N, D]`` int64 or ``[K, N, *act]`` float32.

        A seed fails if one of its environments raises or returns a non-finite number, or if one of
        its actions is not finite.
        """
        actions = _rows(action)
        if self._float_actions and not _finite(actions):
            for lane in [lane for lane in self._live if not np.isfinite(actions[lane]).all()]:
                self.fail(lane // self.lanes, "the agent's action is not finite")
        self._log.append(actions)
        next_obs = self._obs.copy() if self._waiting else np.empty_like(self._obs)
        reward = np.zeros(self._total)
        raw = np.zeros(self._total) if self._reshaped else reward
        broken: dict[int, str] = {}
        rows = _rows(next_obs)
        ended = self._advance(actions, rows, reward, raw, broken)
        self._length += self._live_ones
        self._return += raw
        if broken or not (_finite(next_obs) and _finite(self._return) and _in_float32(reward)):
            self._take_back(rows, reward, broken)
        valid = self._valid
        self._obs = next_obs
        terminations, truncations = np.zeros((2, *self._grid), bool)
        if ended:
            self._finish(ended, terminations, truncations)
        return VecStep(
            next_obs,
            reward.astype(np.float32).reshape(self._grid),
            terminations,
            truncations,
            valid,
        )

    def _advance(
        self,
        actions: np.ndarray,
        rows: np.ndarray,
        reward: np.ndarray,
        raw: np.ndarray,
        broken: dict[int, str],
    ) -> list[Ended]:
        """Step every live lane; returns those that ended.

        Args:
            actions: ``[L, ...]``.
            rows, reward, raw: ``[L, ...]``; filled with observations, rewards and raw rewards.
            broken: filled with lanes whose environment failed, and why.
        """
        reshaped, steps, ended = self._reshaped, self._steps, []
        for lane in self._live:
            try:
                obs, reward[lane], terminated, truncated, info = steps[lane](actions[lane])
                rows[lane] = obs
                if reshaped:
                    raw[lane] = info[RAW_REWARD]
                if terminated or truncated:
                    ended.append((lane, bool(terminated), facts.of(info, self._record)))
            except Exception as error:
                broken[lane] = _reason(error)
        return ended

    def drain(self, due: np.ndarray | None = None) -> list[list[tuple[float, ...]]]:
        """Return, per seed, the episodes that ended since the last call.

        Each is (raw return, length, *values), the values in the order of ``env.record``.

        Args:
            due: ``[K]`` bool; seeds where it is False keep theirs, and have none here. None: all.
        """
        finished: list[list[tuple[float, ...]]] = [[] for _ in self.seeds]
        for k in range(len(self.seeds)) if due is None else np.flatnonzero(due).tolist():
            finished[k], self._finished[k] = self._finished[k], []
        return finished

    def fail(self, k: int, reason: str) -> None:
        """Mark the seed of index ``k`` as failed: its lanes are not stepped again."""
        self.failed.setdefault(k, reason)
        self.stop(k)

    def stop(self, k: int) -> None:
        """Step the lanes of the seed of index ``k`` no more."""
        self._out.add(k)
        rows = slice(k * self.lanes, (k + 1) * self.lanes)
        self._length[rows], self._return[rows] = 0, 0.0
        self._log.forget(rows)
        self._refresh()

    def render(self) -> np.ndarray:
        """Return a frame of the first lane; needs ``render_mode="rgb_array"``."""
        frame: np.ndarray = self._envs[0].render()  # type: ignore[assignment]
        return frame

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            close(env)

    def state(self) -> State:
        """Return the state of every lane: its episode's number and the actions since its start."""
        counts = [len(episodes) for episodes in self._finished]
        finished = np.zeros((len(self.seeds), max(counts), 2))
        recorded = {name: np.full(finished.shape[:2], np.nan) for name in self._record}
        reasons = np.zeros((len(self.seeds), _REASON_BYTES), np.uint8)
        for k, episodes in enumerate(self._finished):
            rows = np.reshape(episodes, (-1, 2 + len(self._record)))
            finished[k, : len(episodes)] = rows[:, :2]
            for i, name in enumerate(self._record):
                recorded[name][k, : len(episodes)] = rows[:, 2 + i]
            text = np.frombuffer(self.failed.get(k, "").encode()[:_REASON_BYTES], np.uint8)
            reasons[k, : len(text)] = text
        per_lane = {
            "episode": self._episode,
            "length": self._length,
            "return": self._return,
            "obs": _rows(self._obs),
            "actions": self._log.episodes(self._length),
        }
        state = {
            name: array.reshape(*self._grid, *array.shape[1:]) for name, array in per_lane.items()
        }
        state |= {"finished": finished, "finished_count": np.array(counts), "failed": reasons}
        state["anew"] = np.isin(np.arange(len(self.seeds)), list(self.anew))
        state |= {f"fact/{name}": array for name, array in recorded.items()}
        return {name: torch.from_numpy(array.copy()) for name, array in state.items()}

    def load(self, state: State) -> None:
        """Restore a state, by replaying every running episode.

        Raises:
            ConfigError: a replayed episode differs from the saved one.
        """
        self._clear()
        arrays = {name: tensor.numpy().copy() for name, tensor in state.items()}
        missing = np.full(
            arrays["finished"].shape[:2], np.nan
        )  # for names added to env.record since
        recorded = [arrays.get(f"fact/{name}", missing) for name in self._record]
        for k, count in enumerate(arrays["finished_count"]):
            rows = zip(arrays["finished"][k, :count], *(x[k] for x in recorded), strict=False)
            self._finished[k] = [
                (float(total), int(length), *map(float, more)) for (total, length), *more in rows
            ]
        per_lane = {
            name: _rows(arrays[name]) for name in ("episode", "length", "return", "actions")
        }
        self._episode, self._length = per_lane["episode"], per_lane["length"]
        self._return, self._obs = per_lane["return"], arrays["obs"]
        self._log.load(per_lane["actions"], self._length)
        for k, text in enumerate(arrays["failed"]):
            if text.any():
                self.fail(k, bytes(text[text > 0]).decode(errors="ignore"))
        self.anew = set(np.flatnonzero(arrays["anew"]).tolist())
        for lane in np.flatnonzero(self._episode >= 0).tolist():
            if lane // self.lanes not in self.failed:
                self._replay(lane, self._log.typed(per_lane["actions"][lane, : self._length[lane]]))
        self._refresh()

    def _replay(self, lane: int, actions: np.ndarray) -> None:
        """Replay a lane's running episode, and check that it ends where it was."""
        obs = self._first(lane)
        total, ended = 0.0, False
        for count, action in enumerate(actions, 1):
            if ended:
                break  # too early: it does not repeat
            obs, reward, ended = self._again(lane, action, count)
            total += reward
        if total == self._return[lane] and np.array_equal(obs, _rows(self._obs)[lane]):
            self._ended[lane] = ended
        elif self._repeats:
            raise ConfigError(
                "env.fresh: this environment does not reproduce an episode from its seed and "
                "actions; set env.fresh=true to rebuild it at every reset"
            )
        else:
            self.anew.add(lane // self.lanes)
            self._length[lane], self._return[lane] = 0, 0.0

    def _first(self, lane: int) -> Any:
        """Begin the lane's running episode; returns its first observation."""
        return self._envs[lane].reset(seed=self._seed_of(lane))[0]

    def _again(self, lane: int, action: Any, count: int) -> tuple[Any, float, bool]:
        """Take a step of one lane, the ``count``-th of its episode.

        Returns:
            Its observation, its raw reward and whether the episode has ended.
        """
        obs, reward, terminated, truncated, info = self._steps[lane](action)
        raw = float(info[RAW_REWARD] if self._reshaped else reward)
        return obs, raw, terminated or truncated

    @cached_property
    def _repeats(self) -> bool:
        """Return whether two new environments play the same episode from one seed."""
        return not_repeating(self._build, seed=1, steps=_SHORT) is None

    def _start(self, lane: int) -> None:
        if lane // self.lanes in self._out:
            return  # another lane's reset may have failed the seed
        self._episode[lane] += 1
        try:
            obs = self._first(lane)
            self._check_shape(obs, "the first observation")
            if not _finite(obs):
                raise FloatingPointError("the environment's first observation is not finite")
        except Exception as error:
            self.fail(lane // self.lanes, _reason(error))
            return
        _rows(self._obs)[lane] = obs
        self._begun(lane)
        self._length[lane], self._return[lane], self._ended[lane] = 0, 0.0, False
        self._log.begin(lane)

    def _begun(self, lane: int) -> None:
        self._steps[lane] = partial(self._first_step, lane)

    def _first_step(self, lane: int, action: Any) -> Any:
        """Take the first step of an episode, and check what is not checked at every step."""
        step = self._steps[lane] = self._envs[lane].step
        outcome = obs, reward, *_, info = step(action)
        self._check_shape(obs, "the observation of the first step")
        check_reward(info[RAW_REWARD] if self._reshaped else reward)
        return outcome

    def _check_shape(self, obs: Any, what: str) -> None:
        shape, expected = np.shape(obs), self.obs_space.shape
        if shape != expected:  # numpy would broadcast some shapes
            raise ValueError(f"{what} has shape {shape}, its space {expected}")

    def _seed_of(self, lane: int) -> int:
        """Return the 31-bit seed of the lane's running episode."""
        block, offset = divmod(int(self._episode[lane]), BLOCK)
        if self._drawn[lane][0] != block:
            k, n = divmod(lane, self.lanes)
            key = () if self.mode == "shared" else (n,)
            seeds = episode_seeds(self.seeds[k], self.purpose, *key, block=block)
            self._drawn[lane] = (block, seeds)
        return int(self._drawn[lane][1][offset])

    def _finish(self, ended: list[Ended], terminated: np.ndarray, truncated: np.ndarray) -> None:
        """Record ended episodes and set the ``[K, N]`` flags; termination takes precedence."""
        for lane, by_termination, recorded in ended:
            k, n = divmod(lane, self.lanes)
            if k not in self.failed:
                (terminated if by_termination else truncated)[k, n] = True
                outcome = (float(self._return[lane]), int(self._length[lane]), *recorded)
                self._finished[k].append(outcome)
                self._ended[lane] = True
        if self.mode == "each" and not self._out:  # the live lanes stay the same
            self._due = [lane for lane, *_ in ended]
        else:
            self._refresh()

    def _refresh(self) -> None:
        """Recompute which lanes are live and which are due to start."""
        lanes, running = self.lanes, [k for k in range(len(self.seeds)) if k not in self._out]
        self._live, self._due = [], []
        for k in running:
            mine = range(k * lanes, (k + 1) * lanes)
            over = [lane for lane in mine if self._ended[lane]]
            if self.mode == "each" or len(over) == lanes:
                self._due += over
            self._live += [lane for lane in mine if not self._ended[lane]] if over else mine
        self._waiting = len(self._live) < self._total
        self._live_ones = np.zeros(self._total, np.int64)
        self._live_ones[self._live] = 1
        self._valid = self._live_ones.astype(bool).reshape(self._grid)

    def _take_back(self, next_obs: np.ndarray, reward: np.ndarray, broken: dict[int, str]) -> None:
        """Fail the seeds whose environments broke, and undo this step for them."""
        for lane in self._live:
            if not _finite(next_obs[lane]):
                broken.setdefault(lane, "the environment's observation is not finite as float32")
            if not math.isfinite(self._return[lane] + reward[lane]):
                broken.setdefault(lane, "the environment's reward is not finite")
            elif not _in_float32(reward[lane]):
                what = f"the environment's reward {reward[lane]:g} does not fit into float32"
                broken.setdefault(lane, what)
        for lane, reason in broken.items():
            k = lane // self.lanes
            rows = slice(k * self.lanes, (k + 1) * self.lanes)
            next_obs[rows], reward[rows] = self._obs[k], 0.0
            self.fail(k, reason)


def _rows(grid: np.ndarray) -> np.ndarray:
    """View ``[K, N, ...]`` as ``[L, ...]``."""
    return grid.reshape(grid.shape[0] * grid.shape[1], *grid.shape[2:])


def _finite(values: np.ndarray) -> bool:
    """Return whether all values are finite; tries the squared norm first, which is 4x faster."""
    if values.dtype.kind != "f":
        return True
    return math.isfinite(np.vdot(values, values)) or bool(np.isfinite(values).all())


def _in_float32(values: np.ndarray) -> bool:
    """Return whether all values are finite as float32; tries the squared norm first."""
    square = float(np.vdot(values, values))
    return square < _LARGEST_SQUARE or bool((np.abs(values) <= _LARGEST).all())


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
