"""Statistics of runs: estimates, intervals and tests; seeded, vectorised, numpy and scipy only.

The run is the unit. A group of runs is ``Samples``: one array ``[..., runs]`` per task
(environment), so that tasks may hold different numbers of runs and a bootstrap may lead with its
repetitions.

Which interval where. A mean carries a Student interval and a difference of two means a Welch
interval, at every n. Measured coverage in % of nominal 95 % intervals, at n = 5 / 10 runs a group
(``tests/analysis/test_stats.py`` measures it again):

=================================  =========  =========  =========
scores                             normal     skewed     bimodal
=================================  =========  =========  =========
mean, Student (used)               96 / 95    89 / 90    83 / 94
mean, percentile bootstrap         85 / 90    78 / 84    79 / 92
difference, Welch (used)           96 / 95    97 / 97    98 / 95
share of a difference, Fieller     96 / 96    96 / 96    94 / 94
=================================  =========  =========  =========

(skewed: lognormal, sigma 0.7; bimodal: 30 % of the runs ten standard deviations below the others.)
What has no formula (IQM, median,
probability of improvement over several tasks) carries a stratified percentile bootstrap.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import special

Array = NDArray[np.float64]
Samples = Sequence[Array]

LEVEL = 0.95
REPETITIONS = 5_000
SEED = 0
SMALL_N = 10  # below this, percentile intervals undercover visibly
POWER = 0.8


@dataclass(frozen=True)
class Estimate:
    """A number with its interval; ``low`` and ``high`` are NaN where the data cannot give one."""

    value: float
    low: float
    high: float
    n: tuple[int, ...]  # runs of each group or task
    method: str
    note: str = ""


@dataclass(frozen=True)
class Difference(Estimate):
    """A difference of two means, with the two-sided test that belongs to its interval."""

    p: float = float("nan")
    se: float = float("nan")
    df: float = float("nan")

    @property
    def detectable(self) -> bool:
        """Whether the difference is told apart from zero at ``LEVEL``."""
        return self.p < 1 - LEVEL


def tasks(matrix: Array) -> list[Array]:
    """Split ``[runs, tasks]`` into one array per task; NaN marks a missing run and is left out."""
    return [column[~np.isnan(column)] for column in np.asarray(matrix, float).T]


def normalise(score: Array, random: Array, reference: Array) -> Array:
    """Return ``(score - random) / (reference - random)``: 0 is random, 1 the reference."""
    return (score - random) / (reference - random)


def mean(samples: Samples) -> Array:
    """Return the mean over tasks of the per-task means."""
    return np.mean([task.mean(-1) for task in samples], axis=0)


def median(samples: Samples) -> Array:
    """Return the median over tasks of the per-task means."""
    return np.median([task.mean(-1) for task in samples], axis=0)


def iqm(samples: Samples) -> Array:
    """Return the interquartile mean over all runs of all tasks.

    A quarter of the scores, rounded down, is cut from either end, as
    ``scipy.stats.trim_mean(x, 0.25)`` does (Agarwal et al. 2021, "Deep RL at the edge of the
    statistical precipice", section 4.3).
    """
    scores = np.sort(np.concatenate(samples, axis=-1), axis=-1)
    cut = scores.shape[-1] // 4
    return scores[..., cut : scores.shape[-1] - cut].mean(-1)


def optimality_gap(samples: Samples, gamma: float = 1.0) -> Array:
    """Return how far the scores fall short of ``gamma``: ``gamma - mean(min(x, gamma))``."""
    return gamma - np.minimum(np.concatenate(samples, axis=-1), gamma).mean(-1)


def probability_of_improvement(x: Samples, y: Samples) -> Array:
    """Return P(X > Y), ties counting half, averaged over tasks (Mann-Whitney U / nm per task)."""
    return np.mean(
        [
            0.5 + 0.5 * np.sign(a[..., :, None] - b[..., None, :]).mean((-2, -1))
            for a, b in zip(x, y, strict=True)
        ],
        axis=0,
    )


def bootstrap(
    statistic: Callable[..., Array],
    *groups: Samples,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    rng: np.random.Generator | int = SEED,
) -> Estimate:
    """Estimate ``statistic(*groups)`` with a stratified percentile bootstrap.

    Every task of every group is resampled on its own, with replacement, over its runs.

    Raises:
        ValueError: a score is NaN, or a task has no run.
    """
    n = tuple(len(task) for group in groups for task in group)
    if min(n, default=0) == 0 or any(np.isnan(task).any() for group in groups for task in group):
        raise ValueError("every task needs at least one run, and no score may be NaN")
    value = float(statistic(*groups))
    method = f"stratified percentile bootstrap, {repetitions} repetitions"
    if max(n) == 1:
        return Estimate(value, np.nan, np.nan, n, method, "one run a task: no interval")
    rng = np.random.default_rng(rng)
    draws = statistic(
        *[
            [task[rng.integers(len(task), size=(repetitions, len(task)))] for task in group]
            for group in groups
        ]
    )
    low, high = np.quantile(draws, [(1 - level) / 2, (1 + level) / 2])
    note = ""
    if min(n) == 1:
        note = f"{n.count(1)} of {len(n)} tasks have one run, whose spread is not in the interval"
    elif len(n) == 1 and n[0] < SMALL_N:
        note = f"n = {n[0]}: a percentile interval of few runs is too narrow"
    return Estimate(value, float(low), float(high), n, method, note)


def band(values: Array, level: float = LEVEL) -> tuple[Array, Array, Array, NDArray[np.int64]]:
    """Return mean, lower and upper Student limits and n along the last axis of ``[..., runs]``.

    NaN marks a missing value. Limits are NaN where fewer than two values are left.
    """
    present = ~np.isnan(values)
    n = present.sum(-1)
    some = np.maximum(n, 1)
    centre = np.where(n > 0, np.where(present, values, 0.0).sum(-1) / some, np.nan)
    squares = np.where(present, (values - centre[..., None]) ** 2, 0.0).sum(-1)
    df = np.maximum(n - 1, 1)
    half = special.stdtrit(df, (1 + level) / 2) * np.sqrt(squares / df / some)
    half = np.where(n > 1, half, np.nan)
    return centre, centre - half, centre + half, n


def mean_interval(x: Array, level: float = LEVEL) -> Estimate:
    """Estimate the mean of one group of runs with a Student t-interval."""
    centre, low, high = (float(part) for part in band(np.asarray(x, float), level)[:3])
    n = len(x)
    note = {0: "no run", 1: "one run: no interval"}.get(n, "")
    if n > 1 and low == high:
        note = "all runs are equal"
    return Estimate(centre, low, high, (n,), "Student t", note)


def welch(x: Array, y: Array, level: float = LEVEL) -> Difference:
    """Estimate ``mean(x) - mean(y)`` with Welch's t-interval and test (Welch 1947).

    Where neither group has any spread the t-test is undefined: p is then the smallest one that an
    exact permutation test of these sizes could reach, ``2 / C(n + m, n)``.
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
        note = "neither group has any spread"
        return Difference(value, value, value, (n, m), "Welch t", note, p, 0.0, n + m - 2.0)
    df = float((a + b) ** 2 / (a**2 / (n - 1) + b**2 / (m - 1)))
    half = float(special.stdtrit(df, (1 + level) / 2)) * se
    p = float(2 * special.stdtr(df, -abs(value) / se))
    return Difference(value, value - half, value + half, (n, m), "Welch t", "", p, se, df)


def share(part: Difference, whole: Difference, common: float, level: float = LEVEL) -> Estimate:
    """Estimate ``part / whole``, two differences that share one group, with Fieller's interval.

    The interval is bounded exactly where that of ``whole`` excludes zero; elsewhere the ratio means
    nothing and NaN is returned (Fieller 1954, "Some problems in interval estimation").

    Args:
        part: numerator, for instance full - ablation.
        whole: denominator, full - base.
        common: variance of the mean of the shared group, with the sign of their covariance.
        level: nominal coverage.
    """
    n, method = part.n + whole.n, "Fieller"
    if not whole.detectable:
        reason = "the difference between the full and the base agent is not told apart from 0"
        return Estimate(np.nan, np.nan, np.nan, n, method, reason)
    ratio = part.value / whole.value
    t2 = float(special.stdtrit(whole.df, (1 + level) / 2)) ** 2
    a = whole.value**2 - t2 * whole.se**2
    b = part.value * whole.value - t2 * common
    root = float(np.sqrt(max(0.0, b**2 - a * (part.value**2 - t2 * part.se**2))))
    if np.isnan(part.se):
        return Estimate(ratio, np.nan, np.nan, n, method, part.note)
    return Estimate(ratio, (b - root) / a, (b + root) / a, n, method, part.note)


def holm(p: Sequence[float]) -> Array:
    """Return Holm's step-down adjusted p-values of one family; NaN stays NaN and is not counted.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p, float)
    adjusted = np.full(values.shape, np.nan)
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]  # argsort puts NaN last
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def visible_effect(se: float, df: float, family: int = 1, power: float = POWER) -> float:
    """Return the effect that a test of this standard error finds with probability ``power``.

    The two-sided level is split over ``family`` comparisons, as Holm's first step does.
    """
    tail = (1 - LEVEL) / 2 / max(1, family)
    return float((special.stdtrit(df, 1 - tail) + special.stdtrit(df, power)) * se)
