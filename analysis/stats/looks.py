"""A sequential test of a family: an error budget over the looks that were planned beforehand."""

from collections.abc import Sequence

import numpy as np

from .estimators import Array
from .tests import HOLM, adjust


def over_looks(p: Sequence[Sequence[float]], planned: int, how: str = HOLM) -> Array:
    """Return the corrected p of every comparison of a family after some of the planned looks.

    Each look spends an equal share of the error: a comparison's p is its smallest so far, times
    the number of planned looks (Bonferroni over the looks), then corrected over the family. This
    holds for any test that keeps its level at a fixed n, whatever the looks have in common, and
    whatever is stopped after which look, as long as the runs of the looks were planned beforehand.

    The idea of stopping comparisons of several agents one by one under one budget is AdaStop's
    (Mathieu et al. 2023, "AdaStop: adaptive statistical testing for sound comparisons of Deep RL
    agents"). Its boundary uses the joint law of all looks under relabelling and is a little lower;
    this one takes paired, pooled and unequal samples too.

    Args:
        p: ``[looks so far, comparisons]``, uncorrected; NaN where a comparison was not tested.
        planned: looks that were planned.
        how: correction over the family.

    Raises:
        ValueError: more looks than were planned.
    """
    looks = np.asarray(p, float).reshape(len(p), -1)
    if len(looks) > planned:
        raise ValueError(f"{len(looks)} looks, of {planned} that were planned")
    least = np.where(np.isnan(looks), np.inf, looks).min(0)
    spent = np.where(np.isfinite(least), np.minimum(1.0, planned * least), np.nan)
    return adjust(list(spent), how)
