"""Behaviour policies over action values."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .distributions import inverse_cdf
from .rng import RandomStream

KINDS = ("epsilon_greedy", "boltzmann", "greedy")


def greedy(q: Tensor) -> Tensor:
    """Return the best action of ``q [..., A]``; the first of equals."""
    return q.argmax(-1)


class EpsilonGreedy:
    """A uniform action with probability epsilon, else the best (Sutton and Barto 2.2).

    Coins and random actions stay on the host, so that a tick on which every seed explores costs no
    look at the values.

    Args:
        seeds: the K seeds. lanes: N. actions: A.
    """

    def __init__(self, seeds: Sequence[int], lanes: int, actions: int) -> None:
        def action(u: np.ndarray) -> np.ndarray:
            # float32 rounds the largest draw times A up to A itself
            chosen: np.ndarray = np.minimum(u * actions, actions - 1).astype(np.int64)
            return chosen

        self._coin = RandomStream(seeds, "act/coin", (lanes,))
        self._random = RandomStream(seeds, "act/random", (lanes,), transform=action)

    def __call__(self, values: Callable[[], Tensor], epsilon: float) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``."""
        explores, action = self._coin.host() < epsilon, self._random.host()
        if not explores.all():
            action = np.where(explores, action, values().numpy(force=True).argmax(-1))
        return torch.from_numpy(action)

    def streams(self) -> dict[str, RandomStream]:
        """Return the random streams, which belong to the agent's state."""
        return {draws.purpose: draws for draws in (self._coin, self._random)}


class Boltzmann:
    """A sample from softmax(values / temperature) (Sutton and Barto 2.8).

    Args:
        seeds: the K seeds. lanes: N.
    """

    def __init__(self, seeds: Sequence[int], lanes: int) -> None:
        self._draws = RandomStream(seeds, "act/softmax", (lanes, 1))

    def __call__(self, values: Callable[[], Tensor], temperature: float) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``, temperature > 0."""
        p = (values() / temperature).softmax(-1)
        return inverse_cdf(p, self._draws().to(p.device))

    def streams(self) -> dict[str, RandomStream]:
        """Return the random stream, which belongs to the agent's state."""
        return {self._draws.purpose: self._draws}


class Greedy:
    """The best action; with noisy networks the noise explores."""

    def __call__(self, values: Callable[[], Tensor], level: float) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``."""
        return greedy(values())

    def streams(self) -> dict[str, RandomStream]:
        """Return nothing: there is nothing random here."""
        return {}


Behaviour = EpsilonGreedy | Boltzmann | Greedy
