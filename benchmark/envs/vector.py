"""K seeds x N lanes of one environment, stepped in a plain loop.

It never resets by itself: ``step`` returns true successors and ``begin`` starts the next episodes.
Shape letters: K seed, N lane, L = K * N.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces

from algos.core.agent import State
from algos.core.rng import generator
from benchmark.envs.action_log import ActionLog
from benchmark.envs.config import EnvConfig
from benchmark.envs.make import make_env
from benchmark.envs.wrappers import RAW_REWARD, TrainingReward
from benchmark.errors import ConfigError

RESETS = ("each", "wait", "shared")
_BLOCK = 64  # episode seeds drawn at once
_REASON_BYTES = 400  # kept of the reason for which a seed failed, in a saved state


class VecStep(NamedTuple):
    """What one tick of all lanes led to."""

    next_obs: np.ndarray  # [K, N, *obs], the true successor; never written to again
    reward: np.ndarray  # [K, N] float32, the agent's
    terminated: np.ndarray  # [K, N] bool
    truncated: np.ndarray  # [K, N] bool; False where the episode also terminated
    valid: np.ndarray  # [K, N] bool; False where a lane waits or its seed has failed


class SeedVecEnv:
    """A vector environment of K seeds x N lanes in which every seed lives as if it were alone.

    Every episode is seeded by its own draw from the (seed, purpose, lane) stream, so it depends on
    nothing but its number and its actions. The loop is ``begin -> step -> begin -> ...``.

    Args:
        config: a validated config.
        seeds: the K seeds.
        lanes: N, environments per seed.
        gamma: the algorithm's discount, for shaping.
        training: whether the reward side of the wrappers applies.
        reset: "each": an ended lane starts again at once. "wait": it waits until all lanes of its
            seed have ended. "shared": as "wait", and the lanes of a seed start from the same state.
        purpose: name of the random stream; "eval" keeps evaluation apart from training.

    Attributes:
        failed: seed index -> why the seed has ended.
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
        purpose: str = "env",
    ) -> None:
        if reset not in RESETS:
            raise ConfigError(f"algo.reset: {reset!r} is none of {', '.join(RESETS)}")
        self.seeds, self.lanes, self.mode, self.purpose = tuple(seeds), lanes, reset, purpose
        self._envs = [
            make_env(config, gamma=gamma, training=training) for _ in range(len(seeds) * lanes)
        ]
        self._steps = [env.step for env in self._envs]
        space, self.action_space = self._envs[0].observation_space, self._envs[0].action_space
        assert isinstance(space, spaces.Box)  # make_env has seen to it
        self.obs_space = space
        self._float_obs = np.issubdtype(space.dtype, np.floating)
        self._float_actions = isinstance(self.action_space, spaces.Box)
        self._reshaped = training and TrainingReward.wanted(config.wrappers)
        self._clear()

    def _clear(self) -> None:
        total = len(self._envs)
        self.failed: dict[int, str] = {}
        self._obs = np.zeros((total, *self.obs_space.shape), self.obs_space.dtype)
        self._episode = np.full(total, -1)  # number of the running episode
        self._length, self._return = np.zeros(total, np.int64), np.zeros(total)
        self._ended = np.ones(total, bool)
        self._finished: list[list[tuple[float, int]]] = [[] for _ in self.seeds]
        self._drawn = [(-1, np.empty(0, np.int64))] * total  # block and seeds of the lane's episodes
        self._log = ActionLog(total, self.action_space)
        self._refresh()

    def reset(self) -> np.ndarray:
        """Start over, every lane at its first episode; returns observations ``[K, N, *obs]``."""
        self._clear()
        return self.begin()

    def begin(self) -> np.ndarray:
        """Start the episodes that are due; returns the observations to act on ``[K, N, *obs]``.

        Where none is due this is the last ``next_obs`` itself, otherwise a new array.
        """
        if self._due:
            self._obs = self._obs.copy()
            for lane in self._due:
                self._start(lane)
            self._refresh()
        return self._obs.reshape(len(self.seeds), self.lanes, *self._obs.shape[1:])

    def step(self, action: np.ndarray) -> VecStep:
        """Step every live lane.

        Args:
            action: ``[K, N]`` int64, ``[K, N, D]`` int64 or ``[K, N, *act]`` float32.

        An environment that raises, or answers with a number that is not finite, ends its seed; so
        does an action that is not finite.
        """
        actions = action.reshape(len(self._envs), *action.shape[2:])
        if self._float_actions and not np.isfinite(actions).all():
            self._fail_lanes(~_finite_rows(actions), "the agent's action is not finite")
        self._log.append(actions)
        total, lanes, reshaped = len(self._envs), self.lanes, self._reshaped
        next_obs = np.empty_like(self._obs) if len(self._live) == total else self._obs.copy()
        reward, flags = np.zeros(total), np.zeros((2, total), bool)
        raw = np.zeros(total) if reshaped else reward
        terminated, truncated = flags
        broken: dict[int, str] = {}
        for lane, env_step in self._live:
            try:
                next_obs[lane], reward[lane], terminated[lane], truncated[lane], info = env_step(
                    actions[lane]
                )
                if reshaped:
                    raw[lane] = info[RAW_REWARD]
            except Exception as error:
                broken.setdefault(lane // lanes, _reason(error))
        self._length += self._live_mask
        self._return += raw
        self._check_finite(next_obs, reward, broken)
        for k, reason in broken.items():
            rows = slice(k * lanes, (k + 1) * lanes)
            next_obs[rows], reward[rows], flags[:, rows] = self._obs[rows], 0.0, False
            self.fail(k, reason)
        valid = self._live_mask  # without the seeds that have just failed
        self._obs = next_obs
        if flags.any():
            truncated &= ~terminated
            self._finish(terminated | truncated)
        grid = (len(self.seeds), lanes)
        return VecStep(
            next_obs.reshape(*grid, *next_obs.shape[1:]),
            reward.astype(np.float32).reshape(grid),
            terminated.reshape(grid),
            truncated.reshape(grid),
            valid.reshape(grid),
        )

    def drain(self) -> list[list[tuple[float, int]]]:
        """Return, per seed, (raw return, length) of the episodes that ended since the last call."""
        finished, self._finished = self._finished, [[] for _ in self.seeds]
        return finished

    def fail(self, k: int, reason: str) -> None:
        """End the seed of index ``k``: its lanes are not stepped again."""
        self.failed.setdefault(k, reason)
        rows = slice(k * self.lanes, (k + 1) * self.lanes)
        self._length[rows], self._return[rows] = 0, 0.0
        self._log.forget(rows)
        self._refresh()

    def close(self) -> None:
        """Close all environments."""
        for env in self._envs:
            env.close()

    def state(self) -> State:
        """Return where every lane is: its episode's number and the actions since it began."""
        counts = [len(episodes) for episodes in self._finished]
        finished = np.zeros((len(self.seeds), max(counts), 2))
        reasons = np.zeros((len(self.seeds), _REASON_BYTES), np.uint8)
        for k, episodes in enumerate(self._finished):
            finished[k, : len(episodes)] = np.reshape(episodes, (-1, 2))
            text = np.frombuffer(self.failed.get(k, "").encode()[:_REASON_BYTES], np.uint8)
            reasons[k, : len(text)] = text
        per_lane = {
            "episode": self._episode,
            "length": self._length,
            "return": self._return,
            "obs": self._obs,
            "actions": self._log.episodes(self._length),
        }
        grid = (len(self.seeds), self.lanes)
        state = {name: array.reshape(*grid, *array.shape[1:]) for name, array in per_lane.items()}
        state |= {"finished": finished, "finished_count": np.array(counts), "failed": reasons}
        return {name: torch.from_numpy(array.copy()) for name, array in state.items()}

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned, by replaying every running episode.

        Raises:
            ConfigError: an environment did not come to the state it was in.
        """
        self._clear()
        arrays = {name: tensor.numpy().copy() for name, tensor in state.items()}
        for k, (rows, count) in enumerate(
            zip(arrays["finished"], arrays["finished_count"], strict=True)
        ):
            self._finished[k] = [(float(total), int(length)) for total, length in rows[:count]]
        per_lane = {
            name: arrays[name].reshape(len(self._envs), *arrays[name].shape[2:])
            for name in ("episode", "length", "return", "obs", "actions")
        }
        self._episode, self._length = per_lane["episode"], per_lane["length"]
        self._return, self._obs = per_lane["return"], per_lane["obs"]
        self._log.load(per_lane["actions"], self._length)
        for k, text in enumerate(arrays["failed"]):
            if text.any():
                self.fail(k, bytes(text[text > 0]).decode(errors="ignore"))
        for lane in np.flatnonzero(self._episode >= 0).tolist():
            if lane // self.lanes not in self.failed:
                self._replay(lane, self._log.typed(per_lane["actions"][lane, : self._length[lane]]))
        self._refresh()

    def _replay(self, lane: int, actions: np.ndarray) -> None:
        """Bring a lane to where its running episode was, and see that it got there."""
        obs, info = self._envs[lane].reset(seed=self._seed_of(lane))
        total, ended = 0.0, False
        for action in actions:
            obs, reward, terminated, truncated, info = self._steps[lane](action)
            total += float(info[RAW_REWARD] if self._reshaped else reward)
            ended = terminated or truncated
        if total != self._return[lane] or not np.array_equal(obs, self._obs[lane]):
            raise ConfigError(
                "env.fresh: this environment does not repeat an episode from its seed and actions; "
                "env.fresh=true rebuilds it at every reset"
            )
        self._ended[lane] = ended

    def _start(self, lane: int) -> None:
        if lane // self.lanes in self.failed:
            return  # by the reset of another of its lanes
        self._episode[lane] += 1
        try:
            obs, _ = self._envs[lane].reset(seed=self._seed_of(lane))
            if self._float_obs and not np.isfinite(obs).all():
                raise FloatingPointError("the environment's first observation is not finite")
        except Exception as error:
            self.fail(lane // self.lanes, _reason(error))
            return
        self._obs[lane] = obs
        self._length[lane], self._return[lane], self._ended[lane] = 0, 0.0, False
        self._log.begin(lane)

    def _seed_of(self, lane: int) -> int:
        """Return the 31-bit seed of the lane's running episode."""
        block, offset = divmod(int(self._episode[lane]), _BLOCK)
        if self._drawn[lane][0] != block:
            k, n = divmod(lane, self.lanes)
            key = () if self.mode == "shared" else (n,)
            stream = generator(self.seeds[k], self.purpose, *key, block=block)
            self._drawn[lane] = (block, stream.integers(2**31, size=_BLOCK))
        return int(self._drawn[lane][1][offset])

    def _finish(self, ended: np.ndarray) -> None:
        for lane in np.flatnonzero(ended).tolist():
            outcome = (float(self._return[lane]), int(self._length[lane]))
            self._finished[lane // self.lanes].append(outcome)
        self._ended |= ended
        self._refresh()

    def _refresh(self) -> None:
        """Say anew which lanes are live and which are due to start."""
        running = np.ones((len(self.seeds), 1), bool)
        running[list(self.failed)] = False
        ended = self._ended.reshape(-1, self.lanes)
        over = ended if self.mode == "each" else np.all(ended, 1, keepdims=True) & ended
        self._due: list[int] = np.flatnonzero(over & running).tolist()
        self._live_mask = (~ended & running).ravel()
        self._live = [(lane, self._steps[lane]) for lane in np.flatnonzero(self._live_mask).tolist()]

    def _check_finite(self, obs: np.ndarray, reward: np.ndarray, broken: dict[int, str]) -> None:
        """Add the seeds whose rewards (raw or the agent's) or observations are not finite."""
        checks = [("reward", self._return + reward)] + [("observation", obs)] * self._float_obs
        for what, values in checks:
            if not np.isfinite(values).all():
                for lane in np.flatnonzero(~_finite_rows(values)).tolist():
                    broken.setdefault(lane // self.lanes, f"the environment's {what} is not finite")

    def _fail_lanes(self, lanes: np.ndarray, reason: str) -> None:
        for lane in np.flatnonzero(lanes & self._live_mask).tolist():
            self.fail(lane // self.lanes, reason)


def _finite_rows(values: np.ndarray) -> np.ndarray:
    """Return, for each row ``[L, ...]``, whether all of it is finite."""
    finite: np.ndarray = np.isfinite(values.reshape(len(values), -1)).all(1)
    return finite


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".strip().splitlines()[0]
