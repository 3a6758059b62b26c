"""Which sessions or candidates of the cross-entropy method are its elites."""

import torch
from torch import Tensor


def elites(returns: Tensor, share: float) -> Tensor:
    """Return which of M returns ``[K, M]`` are elite, as bool; -inf stands for no return yet.

    The threshold is the lowest return among the best ``share``; every return that reaches it is
    elite, so equal returns are treated alike (Rubinstein and Kroese 2004, algorithm 2.1). If all
    would be elite although fewer are asked for, the elites are the returns above the worst one. If
    all returns are equal, there are no elites: they teach nothing.
    """
    seen = returns > -torch.inf
    count = seen.sum(-1, keepdim=True)
    best = (count.double() * share).round().clamp(min=1).long()
    order = returns.sort(dim=-1, descending=True).values
    threshold = order.gather(-1, best - 1)
    worst = order.gather(-1, (count - 1).clamp(min=0))
    better = returns > worst
    strict = (threshold == worst) & (best < count)
    elite = torch.where(strict, better, returns >= threshold)
    return elite & seen & better.any(-1, keepdim=True)
