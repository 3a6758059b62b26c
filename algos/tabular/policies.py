"""Policies over action values, as probabilities: one form for acting, expecting and correcting.

All functions act on any leading axes. ``base [..., A]`` is the uniform distribution over the legal
actions, or one number for all.
"""

import torch
from torch import Tensor

Base = Tensor | float


def greedy(q: Tensor) -> Tensor:
    """Return probabilities shared among the best of ``q [..., A]``."""
    best = q >= q.amax(-1, keepdim=True)
    return best / best.sum(-1, keepdim=True, dtype=q.dtype)


def epsilon_greedy(q: Tensor, base: Base, epsilon: float) -> Tensor:
    """Return ``epsilon / A`` for every action and the rest for the best (S. and B. 2.2)."""
    return (1 - epsilon) * greedy(q) + epsilon * base


def boltzmann(q: Tensor, temperature: float) -> Tensor:
    """Return ``softmax(q / temperature)`` (Sutton and Barto 2.8, over values)."""
    return (q / temperature).softmax(-1)


def optimism(q: Tensor, visits: Tensor, c: float) -> Tensor:
    """Return ``q + c sqrt(ln t / n(a))``, infinite where untried (S. and B., equation 2.10)."""
    time = visits.sum(-1, keepdim=True) + 1
    bonus = c * (time.log() / visits).sqrt()
    return torch.where(visits > 0, q + bonus, torch.inf)


def probabilities(
    kind: str, q: Tensor, base: Base, level: float, visits: Tensor | None = None
) -> Tensor:
    """Return the policy of that kind, ``[..., A]``; ``visits`` is for "ucb"."""
    if kind == "epsilon_greedy":
        return epsilon_greedy(q, base, level)
    if kind == "boltzmann":
        return boltzmann(q, level)
    if kind == "ucb":
        assert visits is not None
        return greedy(optimism(q, visits, level))
    return greedy(q) if kind == "greedy" else torch.zeros_like(q) + base


def sample(policy: Tensor, u: Tensor) -> Tensor:
    """Return the actions at which the distribution function passes ``u [...]`` in [0, 1)."""
    cdf = policy.cumsum(-1)[..., :-1]  # without the last one: rounding must not invent an action
    return (cdf <= u[..., None]).sum(-1)
