"""Behaviour policies over action values; randomness comes in as uniform draws."""

import torch
from torch import Tensor

KINDS = ("epsilon_greedy", "boltzmann", "greedy")


def greedy(q: Tensor) -> Tensor:
    """Return the best action of ``q [..., A]``; the first of equals."""
    return q.argmax(-1)


def epsilon_greedy(q: Tensor, epsilon: float, u: Tensor) -> Tensor:
    """Return a uniform action with probability ``epsilon``, else the best (Sutton and Barto 2.2).

    Args:
        q: ``[..., A]`` action values.
        epsilon: in [0, 1].
        u: ``[..., 2]`` uniform draws: the coin, and the random action.
    """
    coin, which = u.unbind(-1)
    random_action = (which * q.shape[-1]).long()
    return torch.where(coin < epsilon, random_action, greedy(q))


def boltzmann(q: Tensor, temperature: float, u: Tensor) -> Tensor:
    """Sample from softmax(q / temperature) (Sutton and Barto 2.8).

    Args:
        q: ``[..., A]`` action values.
        temperature: > 0, in units of q.
        u: ``[..., 2]`` uniform draws, of which the first is used.
    """
    cdf = (q / temperature).softmax(-1).cumsum(-1)
    below = cdf[..., :-1] <= u[..., :1]  # without the last one: rounding must not invent an action
    return below.sum(-1)
