"""Deterministic and soft policy gradients of continuous control.

Letters: C critics, B batch, A numbers of an action; all functions act on any leading axes. Losses
are to be minimised; their critics' values come from ``td.bootstrap`` and ``td.squared``.
"""

import math

from torch import Tensor
from torch.nn import functional as F

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def smallest(q: Tensor) -> Tensor:
    """Return the smallest of C critics, ``[..., C, B] -> [..., B]``.

    Clipped double Q-learning for C = 2 (Fujimoto et al. 2018, equation 10).
    """
    return q.amin(-2)


def smoothed(action: Tensor, noise: Tensor, std: float, clip: float) -> Tensor:
    """Return a target action in [-1, 1] with clipped noise added.

    Target policy smoothing (Fujimoto et al. 2018, section 5.3 and algorithm 1).

    Args:
        action: of the target policy, in [-1, 1]. noise: standard normal, of the same shape.
        std: of the noise. clip: largest magnitude of the noise.
    """
    return (action + (noise * std).clamp(-clip, clip)).clamp(-1.0, 1.0)


def soft_value(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Return ``q - alpha log pi``, one action's estimate of the soft value of a state.

    Haarnoja et al. 2018a ("Soft actor-critic: off-policy"), equation 3.

    Args:
        q, log_prob: ``[..., B]``. alpha: temperature ``[...]``.
    """
    return q - alpha.unsqueeze(-1) * log_prob


def deterministic_policy_loss(q: Tensor) -> Tensor:
    """Return ``-mean Q(s, mu(s))``, ``[..., B] -> [...]`` (Lillicrap et al. 2016, equation 6)."""
    return -q.mean(-1)


def soft_policy_loss(q: Tensor, log_prob: Tensor, alpha: Tensor) -> Tensor:
    """Return ``mean(alpha log pi - Q)``, ``[..., B] -> [...]``.

    Haarnoja et al. 2018b ("Soft actor-critic algorithms and applications"), section 4.2. The
    gradient flows through a reparameterised action and its log-probability.
    """
    return -soft_value(q, log_prob, alpha).mean(-1)


def temperature_loss(alpha: Tensor, log_prob: Tensor, target_entropy: float) -> Tensor:
    """Return ``mean(-alpha (log pi + H))``, ``[..., B] -> [...]``.

    Haarnoja et al. 2018b, section 5: alpha falls while the entropy ``-log pi`` is above ``H``.

    Args:
        alpha: ``[...]``, the only thing that learns here. log_prob: ``[..., B]``, constant.
    """
    return -alpha * (log_prob + target_entropy).mean(-1)


def normal_log_prob(noise: Tensor, log_std: Tensor) -> Tensor:
    """Return log N(x; mean, std) of ``x = mean + std * noise``, per number."""
    return -(0.5 * noise.square() + log_std) - _HALF_LOG_2PI


def log_tanh_slope(x: Tensor) -> Tensor:
    """Return ``log(1 - tanh(x)^2)``, exact where the difference itself would round to zero.

    It is ``2 (log 2 - x - log(1 + exp(-2 x)))``, the term by which a density shrinks when tanh
    squashes it (Haarnoja et al. 2018a, appendix C).
    """
    return 2.0 * (math.log(2.0) - x - F.softplus(-2.0 * x))
