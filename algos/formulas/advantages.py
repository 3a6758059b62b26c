"""Returns and advantages of trajectories. Time is the first axis; any axes may follow.

Every step carries two discounts, so that neither ``gamma`` nor ``done`` appears in a formula:
``discount_t`` is what the successor's value counts (zero behind a termination), ``carry_t`` whether
the sum goes on to the next row (zero where an episode ended, however it ended).
"""

from collections.abc import Callable

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


def alike(x: Tensor) -> Tensor:
    """Return whether all numbers of the last axis are equal, ``[..., 1]``.

    A standard deviation does not tell: rounding of the mean leaves equal numbers a tiny spread.
    """
    same: Tensor = (x == x[..., :1]).all(-1, keepdim=True)
    return same


def standardise(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Return ``(x - mean) / (std + eps)`` along the last axis, with the unbiased std.

    Equal numbers are 0.
    """
    centred = torch.where(alike(x), 0.0, x - x.mean(-1, keepdim=True))
    variance = centred.square().sum(-1, keepdim=True) / max(x.shape[-1] - 1, 1)
    return centred / (variance.sqrt() + eps)


def explained_variance(
    predicted: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    total: Callable[[Tensor], Tensor] | None = None,
) -> Tensor:
    """Return ``1 - Var(target - predicted) / Var(target)`` of each seed, ``[K]``.

    1: the predictions are the targets; 0: as good as their mean; below 0: worse. Where the targets
    are all equal there is nothing to explain, and it is 0.

    Args:
        predicted, target: ``[K, ...]``. weight: 1 for rows that count, else 0; None: all do.
        total: sums of ``[K, ...]``, ``[K, 1, ...]``; None: over the last axis.
    """
    weight = torch.ones_like(target) if weight is None else weight
    add = total or (lambda x: x.sum(-1, keepdim=True))
    count = add(weight).clamp(min=1)

    def variance(x: Tensor) -> Tensor:
        mean = add(x * weight) / count
        return add((x - mean).square() * weight) / count

    spread, rest = variance(target), variance(target - predicted)
    known = spread > 1e-12 * add(target.square() * weight) / count  # more than rounding
    share = torch.where(known, 1 - rest / torch.where(known, spread, 1.0), 0.0)
    return share.flatten()


def group_advantages(score: Tensor, std: str | None = "population") -> Tensor:
    """Return ``(R_i - mean R) / std R`` within groups of outcomes ``[..., G]``.

    DeepSeekMath (Shao et al. 2024), section 4.1.2, outcome supervision. A group of equal outcomes
    says nothing: its advantages are 0.

    Args:
        score: the outcomes. std: "population" divides the sum of squares by G, "sample" by G - 1;
            None does not divide by a deviation.
    """
    centred = torch.where(alike(score), 0.0, score - score.mean(-1, keepdim=True))
    if std is None:
        return centred
    members = score.shape[-1] - (std == "sample")
    deviation = (centred.square().sum(-1, keepdim=True) / members).sqrt()
    return centred / torch.where(deviation > 0, deviation, 1.0)
