"""Which of the sessions or candidates of the cross-entropy method are imitated."""

import torch
from torch import Tensor


def elites(returns: Tensor, share: float) -> Tensor:
    """Return which of M returns ``[K, M]`` are elite, as bool; -inf is no return yet.

    Those at least as good as the last of the best ``share``, so that what is equal is treated
    alike (Rubinstein and Kroese 2004, algorithm 2.1). Where this would be all of them although a
    part is asked for, it is those that are better than the worst; where all are equal, it is none:
    nothing can be learned from them.
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
