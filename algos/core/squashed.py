"""Actions in a box: the unit box an agent thinks in, and a Gaussian squashed into it.

Agents act in [-1, 1]^A, densities are those in that box, and the environment's own box comes in
where an action leaves the agent or enters its memory.
"""

import torch
from gymnasium import spaces
from torch import Tensor

from ..formulas.continuous import log_tanh_slope, normal_log_prob
from .nets import per_seed


class UnitBox:
    """The affine map between [-1, 1]^A and an environment's bounded box.

    Attributes:
        width: A. shape: of an action, ``(A,)``.
    """

    def __init__(self, space: spaces.Box, device: torch.device) -> None:
        self.shape, self.width = space.shape, space.shape[0]
        low, high = (torch.from_numpy(x).double() for x in (space.low, space.high))
        self._centre = ((low + high) / 2).float().to(device)
        self._half = ((high - low) / 2).float().to(device)
        self._divisor = self._half.where(self._half > 0, 1.0)  # a side of one point has centre 0

    def random(self, draws: Tensor) -> Tensor:
        """Return uniform actions ``[..., A]`` of the unit box from draws in [0, 1)."""
        return draws * 2 - 1

    def to_env(self, unit: Tensor) -> Tensor:
        """Return the environment's action for ``unit [..., A]``."""
        return unit * self._half + self._centre

    def from_env(self, action: Tensor) -> Tensor:
        """Undo ``to_env``."""
        return ((action - self._centre) / self._divisor).clamp(-1.0, 1.0)


def squash(mean: Tensor) -> Tensor:
    """Return ``tanh(mean)``, ``[K, ...]``."""
    return per_seed(torch.tanh, mean)


def squashed_gaussian(mean: Tensor, log_std: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return the action ``tanh(mean + std * noise)`` and its log-probability.

    Both carry the gradient with respect to ``mean`` and ``log_std``: the sample is reparameterised
    (Haarnoja et al. 2018a, equation 11 and appendix C).

    Args:
        mean, log_std, noise: ``[K, B, A]``; the noise is standard normal.

    Returns:
        ``[K, B, A]`` in [-1, 1], ``[K, B]`` in nats.
    """
    # Not addcmul: fused multiplication would round differently at the end of a vector loop.
    x = mean + per_seed(torch.exp, log_std) * noise
    log_prob = normal_log_prob(noise, log_std) - per_seed(log_tanh_slope, x)
    return squash(x), log_prob.sum(-1)
