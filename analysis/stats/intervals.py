"""Means, differences of means and linear contrasts, with intervals and tests.

A mean has a t-interval; a difference of two means has a Welch interval, or a paired t-interval.
Their measured coverage is in ``prism.analysis.stats.coverage``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from .estimators import Array

LEVEL = 0.95
LEAST_N = 3  # runs from which a mean has an interval
SMALL_N = 10  # up to this n, intervals of skewed or bimodal scores cover clearly less than 95%


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; ``low`` and ``high`` are NaN if the data are too few for one."""

    value: float
    low: float
    high: float
    n: tuple[int, ...]  # runs of each group or task
    method: str
    note: str = ""


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference of two means, with a two-sided test."""

    p: float = float("nan")
    se: float = float("nan")
    df: float = float("nan")
    smallest: float = 0.0  # the smallest p that this test can reach at this n

    @property
    def detectable(self) -> bool:
        """Whether the difference is significant at ``LEVEL``, uncorrected."""
        return self.p < 1 - LEVEL


def band(values: Array, level: float = LEVEL) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Return mean, limits of the t-interval and n along the last axis of ``[..., runs]``.

    NaN marks a missing value. The limits are NaN with fewer than three values: with two, the
    interval is 12.7 standard errors wide to either side, and shows nothing but that.
    """
    present = ~np.isnan(values)
    n = present.sum(-1)
    some = np.maximum(n, 1)
    centre = np.where(n > 0, np.where(present, values, 0.0).sum(-1) / some, np.nan)
    squares = np.where(present, (values - centre[..., None]) ** 2, 0.0).sum(-1)
    df = np.maximum(n - 1, 1)
    half = special.stdtrit(df, (1 + level) / 2) * np.sqrt(squares / df / some)
    half = np.where(n >= LEAST_N, half, np.nan)
    return centre, centre - half, centre + half, n


def mean_interval(
    x: Array, level: float = LEVEL, bounds: tuple[float, float] = (np.nan, np.nan)
) -> Estimate:
    """Estimate the mean of one group of runs with a t-interval, cut at the bounds of the score."""
    centre, low, high = (float(part) for part in band(np.asarray(x, float), level)[:3])
    low, high = (float(end) for end in cut(low, high, bounds))
    n = len(x)
    note = {0: "no run", 1: "one run: no interval", 2: "two runs: no interval"}.get(n, "")
    if n > 1 and np.ptp(x) == 0:
        note = "all runs are equal"
    return Estimate(centre, low, high, (n,), "Student t", note)


def cut(low: ArrayLike, high: ArrayLike, bounds: tuple[float, float]) -> tuple[Array, Array]:
    """Return the limits of intervals, kept inside known bounds (NaN: no bound)."""
    least, most = bounds
    low, high = np.asarray(low, float), np.asarray(high, float)
    inside = np.where(low < least, least, low), np.where(high > most, most, high)
    return inside


def welch(x: Array, y: Array, level: float = LEVEL) -> Difference:
    """Estimate ``mean(x) - mean(y)`` with Welch's t-interval and test (Welch 1947).

    The t-test is undefined if both groups have zero variance. Unless the means are equal, p is then
    the smallest p of an exact permutation test at this n, ``2 / C(n + m, n)``.
    """
    n, m = len(x), len(y)
    if min(n, m) < 2:
        value = float(np.mean(x) - np.mean(y)) if min(n, m) else float("nan")
        return Difference(value, np.nan, np.nan, (n, m), "Welch t", "fewer than two runs")
    value = float(np.mean(x) - np.mean(y))
    a, b = np.var(x, ddof=1) / n, np.var(y, ddof=1) / m
    se = float(np.sqrt(a + b))
    if se == 0:
        p = 1.0 if value == 0 else min(1.0, 2 / comb(n + m, n))
        note = "both groups have zero variance"
        return Difference(value, value, value, (n, m), "Welch t", note, p, 0.0, n + m - 2.0)
    df = float((a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1)))
    return _t(value, se, df, (n, m), "Welch t", level)


