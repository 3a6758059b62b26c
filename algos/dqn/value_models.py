"""What the last axis of a value network means: a number, a distribution on atoms, or quantiles.

A model offers ``atoms`` (Z), ``mean``, ``target`` and ``loss``; nothing else in DQN knows which it
is.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor

from ..core.nets import per_seed
from ..formulas import distributional, td


class ValueModel(Protocol):
    """The meaning of the last axis of a network's output."""

    atoms: int

    def mean(self, out: Tensor) -> Tensor:
        """Return expected values, ``[..., Z] -> [...]``."""

    def target(self, reward: Tensor, discount: Tensor, out: Tensor) -> Tensor:
        """Return the learning target; ``out [..., Z]`` is the output for the next state."""

    def loss(self, out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss per sample and its priority, both ``[...]``."""

    def diagnostics(self, reward: Tensor, discount: Tensor, out: Tensor) -> dict[str, Tensor]:
        """Return what this model alone can tell of a batch of targets, ``[K]`` each."""


class Scalar:
    """An action value (Mnih et al. 2015); the priority is |TD error| (Schaul et al. 2016)."""

    atoms = 1

    def __init__(self, error_loss: Callable[[Tensor], Tensor]) -> None:
        self._error_loss = error_loss

    def mean(self, out: Tensor) -> Tensor:
        """Return the value itself."""
        return out.squeeze(-1)

    def target(self, reward: Tensor, discount: Tensor, out: Tensor) -> Tensor:
        """Return ``reward + discount * value``."""
        return td.bootstrap(reward, discount, out.squeeze(-1))

    def loss(self, out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the loss of the TD error, and its magnitude."""
        error = target - out.squeeze(-1)
        return self._error_loss(error), error.detach().abs()

    def diagnostics(self, reward: Tensor, discount: Tensor, out: Tensor) -> dict[str, Tensor]:
        """Return nothing: a number has no support to clip at."""
        return {}


class Categorical:
    """C51: probabilities of atoms on a fixed support (Bellemare et al. 2017).

    The priority is the KL divergence from the target, as in Rainbow (Hessel et al. 2018).
    """

    def __init__(self, atoms: int, v_min: float, v_max: float, device: torch.device) -> None:
        self.atoms, self.v_min, self.v_max = atoms, v_min, v_max
        self.support = torch.linspace(v_min, v_max, atoms, device=device)

    def mean(self, out: Tensor) -> Tensor:
        """Return the expectation over the support."""
        return (out.softmax(-1) * self.support).sum(-1)

    def target(self, reward: Tensor, discount: Tensor, out: Tensor) -> Tensor:
        """Return the projected probabilities, ``[..., Z]``."""
        return distributional.categorical_projection(
            reward, discount, out.softmax(-1), self.v_min, self.v_max
        )

    def loss(self, out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cross-entropy, and the KL divergence."""
        loss = distributional.cross_entropy(out, target)
        divergence = loss.detach() - per_seed(distributional.entropy, target)
        return loss, divergence.clamp(min=0)

    def diagnostics(self, reward: Tensor, discount: Tensor, out: Tensor) -> dict[str, Tensor]:
        """Return the share of the target's mass that lies outside the support."""
        share = distributional.clipped_share(
            reward, discount, out.softmax(-1), self.v_min, self.v_max
        )
        return {"loss/clipped_share": share.mean(-1)}


class Quantile:
    """QR-DQN: quantiles at the midpoints (2i - 1) / 2N (Dabney et al. 2018).

    ``kappa`` is the Huber threshold; 0 gives the pinball loss. The priority is the loss.
    """

    def __init__(self, atoms: int, kappa: float) -> None:
        self.atoms, self.kappa = atoms, kappa

    def mean(self, out: Tensor) -> Tensor:
        """Return the mean of the quantiles."""
        return out.mean(-1)

    def target(self, reward: Tensor, discount: Tensor, out: Tensor) -> Tensor:
        """Return shifted quantiles, ``[..., Z]``."""
        return td.bootstrap(reward.unsqueeze(-1), discount.unsqueeze(-1), out)

    def loss(self, out: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Return the quantile Huber loss twice."""
        loss = distributional.quantile_huber(out, target, self.kappa)
        return loss, loss.detach()

    def diagnostics(self, reward: Tensor, discount: Tensor, out: Tensor) -> dict[str, Tensor]:
        """Return nothing: quantiles have no fixed support."""
        return {}
