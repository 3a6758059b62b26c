"""Action values of K seeds: a table, or the same as weights of one-hot features.

Everything of this family is numpy on the host: a tick looks up a few numbers a seed, and a numpy
call costs a third of a torch operation. What is stored leads with K; what is looked up has the
actions first, ``[A, K]`` or ``[A, K, N]``, since numpy reduces a short last axis number by number.
"""

import numpy as np
from numpy import ndarray as Array

from ..core.parts import HasParts


class Table(HasParts):
    """``q [K, S, A]`` and how often each entry was learned.

    Args:
        k: seeds. states: S. actions: A (1 for state values). q0: initial value.
        alpha: step size; divided by the entry's visits, and at most 1, if ``by_visits``.
        legal: ``[K, S, A]`` bool, what ``mark`` was told of so far; None: it is never told. Illegal
            actions are worth -inf to who asks.
    """

    PARTS = ("q", "visits", "legal")

    def __init__(
        self,
        k: int,
        states: int,
        actions: int,
        q0: float,
        alpha: float,
        by_visits: bool,
        legal: Array | None = None,
    ) -> None:
        self.legal, self._seeds = legal, np.arange(k)
        self._bars = legal is not None and legal.shape[2] == actions  # not so: state values
        self.q, self.visits = np.full((k, states, actions), q0), np.zeros((k, states, actions))
        self.alpha, self.by_visits = alpha, by_visits
        self._q, self._visits = self.q.reshape(-1), self.visits.reshape(-1)  # views
        self._actions = actions
        self._first = np.arange(k) * (states * actions)  # a seed's first entry
        rows = self._first + np.arange(actions)[:, None]
        self._first_row = {1: rows, 2: rows[:, :, None]}  # of a seed, by the dimensions of s

    def entry(self, s: Array, a: Array) -> Array:
        """Return the flat places of ``(s, a)``, ``[K]``."""
        place: Array = s * self._actions + self._first + a
        return place

    def at(self, s: Array) -> Array:
        """Return all actions' values in ``s``, ``[A, K]`` or ``[A, K, N]``."""
        values: Array = self._q.take(s * self._actions + self._first_row[s.ndim])
        return np.where(self.legal_at(s), values, -np.inf) if self._bars else values

    def mark(self, s: Array, legal: Array) -> None:
        """Remember what is ``legal [K, N, A]`` in ``s [K, N]``."""
        assert self.legal is not None
        self.legal[self._seeds[:, None], s] = legal

    def legal_at(self, s: Array) -> Array:
        """Return what is legal in ``s``, as far as is known, ``[A, K]`` or ``[A, K, N]``."""
        assert self.legal is not None
        seeds = self._seeds.reshape(-1, *[1] * (s.ndim - 1))
        return np.moveaxis(self.legal[seeds, s], -1, 0)

    def all(self) -> Array:
        """Return the values of all states, ``[K, S, A]``."""
        if self.legal is None or not self._bars:
            return self.q
        return np.where(self.legal, self.q, -np.inf)

    def visits_at(self, s: Array) -> Array:
        """Return all actions' visits in ``s``, likewise."""
        visits: Array = self._visits.take(s * self._actions + self._first_row[s.ndim])
        return visits

    def of(self, s: Array, a: Array) -> Array:
        """Return the values of one action each, ``[K]``."""
        return self._q.take(self.entry(s, a))

    def learn(self, s: Array, a: Array, error: Array, where: Array) -> None:
        """Move the values of ``(s, a) [K]`` by a step of ``error [K]`` in the seeds ``where``."""
        entry = self.entry(s, a)
        self._visits[entry] += where
        step = self._step(self._visits.take(entry)) if self.by_visits else self.alpha
        self._q[entry] += np.where(where, step * error, 0.0)

    def learn_all(self, error: Array, trace: Array, s: Array, a: Array, where: Array) -> None:
        """Move all values by ``error [K]`` times ``trace [K, S, A]``; ``(s, a)`` is visited."""
        self._visits[self.entry(s, a)] += where
        step = self._step(self.visits) if self.by_visits else self.alpha
        self.q += step * np.where(where, error, 0.0)[:, None, None] * trace

    def _step(self, visits: Array) -> Array:
        step: Array = np.minimum(self.alpha / np.maximum(visits, 1.0), 1.0)
        return step


class Linear(Table):
    """``q(s, .) = x(s) w`` with one-hot features: the table by other means (S. and B. 9.4)."""

    def at(self, s: Array) -> Array:
        """Return all actions' values in ``s``, as products with the features."""
        values: Array = np.einsum("k...s,ksa->ak...", self._features(s), self.q)
        return values

    def of(self, s: Array, a: Array) -> Array:
        """Return the values of one action each, ``[K]``."""
        values: Array = np.take_along_axis(self.at(s), a[None], 0)[0]
        return values

    def learn(self, s: Array, a: Array, error: Array, where: Array) -> None:
        """Make a semi-gradient step: the gradient of q(s, a) is x(s) in action a's weights."""
        action = np.eye(self._actions)[a]
        gradient = self._features(s)[:, :, None] * action[:, None, :]
        self.learn_all(error, gradient, s, a, where)

    def _features(self, s: Array) -> Array:
        features: Array = np.eye(self.q.shape[1])[s]
        return features