def share(part: Difference, whole: Difference, common: float, level: float = LEVEL) -> Estimate:
    """Estimate ``part / whole``, two differences that share a group, with Fieller's interval.

    The ratio is NaN if ``whole`` is not significantly different from 0. The interval is bounded if
    and only if the t-interval of ``whole`` excludes 0 (Fieller 1954, "Some problems in interval
    estimation"). The limits are NaN if another test finds ``whole`` significant but its t-interval
    includes 0.

    Args:
        part: numerator, for instance full - ablation.
        whole: denominator, full - base.
        common: covariance of the two; if unpaired, the variance of the mean of the shared group.
        level: nominal coverage.
    """
    n, method = part.n + whole.n, "Fieller"
    if not whole.detectable:
        reason = (
            "the difference between full and base agent is not significant "
            f"({whole.method}, p = {whole.p:.3f})"
        )
        return Estimate(np.nan, np.nan, np.nan, n, method, reason)
    ratio = part.value / whole.value
    t2 = float(special.stdtrit(whole.df, (1 + level) / 2)) ** 2
    a = whole.value**2 - t2 * whole.se**2
    b = part.value * whole.value - t2 * common
    root = float(np.sqrt(max(0.0, b**2 - a * (part.value**2 - t2 * part.se**2))))
    if a <= 0 or np.isnan(part.se):
        note = part.note or "Fieller's interval is unbounded"
        return Estimate(ratio, np.nan, np.nan, n, method, note)
    return Estimate(ratio, (b - root) / a, (b + root) / a, n, method, part.note)


def contrast(groups: Sequence[Array], weights: Sequence[float], level: float = LEVEL) -> Difference:
    """Estimate ``sum_i weights[i] * mean(groups[i])`` with Satterthwaite's degrees of freedom.

    Main effects, interactions and Shapley values of a factorial are such contrasts. Groups of
    weight 0 are ignored.
    """
    terms = [(np.asarray(x, float), w) for x, w in zip(groups, weights, strict=True) if w != 0]
    n, method = tuple(len(x) for x, _ in terms), "Welch-Satterthwaite t"
    value = float(sum(w * x.mean() for x, w in terms)) if min(n, default=0) else float("nan")
    if min(n, default=0) < 2:
        return Difference(value, np.nan, np.nan, n, method, "a group has fewer than two runs")
    parts = np.array([w**2 * np.var(x, ddof=1) / len(x) for x, w in terms])
    se = float(np.sqrt(parts.sum()))
    if se == 0:
        return Difference(value, value, value, n, method, "all groups have zero variance")
    df = float(parts.sum() ** 2 / sum(v**2 / (m - 1) for v, m in zip(parts, n, strict=True)))
    return _t(value, se, df, n, method, level)


def paired(x: Array, y: Array, level: float = LEVEL) -> Difference:
    """Estimate ``mean(x - y)`` with the paired t-interval and test; pairs with NaN are ignored."""
    gaps = np.asarray(x, float) - np.asarray(y, float)
    gaps = gaps[~np.isnan(gaps)]
    n, method = len(gaps), "paired t"
    if n < 2:
        value = float(gaps.mean()) if n else float("nan")
        return Difference(value, np.nan, np.nan, (n, n), method, "fewer than two pairs")
    value, se = float(gaps.mean()), float(gaps.std(ddof=1) / np.sqrt(n))
    if se == 0:
        p = 1.0 if value == 0 else min(1.0, 2.0 ** (1 - n))
        note = "all pairs have the same difference"
        return Difference(value, value, value, (n, n), method, note, p, 0.0, n - 1.0)
    return _t(value, se, n - 1.0, (n, n), method, level)


def student_quantile(df: float, level: float = LEVEL) -> float:
    """Return the two-sided quantile of Student's t."""
    return float(special.stdtrit(df, (1 + level) / 2))


def _t(
    value: float, se: float, df: float, n: tuple[int, ...], method: str, level: float
) -> Difference:
    half = student_quantile(df, level) * se
    p = float(2 * special.stdtr(df, -abs(value) / se))
    return Difference(value, value - half, value + half, n, method, "", p, se, df)
