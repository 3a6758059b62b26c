"""Behaviour policies over action values."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from .distributions import inverse_cdf, inverse_cdf_of_possible
from .parts import HasParts
from .rng import RandomStream

KINDS = ("epsilon_greedy", "boltzmann", "greedy")


def greedy(q: Tensor) -> Tensor:
    """Return the best action of ``q [..., A]``; the first of equals."""
    return q.argmax(-1)


def _one_of(legal: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return actions ``[...]``, uniform over ``legal [..., A]``, from ``u [...]`` in [0, 1)."""
    count = legal.sum(-1)
    rank = (u * count).astype(np.int64)
    action: np.ndarray = (legal.cumsum(-1) > rank[..., None]).argmax(-1)
    return action


class EpsilonGreedy(HasParts):
    """A uniform action with probability epsilon, else the best (Sutton and Barto 2.2).

    Coins and random actions stay on the host, so that a tick on which every seed explores costs no
    look at the values.

    Args:
        seeds: the K seeds. lanes: N. actions: A.
        masked: whether calls say which actions are legal.
    """

    PARTS = ("coin", "random")

    def __init__(
        self, seeds: Sequence[int], lanes: int, actions: int, masked: bool = False
    ) -> None:
        def action(u: np.ndarray) -> np.ndarray:
            choice: np.ndarray = (u * actions).astype(np.int64)
            return choice

        self.coin = RandomStream(seeds, "act/coin", (lanes,))
        self.random = RandomStream(
            seeds, "act/random", (lanes,), transform=None if masked else action
        )

    def __call__(
        self, values: Callable[[], Tensor], epsilon: float, legal: Tensor | None = None
    ) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``, low where not ``legal``."""
        explores, action = self.coin.host() < epsilon, self.random.host()
        if legal is not None:
            action = _one_of(legal.numpy(force=True), action)
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

    def __call__(
        self, values: Callable[[], Tensor], temperature: float, legal: Tensor | None = None
    ) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``, temperature > 0."""
        p = (values() / temperature).softmax(-1)
        choose = inverse_cdf if legal is None else inverse_cdf_of_possible
        return choose(p, self.draws().to(p.device))


class Greedy(HasParts):
    """The best action; with noisy networks the noise explores."""

    def __call__(
        self, values: Callable[[], Tensor], level: float, legal: Tensor | None = None
    ) -> Tensor:
        """Return actions ``[K, N]``; ``values()`` gives ``[K, N, A]``."""
        return greedy(values())


Behaviour = EpsilonGreedy | Boltzmann | Greedy
