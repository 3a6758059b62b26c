"""Draws for those seeds that are due: which those are depends on their episodes, not on the tick.

So a draw's place in its stream is the seed's own count of iterations, and a state needs no more.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from ..core.rng import generator


def draws(
    seeds: Sequence[int],
    purpose: str,
    iteration: Tensor,
    due: Tensor,
    shape: Sequence[int],
    kind: str = "uniform",
) -> Tensor:
    """Return draws ``[K, *shape]`` float32 of each due seed's iteration, zeros of the others.

    Args:
        seeds: K. purpose: the stream. iteration: ``[K]``. due: ``[K]`` bool. kind: "uniform" in
            [0, 1) or "normal".
    """
    out = np.zeros((len(seeds), *shape), np.float32)
    for k in np.flatnonzero(due.numpy(force=True)).tolist():
        stream = generator(seeds[k], purpose, int(iteration[k]))
        fill = stream.random if kind == "uniform" else stream.standard_normal
        fill(dtype=np.float32, out=out[k])
    return torch.from_numpy(out).to(due.device)
