"""Behaviour policies over action values."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .distributions import inverse_cdf
from .parts import HasParts
from .rng import RandomStream

KINDS = ("epsilon_greedy", "boltzmann", "greedy")


def greedy(q: Tensor) -> Tensor:
    """Return the best action of ``q [..., A]``; the first of equals."""
    return q.argmax(-1)


class EpsilonGreedy(HasParts):
    """A uniform action with probability epsilon, else the best (Sutton and Barto 2.2).

    Coins and random actions stay on the host, so that a tick on which every seed explores costs no
    look at the values.

    Args:
        seeds: the K seeds. lanes: N. actions: A.
    """

    PARTS = ("coin", "random")

    def __init__(self, seeds: Sequence[int], lanes: int, actions: int) -> None:
        def action(u: np.ndarray) -> np.ndarray:
            # float32 rounds the largest draw times A up to A itself
            choice: np.ndarray = np.minimum(u * actions, actions - 1).astype(np.int64)
            return choice

        self.coin = RandomStream(seeds, "act/coin", (lanes,))
        self.random = RandomStream(seeds, "act/random", (lanes,), transform=action)

    def __call__(self, values: Callable[[], Tensor], epsilon: float) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``."""
        explores, action = self.coin.host() < epsilon, self.random.host()
        if not explores.all():
            action = np.where(explores, action, values().numpy(force=True).argmax(-1))
        return torch.from_numpy(action)


class Boltzmann(HasParts):
    """A sample from softmax(values / temperature) (Sutton and Barto 2.8).

    Args:
        seeds: the K seeds. lanes: N.
    """

    PARTS = ("draws",)

    def __init__(self, seeds: Sequence[int], lanes: int) -> None:
        self.draws = RandomStream(seeds, "act/softmax", (lanes, 1))

    def __call__(self, values: Callable[[], Tensor], temperature: float) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``, temperature > 0."""
        p = (values() / temperature).softmax(-1)
        return inverse_cdf(p, self.draws().to(p.device))


class Greedy(HasParts):
    """The best action; with noisy networks the noise explores."""

    def __call__(self, values: Callable[[], Tensor], level: float) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``."""
        return greedy(values())


Behaviour = EpsilonGreedy | Boltzmann | Greedy
