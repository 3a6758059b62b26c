"""K seeds x N lanes of a tabular model, all stepped at once by table look-up.

Interface and semantics are those of ``SeedVecEnv``: no autoreset, true successors, independent
seeds. Outcomes follow the model; tests compare them with Gymnasium's environments. Every step draws
two numbers per lane, one for the outcome and one for a start, whether needed or not. So a lane's
randomness depends only on its position in the stream.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from gymnasium import spaces

from prism.algos.core.agent import State
from prism.algos.core.mdp import MDP, MODEL
from prism.algos.core.rng import RandomStream
from prism.algos.core.states import one_hots

from ..util.errors import ConfigError
from . import outside
from .config import EnvConfig
from .episodes import TRAINING
from .make import horizon_of, make_env, tabular_facts
from .native import FEWEST, NativeVecEnv, physics_of
from .vector import RESETS, SeedVecEnv, VecStep
from .wrappers import TrainingReward, close

_REASON_BYTES = 400  # of a failure's reason in a saved state
_NONE = np.empty(0, np.int64)


class TableVecEnv:
    """A vector environment of K seeds x N lanes that follows a model.

    Args:
        model: the MDP.
        action_space: of one lane.
        horizon: steps after which an episode is truncated; None = never.
        seeds, lanes, reset, purpose: as in ``SeedVecEnv``.
        masked: whether to append the mask of the model's legal actions to observations.

    Attributes:
        anew: as in ``SeedVecEnv``; empty, since a table repeats.
        failed: seed index -> why the seed failed.
    """

    anew: frozenset[int] = frozenset()

    def __init__(
        self,
        model: MDP,
        action_space: spaces.Space,
        horizon: int | None,
        seeds: Sequence[int],
        lanes: int,
        *,
        reset: str = "each",
        purpose: str = TRAINING,
        masked: bool = False,
    ) -> None:
        if reset not in RESETS:
            raise ConfigError(f"algo.reset: {reset!r} is not one of {', '.join(RESETS)}")
        self.seeds, self.lanes, self.mode, self.purpose = tuple(seeds), lanes, reset, purpose
        self.model, self.action_space = model, action_space
        self._limit = np.iinfo(np.int64).max if horizon is None else horizon
        self._grid = (len(self.seeds), lanes)
        self._actions, self._branches = model.actions, model.probability.shape[2]
        # float32, like the draws; a draw at or above the cumulative probability passes the branch
        cdf = model.probability.cumsum(-1)[..., :-1].astype(np.float32)
        rows = model.states * model.actions
        self._cdf = np.ascontiguousarray(cdf.reshape(rows, cdf.shape[2]).T)  # [B - 1, S * A]
        self._successor, self._reward, self._terminal = (
            np.ascontiguousarray(x).reshape(-1)
            for x in (model.successor, model.reward, model.terminal)
        )
        self._std = None if model.reward_std is None else model.reward_std.reshape(-1)
        self._start_cdf = model.start.cumsum()[:-1].astype(np.float32)
        self._looks = one_hots(model)
        if masked:
            assert model.legal is not None
            self._looks = np.concatenate([self._looks, model.legal], 1, dtype=np.float32)
        self.obs_space = spaces.Box(0.0, 1.0, self._looks.shape[1:])
        self._clear()

    def _clear(self) -> None:
        total = len(self.seeds) * self.lanes
        self.failed: dict[int, str] = {}
        self._running = np.ones(total, bool)  # lanes of seeds that are stepped
        self._draws = RandomStream(self.seeds, f"{self.purpose}/table", (self.lanes, 2))
        self._noise = RandomStream(
            self.seeds, f"{self.purpose}/reward", (self.lanes,), kind="normal"
        )
        self._s = np.zeros(total, np.int64)
        self._length, self._return = np.zeros(total, np.int64), np.zeros(total)
        self._ended = np.ones(total, bool)
        self._obs = np.zeros((*self._grid, *self.obs_space.shape), np.float32)
        self._finished: list[tuple[np.ndarray, ...]] = []  # (lanes, returns, lengths) of a step
        self._due = _NONE
        self._u = self._draw()
        self._refresh()

    def _draw(self) -> np.ndarray:
        return self._draws.host().reshape(-1, 2)

    def reset(self, seeds: np.ndarray | None = None) -> np.ndarray:
        """Restart every lane at its first episode; return observations ``[K, N, obs]``.

        Args:
            seeds: ``[K]`` bool, which seeds are stepped from now on; None = all.
        """
        self._clear()
        if seeds is not None:
            self._running = np.repeat(seeds, self.lanes)
            self._refresh()
        return self.begin()

    def begin(self) -> np.ndarray:
        """Start the episodes that are due; return the observations to act on ``[K, N, obs]``.

        If none is due, this is the last ``next_obs`` itself, otherwise a new array.
        """
        due = self._due
        if len(due):
            u = self._u[:, 1]
            if self.mode == "shared":  # all lanes of a seed use the first lane's draw
                u = np.repeat(u[:: self.lanes], self.lanes)
            s = self._start_cdf.searchsorted(u.take(due), side="right")
            self._s[due], self._length[due], self._return[due] = s, 0, 0.0
            self._ended[due] = False
            if self._all_live:
                self._due = _NONE
            else:
                self._refresh()
            self._obs = self._obs.copy()
            self._obs.reshape(len(self._s), -1)[due] = self._looks.take(s, 0)
        return self._obs

    def _refresh(self) -> None:
        """Recompute which lanes are due to start and which are live."""
        due = self._ended
        if self.mode != "each":
            due = np.repeat(due.reshape(self._grid).all(1), self.lanes)
        self._due = (due & self._running).nonzero()[0]
        self._live = self._running & ~self._ended
        self._all_live = bool(self._live.all())

    def step(self, action: np.ndarray) -> VecStep:
        """Step every live lane; ``action [K, N]`` int64."""
        row = self._s * self._actions + action.reshape(-1)
        u, branch = self._u[:, 0], row * self._branches
        for cdf in self._cdf:
            branch += u >= cdf.take(row)
        self._u = self._draw()
        live, grid = self._live, self._grid
        reward = self._reward.take(branch)
        if self._std is not None:
            reward += self._std.take(branch) * self._noise.host().reshape(-1)
        terminated = self._terminal.take(branch)
        successor = self._successor.take(branch)
        if not self._all_live:
            successor = np.where(live, successor, self._s)
            reward, terminated = np.where(live, reward, 0.0), terminated & live
        self._s = successor
        self._length += live
        self._return += reward
        truncated = (self._length >= self._limit) & live & ~terminated
        over = (terminated | truncated).nonzero()[0]
        if len(over):
            self._finished.append((over, self._return.take(over), self._length.take(over)))
            self._ended[over] = True
            if self.mode == "each" and self._running.all():  # ended lanes restart before the next
                self._due = over
            else:
                self._refresh()
        self._obs = self._looks.take(successor, 0).reshape(*grid, -1)
        return VecStep(
            self._obs,
            reward.astype(np.float32).reshape(grid),
            terminated.reshape(grid),
            truncated.reshape(grid),
            live.reshape(grid),
        )

    def drain(self, due: np.ndarray | None = None) -> list[list[tuple[float, int]]]:
        """Return, per seed, (return, length) of the episodes that ended since the last call.

        Args:
            due: as in ``SeedVecEnv.drain``.
        """
        if not self._finished:
            return [[] for _ in self.seeds]
        over, returns, lengths = (np.concatenate(x) for x in zip(*self._finished, strict=True))
        self._finished = []
        seed = over // self.lanes
        if due is not None and not due.all():
            mine = due[seed]
            self._finished = [(over[~mine], returns[~mine], lengths[~mine])]
            seed, returns, lengths = seed[mine], returns[mine], lengths[mine]
        order = seed.argsort(kind="stable")  # by seed, in the order in which they ended
        pairs = list(zip(returns[order].tolist(), lengths[order].tolist(), strict=True))
        ends = seed[order].searchsorted(np.arange(len(self.seeds) + 1)).tolist()
        return [pairs[a:b] for a, b in pairwise(ends)]

    def fail(self, k: int, reason: str) -> None:
        """Mark the seed of index ``k`` as failed: its lanes are not stepped again."""
        self.failed.setdefault(k, reason)
        self.stop(k)

    def stop(self, k: int) -> None:
        """Step the lanes of the seed of index ``k`` no more."""
        rows = slice(k * self.lanes, (k + 1) * self.lanes)
        self._length[rows], self._return[rows], self._ended[rows] = 0, 0.0, True
        self._running[rows] = False
        self._refresh()

    def close(self) -> None:
        """Do nothing; for compatibility with ``SeedVecEnv``."""

    def state(self) -> State:
        """Return the state of every lane and the positions in the random streams."""
        episodes = self.drain()
        counts = [len(done) for done in episodes]
        finished = np.zeros((len(self.seeds), max(counts), 2))
        reasons = np.zeros((len(self.seeds), _REASON_BYTES), np.uint8)
        for k, done in enumerate(episodes):
            finished[k, : counts[k]] = np.reshape(done, (-1, 2))
            text = np.frombuffer(self.failed.get(k, "").encode()[:_REASON_BYTES], np.uint8)
            reasons[k, : len(text)] = text
        self._put_back(finished, counts)
        per_lane = {
            "s": self._s,
            "length": self._length,
            "return": self._return,
            "ended": self._ended,
            "u": self._u,
            "obs": self._obs.reshape(len(self._s), -1),
        }
        arrays = {name: x.reshape(*self._grid, *x.shape[1:]) for name, x in per_lane.items()}
        arrays |= {"finished": finished, "finished_count": np.array(counts), "failed": reasons}
        tensors: State = {name: torch.from_numpy(array.copy()) for name, array in arrays.items()}
        return tensors | {"draws": self._draws.state(), "noise": self._noise.state()}

    def _put_back(self, finished: np.ndarray, counts: Sequence[int]) -> None:
        for k, count in enumerate(counts):
            if count:
                lanes = np.full(count, k * self.lanes)
                returns, lengths = finished[k, :count].T
                self._finished.append((lanes, returns.copy(), lengths.astype(np.int64)))

    def load(self, state: State) -> None:
        """Restore what ``state`` returned."""
        self._clear()
        total = len(self._s)

        def flat(name: str) -> np.ndarray:
            array: np.ndarray = state[name].numpy().copy()
            return array.reshape(total, *array.shape[2:])

        self._s, self._length, self._return = flat("s"), flat("length"), flat("return")
        self._ended, self._u = flat("ended"), flat("u")
        self._obs = state["obs"].numpy().copy()
        self._put_back(state["finished"].numpy(), state["finished_count"].tolist())
        for k, text in enumerate(state["failed"].numpy()):
            if text.any():
                self.failed[k] = bytes(text[text > 0]).decode(errors="ignore")
                self._running[k * self.lanes : (k + 1) * self.lanes] = False
        self._draws.load(state["draws"])
        self._noise.load(state["noise"])
        self._refresh()


def vector_env(
    config: EnvConfig,
    seeds: Sequence[int],
    lanes: int,
    *,
    gamma: float = 1.0,
    training: bool = True,
    reset: str = "each",
    purpose: str = TRAINING,
) -> TableVecEnv | SeedVecEnv:
    """Return K seeds x N lanes of an environment, stepped all at once if possible.

    That is by its tabular model, or in its native form. ``SeedVecEnv``, whose arguments these are,
    runs everything else: environments without either, or with wrappers that stack observations,
    change the training reward or come from other packages.
    """
    extra = outside.applied(config.wrappers.extra, training)
    if config.table and not extra and not (training and TrainingReward.wanted(config.wrappers)):
        env = make_env(config, training=False)
        model = tabular_facts(config, env).get(MODEL)
        close(env)
        if model is not None and not (config.masks and model.legal is None):
            horizon = horizon_of(config)
            return TableVecEnv(
                model,
                env.action_space,
                horizon,
                seeds,
                lanes,
                reset=reset,
                purpose=purpose,
                masked=config.masks,
            )
    physics = physics_of(config, training)
    if physics is not None and len(seeds) * lanes >= FEWEST:
        return NativeVecEnv(
            physics, config, seeds, lanes, training=training, reset=reset, purpose=purpose
        )
    return SeedVecEnv(
        config, seeds, lanes, gamma=gamma, training=training, reset=reset, purpose=purpose
    )
