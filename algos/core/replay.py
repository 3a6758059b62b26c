"""Experience replay: one ring for K seeds and N lanes that stores every observation once.

Row t holds the observation of tick t and what followed; row t+1 holds its successor unless the
episode ended at t. A terminated successor is never read. A truncated one lies in a side table until
its row is overwritten. The slot at the write head holds the newest successor, so the newest row can
be sampled at once. An n-step window is gathered in one place: its return, its discount and its last
state cannot disagree.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from algos.core.agent import Step


class Batch(NamedTuple):
    """n-step transitions, each ``[K, B, ...]``."""

    obs: Tensor
    action: Tensor
    reward: Tensor  # discounted sum of the window's rewards
    discount: Tensor  # gamma^m for a window of m steps, 0 if it terminated
    next_obs: Tensor  # the state the window ends in; arbitrary where discount is 0


def torch_dtype(space: spaces.Box) -> torch.dtype:
    """Return how observations of a space are stored: bytes stay bytes, all else is float32."""
    if space.dtype == np.bool_:
        return torch.bool
    return torch.uint8 if space.dtype == np.uint8 else torch.float32


class Ring:
    """The last ``capacity`` transitions of each of K seeds.

    Args:
        k: seeds. lanes: N. obs_space: of one lane. action: shape and dtype of one lane's action.
        capacity: transitions per seed that can be sampled.
        n_step: longest window that ``gather`` will be asked for.
        gamma: discount per step.
    """

    def __init__(
        self,
        k: int,
        lanes: int,
        obs_space: spaces.Box,
        action: tuple[Sequence[int], torch.dtype],
        capacity: int,
        n_step: int,
        gamma: float,
        device: torch.device | str = "cpu",
    ) -> None:
        self.k, self.lanes, self.n_step, self.gamma = k, lanes, n_step, gamma
        self.rows = max(1, capacity // lanes) + n_step
        self.size = self.rows * lanes
        self.written = 0  # ticks ever stored
        shape = (k, self.rows, lanes)
        self.obs = torch.zeros(
            *shape, *obs_space.shape, dtype=torch_dtype(obs_space), device=device
        )
        self.action = torch.zeros(*shape, *action[0], dtype=action[1], device=device)
        # reward, terminated, ended: gathered together
        self.outcome = torch.zeros(*shape, 3, device=device)
        # Where a row was truncated: 1 + the running number of that truncation in its seed.
        self.truncation = torch.zeros(shape, dtype=torch.int64, device=device)
        self.truncated_obs = torch.zeros(
            k, 1, *obs_space.shape, dtype=self.obs.dtype, device=device
        )
        self._powers = torch.tensor([gamma**i for i in range(n_step + 1)], device=device)
        self._seed_offset = (torch.arange(k, device=device) * self.size).unsqueeze(1)

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
        self.obs[:, row] = step.obs
        self.obs[:, following] = step.next_obs
        self.action[:, row] = step.action
        outcome = (step.reward, step.terminated, step.terminated | step.truncated)
        self.outcome[:, row] = torch.stack([x.float() for x in outcome], -1)
        cut = step.truncated & ~step.terminated
        if self.truncated_obs.shape[1]:
            self.truncation[:, row] = 0
        if cut.any():
            self._keep_successors(row, cut, step.next_obs)
        self.written += 1

    def _keep_successors(self, row: int, cut: Tensor, next_obs: Tensor) -> None:
        """Put the successors of truncated lanes into the side table, itself a ring per seed.

        Rows are overwritten in the order in which they were written, so the live truncations of a
        seed are the last ones numbered: the table is a ring too, doubled when it is full.
        """
        flat = self.truncation.flatten(1)
        newest = flat.amax(1, keepdim=True)
        number = torch.where(cut, newest + cut.long().cumsum(1), 0)
        live = int((flat > 0).sum(1).max()) + cut.shape[1]
        if live > self.truncated_obs.shape[1]:
            self._grow(flat, 2 * live)
        self.truncation[:, row] = number
        k, lane = cut.nonzero(as_tuple=True)
        slots = number[k, lane] % self.truncated_obs.shape[1]
        self.truncated_obs[k, slots] = next_obs[k, lane].to(self.truncated_obs.dtype)

    def _grow(self, numbers: Tensor, size: int) -> None:
        old = self.truncated_obs
        self.truncated_obs = old.new_zeros(old.shape[0], size, *old.shape[2:])
        if not old.shape[1]:
            return
        k, i = numbers.nonzero(as_tuple=True)
        number = numbers[k, i]
        self.truncated_obs[k, number % size] = old[k, number % old.shape[1]]

    def gather(self, index: Tensor, n_step: int | None = None) -> Batch:
        """Return the windows of ``n_step`` steps that begin at ``index``.

        A window ends early where its episode ends.

        Args:
            index: ``[K, B]`` places in the ring, as a sampler returns them.
        """
        n = self.n_step if n_step is None else n_step
        # reward, terminated and ended of each step, [K, B], and whether the window reaches it
        outcome = self.outcome.view(-1, 3)
        reward, terminated, ended = self._rows(outcome, index).unbind(-1)
        returns, length = reward, torch.ones_like(index)
        alive = 1 - ended
        for i in range(1, n):
            r, d, e = self._rows(outcome, (index + i * self.lanes) % self.size).unbind(-1)
            returns = returns + self._powers[i] * alive * r
            terminated = terminated + alive * d
            length += alive.long()
            alive = alive * (1 - e)
        last = (index + (length - 1) * self.lanes) % self.size
        return Batch(
            self._rows(self.obs.flatten(0, 2), index),
            self._rows(self.action.flatten(0, 2), index),
            returns,
            self._powers[length] * (1 - terminated),
            self._successor(last, (1 - alive) * (1 - terminated)),
        )

    def _rows(self, flat: Tensor, index: Tensor) -> Tensor:
        """Return ``flat [K * size, ...]`` at places ``[K, B]``, as ``[K, B, ...]``."""
        rows = flat.index_select(0, (index + self._seed_offset).view(-1))
        return rows.view(*index.shape, *flat.shape[1:])

    def _successor(self, last: Tensor, cut: Tensor) -> Tensor:
        """Return what followed the rows at ``last [K, B]``; arbitrary behind a termination.

        Args:
            cut: ``[K, B]``, not zero where a truncation followed.
        """
        successor = self._rows(self.obs.flatten(0, 2), (last + self.lanes) % self.size)
        k, b = cut.nonzero(as_tuple=True)
        number = self.truncation.flatten(1)[k, last[k, b]]
        if len(k):
            successor[k, b] = self.truncated_obs[k, number % self.truncated_obs.shape[1]]
        return successor

    def latest(self) -> Tensor:
        """Return the places of the newest complete starts, one per lane, ``[K, N]``."""
        row = (self.written - self.n_step) % self.rows
        places = torch.arange(self.lanes, device=self.obs.device) + row * self.lanes
        return places.expand(self.k, -1)

    def state(self) -> dict:
        """Return the content; only rows that were ever written."""
        used = min(self.written + 1, self.rows)
        rows = ("obs", "action", "outcome", "truncation")
        state = {name: getattr(self, name)[:, :used] for name in rows}
        return state | {"truncated_obs": self.truncated_obs, "written": self.written}

    def load(self, state: dict) -> None:
        """Continue from what ``state`` returned."""
        self.written = state["written"]
        used = min(self.written + 1, self.rows)
        for name in ("obs", "action", "outcome", "truncation"):
            getattr(self, name)[:, :used] = state[name]
        self.truncated_obs = state["truncated_obs"].to(self.obs.device).clone()
