"""Returns and advantages of trajectories. Time is the first axis; any axes may follow.

Every step carries two discounts, so that neither ``gamma`` nor ``done`` appears in a formula:
``discount_t`` is what the successor's value counts (zero behind a termination), ``carry_t`` whether
the sum goes on to the next row (zero where an episode ended, however it ended).
"""

import torch
from torch import Tensor


def gae(
    r_t: Tensor, v_tm1: Tensor, v_t: Tensor, discount_t: Tensor, carry_t: Tensor, lambda_: float
) -> Tensor:
    """Return generalised advantage estimates (Schulman et al. 2016, equation 16).

    Args:
        r_t: rewards. v_tm1: values of the states acted in; v_t: values of their true successors.
        discount_t: gamma, or 0 behind a termination. carry_t: gamma, or 0 where an episode ended.
        lambda_: 0 gives the one-step error, 1 the n-step return less the value, bootstrapped at the
            last row and at truncations.
    """
    delta = r_t + discount_t * v_t - v_tm1
    decay = carry_t * lambda_
    out = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(len(delta) - 1, -1, -1):
        running = torch.addcmul(delta[t], decay[t], running, out=out[t])
    return out


def returns(r_t: Tensor, v_t: Tensor, discount_t: Tensor, carry_t: Tensor) -> Tensor:
    """Return n-step returns with the largest n that the rows allow (Mnih et al. 2016, section 4).

    ``G_t = r_t + gamma G_{t+1}`` inside an episode; at its truncation and at the last row the
    successor's value stands for what is not seen, behind a termination nothing does. With ``v_t``
    of zero these are plain discounted rewards-to-go.
    """
    inside = carry_t.clone()
    inside[-1] = 0
    # where the sum does not go on, the bootstrap takes its place
    head = torch.where(inside > 0, r_t, r_t + discount_t * v_t)
    out = torch.empty_like(head)
    running = torch.zeros_like(head[0])
    for t in range(len(head) - 1, -1, -1):
        running = torch.addcmul(head[t], inside[t], running, out=out[t])
    return out


def age(carry_t: Tensor) -> Tensor:
    """Return how many steps each row lies behind its episode's start (or the first row)."""
    out = torch.zeros_like(carry_t)
    for t in range(1, len(out)):
        out[t] = torch.where(carry_t[t - 1] > 0, out[t - 1] + 1, 0.0)
    return out


def standardise(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Return ``(x - mean) / (std + eps)`` along the last axis, with the unbiased std."""
    centred = x - x.mean(-1, keepdim=True)
    variance = centred.square().sum(-1, keepdim=True) / max(x.shape[-1] - 1, 1)
    return centred / (variance.sqrt() + eps)


def group_advantages(score: Tensor, eps: float = 1e-8) -> Tensor:
    """Return ``(R_i - mean R) / std R`` within groups of outcomes ``[..., G]``.

    DeepSeekMath (Shao et al. 2024), section 4.1.2, outcome supervision; std over the G members
    themselves. A group of equal outcomes says nothing: its advantages are 0.
    """
    centred = score - score.mean(-1, keepdim=True)
    std = centred.square().mean(-1, keepdim=True).sqrt()
    # rounding of the mean leaves equal scores a tiny spread, which must not be blown up
    flat = std <= eps * score.abs().amax(-1, keepdim=True).clamp(min=1)
    return torch.where(flat, 0.0, centred / std.clamp(min=torch.finfo(std.dtype).tiny))
