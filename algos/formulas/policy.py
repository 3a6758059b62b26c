"""Losses of policies, and the natural gradient. All functions act on any leading axes.

Losses are per sample and to be *minimised*; the caller weights and averages them.
"""

from collections.abc import Callable

import torch
from torch import Tensor


def policy_gradient(log_prob: Tensor, advantage: Tensor) -> Tensor:
    """Return ``-log pi(a|s) A``, whose gradient is REINFORCE's (Williams 1992)."""
    return -log_prob * advantage


def surrogate(log_ratio: Tensor, advantage: Tensor) -> Tensor:
    """Return ``-rho A`` with ``rho = pi / pi_old`` (Schulman et al. 2015, equation 14)."""
    return -log_ratio.exp() * advantage


def clipped_surrogate(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return ``-min(rho A, clip(rho, 1 - clip, 1 + clip) A)`` (Schulman et al. 2017, equation 7).

    The clip takes away the incentive to go further; it bounds no ratio.
    """
    ratio = log_ratio.exp()
    return -torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)


def clipped_value_loss(v: Tensor, v_old: Tensor, target: Tensor, clip: float) -> Tensor:
    """Return half the larger of two squared errors: as it is, and held within ``clip`` of the old.

    As in OpenAI Baselines' PPO2; it is not in the paper.
    """
    v_clip = v_old + (v - v_old).clamp(-clip, clip)
    return 0.5 * torch.maximum((v - target).square(), (v_clip - target).square())


def expected_soft_value(
    q: Tensor, p: Tensor, log_p: Tensor, alpha: Tensor
) -> tuple[Tensor, Tensor]:
    """Return ``sum_a pi(a) (Q(a) - alpha log pi(a))`` and the policy's entropy, ``[..., B]`` each.

    The soft value of a state, an expectation over its actions (Christodoulou 2019, equation 10).

    Args:
        q, p, log_p: of every action, ``[..., B, A]``; ``p`` are the exponentials of ``log_p``.
        alpha: temperature ``[...]``.
    """
    entropy = -(p * log_p).sum(-1)
    return (p * q).sum(-1) + alpha.unsqueeze(-1) * entropy, entropy


def k3(log_ratio: Tensor) -> Tensor:
    """Return ``exp(x) - x - 1`` for ``x = log q - log p``: unbiased for KL(p || q) under p, >= 0.

    Schulman 2020, "Approximating KL divergence"; DeepSeekMath, equation 4, with q the reference.
    """
    return log_ratio.expm1() - log_ratio


def adapted_penalty(beta: Tensor, kl: Tensor, target: float) -> Tensor:
    """Return the next KL coefficient: halved where KL is small, doubled where it is large.

    Schulman et al. 2017, section 4.
    """
    smaller = torch.where(kl < target / 1.5, beta / 2, beta)
    return torch.where(kl > target * 1.5, beta * 2, smaller)


def conjugate_gradient(
    product: Callable[[Tensor], Tensor], b: Tensor, iterations: int, tolerance: float = 1e-10
) -> Tensor:
    """Return x with ``A x = b`` for the symmetric positive ``A`` of each row of ``b [..., D]``.

    A fixed number of iterations for all rows; one whose squared residual is below ``tolerance``
    stays as it is (Hestenes and Stiefel 1952).

    Args:
        product: the map ``x -> A x``, row by row.
        b: right-hand sides. iterations: at most D are of use. tolerance: on the squared residual.
    """
    x, residual, direction = torch.zeros_like(b), b.clone(), b.clone()
    rr = residual.square().sum(-1, keepdim=True)
    for _ in range(iterations):
        live = rr > tolerance
        image = product(direction)
        curvature = (direction * image).sum(-1, keepdim=True)
        step = torch.where(live, rr / torch.where(live, curvature, 1.0), 0.0)
        x = x + step * direction
        residual = residual - step * image
        after = residual.square().sum(-1, keepdim=True)
        direction = (
            residual + torch.where(live, after / torch.where(live, rr, 1.0), 0.0) * direction
        )
        rr = torch.where(live, after, rr)
    return x
