"""Distributional targets and losses. All functions act on any leading axes; Z is last."""

import torch
from torch import Tensor
from torch.nn import functional as F


def categorical_projection(
    r_t: Tensor, discount_t: Tensor, probs_t: Tensor, v_min: float, v_max: float
) -> Tensor:
    """Project the distribution of ``r_t + discount_t * z`` onto the fixed support.

    Bellemare et al. 2017, algorithm 1: each shifted atom is clipped to ``[v_min, v_max]`` and its
    mass split between its two neighbours in proportion to nearness.

    Args:
        r_t: ``[...]``; discount_t: ``[...]``; probs_t: ``[..., Z]``, summing to 1.

    Returns:
        Probabilities ``[..., Z]``.
    """
    atoms = probs_t.shape[-1]
    support = torch.linspace(v_min, v_max, atoms, dtype=probs_t.dtype, device=probs_t.device)
    shifted = (r_t.unsqueeze(-1) + discount_t.unsqueeze(-1) * support).clamp(v_min, v_max)
    position = ((shifted - v_min) * ((atoms - 1) / (v_max - v_min))).clamp(0, atoms - 1)
    low = position.floor()
    upper_share = position - low
    low_index = low.long()
    high_index = (low_index + 1).clamp(max=atoms - 1)
    projected = torch.zeros_like(probs_t)
    projected.scatter_add_(-1, low_index, probs_t * (1 - upper_share))
    projected.scatter_add_(-1, high_index, probs_t * upper_share)
    return projected


def clipped_share(
    r_t: Tensor, discount_t: Tensor, probs_t: Tensor, v_min: float, v_max: float
) -> Tensor:
    """Return the probability mass ``[...]`` that the projection clips at the support's ends."""
    atoms = probs_t.shape[-1]
    support = torch.linspace(v_min, v_max, atoms, dtype=probs_t.dtype, device=probs_t.device)
    shifted = r_t.unsqueeze(-1) + discount_t.unsqueeze(-1) * support
    outside = (shifted < v_min) | (shifted > v_max)
    clipped: Tensor = torch.where(outside, probs_t, 0.0).sum(-1)
    return clipped


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Return ``-sum_z target log softmax(logits)``, ``[..., Z] -> [...]``."""
    return -(target * logits.log_softmax(-1)).sum(-1)


def entropy(probs: Tensor) -> Tensor:
    """Return ``-sum_z p log p`` with 0 log 0 = 0, ``[..., Z] -> [...]``."""
    entropy: Tensor = torch.special.entr(probs).sum(-1)
    return entropy


def quantile_huber(quantiles: Tensor, target: Tensor, kappa: float) -> Tensor:
    """Return the quantile Huber loss (Dabney et al. 2018b, "Implicit quantile networks", eq. 3).

    The i-th quantile stands at tau_i = (2i - 1) / 2N. QR-DQN's own loss (Dabney et al. 2018a, eq. 9
    and 10) is ``kappa`` times this one, the same at its kappa of 1. Divided, the loss tends to the
    pinball loss as kappa does to 0, which ``kappa = 0`` gives.

    Args:
        quantiles: ``[..., N]`` predicted.
        target: ``[..., M]`` samples of the target distribution; no gradient flows.

    Returns:
        ``[...]``: sum over i of the mean over j.
    """
    n = quantiles.shape[-1]
    tau = (torch.arange(n, dtype=quantiles.dtype, device=quantiles.device) + 0.5) / n
    tau = tau.unsqueeze(-1)
    theta = quantiles.unsqueeze(-1).expand(*quantiles.shape, target.shape[-1])
    sample = target.unsqueeze(-2).expand_as(theta)
    if kappa > 0:  # [..., N, M]
        magnitude = F.huber_loss(theta, sample, reduction="none", delta=kappa) / kappa
    else:
        magnitude = (sample - theta).abs()
    weight = torch.where(sample < theta, 1 - tau, tau)
    return (weight * magnitude).mean(-1).sum(-1)
