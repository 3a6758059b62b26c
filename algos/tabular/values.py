"""Action values of K seeds: a table, or the same as weights of one-hot features."""

import torch
from torch import Tensor


class Table:
    """``q [K, S, A]`` and how often each entry was learned.

    Args:
        k: seeds. states: S. actions: A (1 for state values). q0: initial value.
        alpha: step size; divided by the entry's visits, and at most 1, if ``by_visits``.
    """

    def __init__(
        self,
        k: int,
        states: int,
        actions: int,
        q0: float,
        alpha: float,
        by_visits: bool,
        device: torch.device,
    ) -> None:
        shape = (k, states, actions)
        self.q = torch.full(shape, q0, dtype=torch.float64, device=device)
        self.visits = torch.zeros(shape, dtype=torch.float64, device=device)
        self.alpha, self.by_visits = alpha, by_visits
        self._first_row = torch.arange(k, device=device) * states

    def row(self, s: Tensor) -> Tensor:
        """Return the flat numbers of states ``s [K]`` or ``[K, N]``."""
        return s + (self._first_row if s.ndim == 1 else self._first_row[:, None])

    def at(self, s: Tensor) -> Tensor:
        """Return all actions' values in ``s``, ``[K, A]`` or ``[K, N, A]``."""
        return self._take(self.q, self.row(s))

    def visits_at(self, s: Tensor) -> Tensor:
        """Return all actions' visits in ``s``, likewise."""
        return self._take(self.visits, self.row(s))

    @staticmethod
    def _take(table: Tensor, row: Tensor) -> Tensor:
        flat = table.view(-1, table.shape[-1])
        return flat.index_select(0, row.flatten()).view(*row.shape, table.shape[-1])

    def of(self, s: Tensor, a: Tensor) -> Tensor:
        """Return the values of one action each, ``[K]``."""
        return self.q.view(-1)[self.row(s) * self.q.shape[-1] + a]

    def learn(self, s: Tensor, a: Tensor, error: Tensor, where: Tensor) -> None:
        """Move the values of ``(s, a) [K]`` by a step of ``error [K]`` in the seeds ``where``."""
        entry = self.row(s) * self.q.shape[-1] + a
        count = self.visits.view(-1).index_add_(0, entry, where.to(self.visits.dtype))
        step = self._step(count[entry]) if self.by_visits else self.alpha
        change = torch.where(where, step * error, 0.0)
        self.q.view(-1).index_add_(0, entry, change)

    def learn_all(self, error: Tensor, trace: Tensor, s: Tensor, a: Tensor, where: Tensor) -> None:
        """Move all values by ``error [K]`` times ``trace [K, S, A]``; ``(s, a)`` is visited."""
        entry = self.row(s) * self.q.shape[-1] + a
        self.visits.view(-1).index_add_(0, entry, where.to(self.visits.dtype))
        step = self._step(self.visits) if self.by_visits else self.alpha
        self.q += step * torch.where(where, error, 0.0)[:, None, None] * trace

    def _step(self, visits: Tensor) -> Tensor:
        return (self.alpha / visits.clamp(min=1)).clamp(max=1.0)

    def tensors(self) -> dict[str, Tensor]:
        """Return what the values are made of."""
        return {"q": self.q, "visits": self.visits}


class Linear(Table):
    """``q(s, .) = x(s) w`` with one-hot features: the table by other means (S. and B. 9.4)."""

    def at(self, s: Tensor) -> Tensor:
        """Return all actions' values in ``s``, as products with the features."""
        return torch.einsum("k...s,ksa->k...a", self._features(s), self.q)

    def of(self, s: Tensor, a: Tensor) -> Tensor:
        """Return the values of one action each, ``[K]``."""
        return self.at(s).gather(-1, a[:, None])[:, 0]

    def learn(self, s: Tensor, a: Tensor, error: Tensor, where: Tensor) -> None:
        """Make a semi-gradient step: the gradient of q(s, a) is x(s) in action a's weights."""
        action = torch.nn.functional.one_hot(a, self.q.shape[-1]).to(self.q.dtype)
        gradient = self._features(s)[:, :, None] * action[:, None, :]
        self.learn_all(error, gradient, s, a, where)

    def _features(self, s: Tensor) -> Tensor:
        return torch.nn.functional.one_hot(s, self.q.shape[1]).to(self.q.dtype)
