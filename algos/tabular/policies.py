"""Policies over action values, as probabilities: one form for acting, expecting and correcting.

All functions act on arrays that have the actions first, ``[A, ...]``. ``base [A, ...]`` is the
uniform distribution over the legal actions; an illegal one is worth -inf.
"""

import numpy as np
from numpy import ndarray as Array


def total(x: Array) -> Array:
    """Return the sum over the first axis, ``[...]``, added in its order.

    numpy's own sum would add in another order where the other axes are of length 1.
    """
    out: Array = x[0]
    for row in x[1:]:
        out = out + row
    return out


def expectation(q: Array, policy: Array) -> Array:
    """Return ``sum_a pi(a) q(a)``; what pi never takes does not count, even if it is -inf."""
    return total(policy * np.where(policy > 0, q, 0.0))


def greedy(q: Array) -> Array:
    """Return probabilities shared among the best of ``q [A, ...]``."""
    best: Array = (q >= q.max(0)).astype(np.float64)
    best /= best.sum(0)  # whole numbers: in any order
    return best


def uniform(legal: Array) -> Array:
    """Return probabilities shared among the actions that are ``legal [A, ...]``."""
    share: Array = legal.astype(np.float64)
    share /= share.sum(0)  # whole numbers: in any order
    return share


def epsilon_greedy(q: Array, base: Array, epsilon: Array | float) -> Array:
    """Return ``epsilon / A`` for every action and the rest for the best (S. and B. 2.2)."""
    return (1 - epsilon) * greedy(q) + epsilon * base


def boltzmann(q: Array, temperature: Array | float) -> Array:
    """Return ``softmax(q / temperature)`` (Sutton and Barto 2.8, over values)."""
    weight: Array = np.exp((q - q.max(0)) / temperature)
    weight /= total(weight)
    return weight


def optimism(q: Array, visits: Array, c: Array | float) -> Array:
    """Return ``q + c sqrt(ln t / n(a))``, infinite where untried (S. and B., equation 2.10)."""
    time = total(visits) + 1
    bonus = c * np.sqrt(np.log(time) / np.maximum(visits, 1.0))
    return q + np.where(visits > 0, bonus, np.where(q > -np.inf, np.inf, 0.0))


def probabilities(
    kind: str, q: Array, base: Array, level: Array | float, visits: Array | None = None
) -> Array:
    """Return the policy of that kind, ``[A, ...]``; ``visits`` is for "ucb".

    ``level`` is one number, or one for each state, ``[...]``.
    """
    if kind == "epsilon_greedy":
        return epsilon_greedy(q, base, level)
    if kind == "boltzmann":
        return boltzmann(q, level)
    if kind == "ucb":
        assert visits is not None
        return greedy(optimism(q, visits, level))
    return greedy(q) if kind == "greedy" else base


def sample(policy: Array, u: Array) -> Array:
    """Return the actions at which the distribution function passes ``u [...]`` in [0, 1)."""
    action, passed = np.zeros(u.shape, np.int64), np.zeros(u.shape)
    for chance in policy[:-1]:  # without the last one: rounding must not invent an action
        passed += chance
        action += passed <= u
    return action
