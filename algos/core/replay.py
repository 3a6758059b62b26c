"""Experience replay: one ring for K seeds and N lanes that stores every observation once.

Row t holds the observation of tick t and what followed; row t+1 holds its successor unless the
episode ended at t. A terminated successor is never read. A truncated one lies in a side table until
its row is overwritten. The slot at the write head holds the newest successor, so the newest row can
be sampled at once. An n-step window is gathered in one place: its return, its discount and its last
state cannot disagree.

The ring lies in the host's memory, where environments write and where there is room for it; only
gathered batches go to the device.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from .agent import State, Step

_ROWS = ("obs", "action", "outcome", "truncation")


class Batch(NamedTuple):
    """n-step transitions, each ``[K, B, ...]``."""

    obs: Tensor
    action: Tensor
    reward: Tensor  # discounted sum of the window's rewards
    discount: Tensor  # gamma^m for a window of m steps, 0 if it terminated
    next_obs: Tensor  # the state the window ends in; arbitrary where discount is 0


class Sequences(NamedTuple):
    """Steps of a lane around a start, ``[K, T, B, ...]``: a burn-in, then what is learned from."""

    steps: Batch  # one-step transitions
    begins: Tensor  # bool: what came before this step is another episode's, or not known
    valid: Tensor  # float32: 1 from the start to its episode's end, else 0


def stored_dtype(space: spaces.Box) -> type[np.generic]:
    """Return how observations of a space are stored: bytes stay bytes, all else is float32."""
    if space.dtype == np.bool_:
        return np.bool_
    return np.uint8 if space.dtype == np.uint8 else np.float32


class ReplayBuffer:
    """The last ``capacity`` transitions of each of K seeds.

    Args:
        k: seeds. lanes: N. obs_space: of one lane. action: shape and dtype of one lane's action.
        capacity: transitions per seed that can be sampled.
        n_step: longest window that ``gather`` will be asked for.
        gamma: discount per step.
        device: where gathered batches are wanted.
    """

    def __init__(
        self,
        k: int,
        lanes: int,
        obs_space: spaces.Box,
        action: tuple[Sequence[int], type[np.generic]],
        capacity: int,
        n_step: int,
        gamma: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.k, self.lanes, self.n_step, self.device = k, lanes, n_step, torch.device(device)
        self.rows = max(1, capacity // lanes) + n_step
        self.size = self.rows * lanes
        self.written = 0  # ticks ever stored
        shape = (k, self.rows, lanes)
        self.obs = np.zeros((*shape, *obs_space.shape), stored_dtype(obs_space))
        self.action = np.zeros((*shape, *action[0]), action[1])
        # reward, terminated, ended: gathered together
        self.outcome = np.zeros((*shape, 3), np.float32)
        # Where a row was truncated: 1 + the running number of that truncation in its seed.
        self.truncation = np.zeros(shape, np.int64)
        self.truncated_obs = np.zeros((k, 0, *obs_space.shape), self.obs.dtype)
        self._powers = np.array([gamma**i for i in range(n_step + 1)], np.float32)
        self._seed_offset = np.arange(k)[:, None] * self.size

    def __len__(self) -> int:
        """Return how many starts per seed can be sampled."""
        complete = max(0, self.written - self.n_step + 1)
        return min(complete, self.rows - self.n_step) * self.lanes

    @property
    def oldest(self) -> int:
        """Running number of the oldest start that can be sampled."""
        return max(0, self.written - self.rows + 1) * self.lanes

    def add(self, step: Step) -> None:
        """Store one tick of all seeds and lanes."""
        row, following = self.written % self.rows, (self.written + 1) % self.rows
        next_obs = step.next_obs.numpy(force=True)
        terminated, truncated = step.terminated.numpy(force=True), step.truncated.numpy(force=True)
        ended = terminated | truncated
        self.obs[:, row] = step.obs.numpy(force=True)
        self.obs[:, following] = next_obs
        self.action[:, row] = step.action.numpy(force=True)
        outcome = self.outcome[:, row]
        outcome[..., 0] = step.reward.numpy(force=True)
        outcome[..., 1] = terminated
        outcome[..., 2] = ended
        self.truncation[:, row] = 0
        if ended.any():
            self._keep_successors(row, truncated & ~terminated, next_obs)
        self.written += 1

    def _keep_successors(self, row: int, cut: np.ndarray, next_obs: np.ndarray) -> None:
        """Put the successors of truncated lanes into the side table, itself a ring per seed.

        Rows are overwritten in the order in which they were written, so the live truncations of a
        seed are the last ones numbered: the table is a ring too, doubled when it is full.
        """
        if not cut.any():
            return
        flat = self.truncation.reshape(self.k, -1)
        newest = flat.max(1, keepdims=True)
        live = int((flat > 0).sum(1).max()) + self.lanes
        if live > self.truncated_obs.shape[1]:
            self._grow(flat, 2 * live)
        self.truncation[:, row] = number = np.where(cut, newest + cut.cumsum(1), 0)
        k, lane = cut.nonzero()
        self.truncated_obs[k, number[k, lane] % self.truncated_obs.shape[1]] = next_obs[k, lane]

    def _grow(self, numbers: np.ndarray, size: int) -> None:
        old = self.truncated_obs
        self.truncated_obs = np.zeros((self.k, size, *old.shape[2:]), old.dtype)
        k, i = numbers.nonzero()
        number = numbers[k, i]
        if len(k):
            self.truncated_obs[k, number % size] = old[k, number % old.shape[1]]

    def gather(self, index: Tensor, n_step: int | None = None) -> Batch:
        """Return the windows of ``n_step`` steps that begin at ``index``.

        A window ends early where its episode ends.

        Args:
            index: ``[K, B]`` places in the ring, as a sampler returns them.
        """
        n = self.n_step if n_step is None else n_step
        start = index.numpy(force=True)
        returns, terminated, ended = np.moveaxis(self._take(self.outcome, start), -1, 0)
        length, alive = np.ones_like(start), 1 - ended
        for i in range(1, n):  # alive: whether the window reaches step i
            step = self._take(self.outcome, (start + i * self.lanes) % self.size)
            reward, terminates, ends = np.moveaxis(step, -1, 0)
            returns = returns + self._powers[i] * alive * reward
            terminated = terminated + alive * terminates
            length += alive.astype(np.int64)
            alive = alive * (1 - ends)
        last = (start + (length - 1) * self.lanes) % self.size
        arrays = (
            self._take(self.obs, start),
            self._take(self.action, start),
            np.ascontiguousarray(returns),
            self._powers[length] * (1 - terminated),
            self._successor(last, (1 - alive) * (1 - terminated)),
        )
        return Batch(*(torch.from_numpy(x).to(self.device) for x in arrays))

    def _take(self, rows: np.ndarray, place: np.ndarray) -> np.ndarray:
        """Return ``rows [K, T, N, ...]`` at places ``[K, B]``, as ``[K, B, ...]``."""
        flat = rows.reshape(self.k * self.size, *rows.shape[3:])
        return flat.take(place + self._seed_offset, axis=0)

    def _successor(self, last: np.ndarray, cut: np.ndarray) -> np.ndarray:
        """Return what followed the rows at ``last [K, B]``; arbitrary behind a termination.

        Args:
            cut: ``[K, B]``, not zero where a truncation followed.
        """
        successor = self._take(self.obs, (last + self.lanes) % self.size)
        k, b = cut.nonzero()
        if len(k):
            number = self.truncation.reshape(self.k, -1)[k, last[k, b]]
            successor[k, b] = self.truncated_obs[k, number % self.truncated_obs.shape[1]]
        return successor

    def gather_sequences(self, index: Tensor, burn_in: int, length: int) -> Sequences:
        """Return ``length`` steps from each start on, and the ``burn_in`` steps before it.

        Steps of the burn-in may be of an earlier episode: ``begins`` parts them.

        Args:
            index: ``[K, B]`` places in the ring, as a sampler returns them.
        """
        row, lane = np.divmod(index.numpy(force=True)[:, None], self.lanes)
        oldest = self.oldest // self.lanes
        tick = oldest + (row - oldest) % self.rows + np.arange(-burn_in, length)[:, None]
        place = tick % self.rows * self.lanes + lane
        flat = place.reshape(len(place), -1)
        before = (flat - self.lanes) % self.size
        over = self._take(self.outcome, before)[..., 2].reshape(place.shape) > 0
        lasts = ~over[:, burn_in + 1 :]  # the start's episode goes on to this step
        valid = np.zeros(place.shape, np.float32)
        valid[:, burn_in] = 1
        valid[:, burn_in + 1 :] = np.logical_and.accumulate(lasts, 1)
        valid *= tick < self.written
        steps = self.gather(torch.from_numpy(flat), 1)
        return Sequences(
            Batch(*(x.view(*place.shape, *x.shape[2:]) for x in steps)),
            torch.from_numpy(over | (tick <= oldest)).to(self.device),
            torch.from_numpy(valid).to(self.device),
        )

    def latest(self) -> Tensor:
        """Return the places of the newest complete starts, one per lane, ``[K, N]``."""
        row = (self.written - self.n_step) % self.rows
        return (torch.arange(self.lanes) + row * self.lanes).expand(self.k, -1)

    def state(self) -> State:
        """Return the content; only rows that were ever written."""
        used = min(self.written + 1, self.rows)
        state: State = {name: torch.from_numpy(getattr(self, name))[:, :used] for name in _ROWS}
        state["truncated_obs"] = torch.from_numpy(self.truncated_obs)
        return state | {"written": self.written}

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""
        self.written = state["written"]
        used = min(self.written + 1, self.rows)
        for name in _ROWS:
            getattr(self, name)[:, :used] = state[name].numpy(force=True)
        self.truncated_obs = state["truncated_obs"].numpy(force=True).copy()
