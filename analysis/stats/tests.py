"""Tests of two groups of runs, corrections for multiple comparisons, and effect sizes.

Every test returns a ``Difference``: the difference of the means, an interval, a two-sided p, and
the smallest p that the test can reach with these numbers of runs.
"""

from collections.abc import Callable, Sequence
from itertools import combinations, product
from math import comb

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy import stats as scipy_stats

from .bootstrap import SEED, draw
from .estimators import Array, probability_of_improvement
from .intervals import LEVEL, Difference, paired, welch

EXACT = 50_000  # a permutation test is exact up to this number of relabellings
DRAWS = 20_000
HOLM, BH, NONE = "Holm", "Benjamini-Hochberg", "no"


def student_bootstrap(
    x: Array, y: Array, level: float = LEVEL, repetitions: int = DRAWS, rng: int = SEED
) -> Difference:
    """Studentised bootstrap of a difference of means (Efron and Tibshirani 1993, chapters 12, 16).

    The interval and the test use the same distribution of t, so they agree.
    """
    base = welch(x, y, level)
    if not base.se > 0:
        return base
    generator = np.random.default_rng(rng)
    centres, squares = [], []
    for group in (x, y):
        n, counts = len(group), draw(generator, len(group), repetitions).astype(float)
        centred = group - group.mean()
        centre = centred @ counts / n
        centres.append(centre)
        squares.append((centred**2 @ counts / n - centre**2) / (n - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        t = (centres[0] - centres[1]) / np.sqrt(squares[0] + squares[1])
    t = t[np.isfinite(t)]
    low, high = np.quantile(t, [(1 - level) / 2, (1 + level) / 2])
    statistic, smallest = base.value / base.se, 2 / (len(t) + 1)
    tail = min((t >= statistic).sum(), (t <= statistic).sum())
    p = min(1.0, 2 * (tail + 1) / (len(t) + 1))
    limits = base.value - high * base.se, base.value - low * base.se
    return Difference(
        base.value, *limits, base.n, "studentised bootstrap", "", p, base.se, base.df, smallest
    )


def permutation(x: Array, y: Array, level: float = LEVEL, rng: int = SEED) -> Difference:
    """Permutation test of the studentised difference: exact for few runs, else with 20,000 draws.

    Studentising keeps the level if the variances differ (Janssen 1997). The interval is Welch's.
    """
    base = welch(x, y, level)
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return base
    smallest = smallest_p("permutation", n, m)
    pooled = np.concatenate([x, y])
    total = comb(n + m, n)
    if total <= EXACT:
        rows = np.array(list(combinations(range(n + m), n)))
        extra = 0
    else:
        generator = np.random.default_rng(rng)
        rows = generator.random((DRAWS, n + m)).argsort(1)[:, :n]
        smallest, extra = max(smallest, 1 / (DRAWS + 1)), 1
    inside = np.zeros((len(rows), n + m), bool)
    np.put_along_axis(inside, rows, True, 1)
    sizes = np.abs(_studentised(pooled, inside))
    own = np.zeros((1, n + m), bool)
    own[0, :n] = True
    statistic = np.abs(_studentised(pooled, own))[0]
    p = float(((sizes >= statistic * (1 - 1e-12)).sum() + extra) / (len(rows) + extra))
    method = "permutation of Welch's t" + ("" if extra else " (exact)")
    return Difference(
        base.value,
        base.low,
        base.high,
        (n, m),
        method,
        base.note,
        p,
        base.se,
        base.df,
        smallest,
    )


def _studentised(pooled: Array, inside: NDArray[np.bool_]) -> Array:
    """Return Welch's t of every split; without variance it is infinite, or 0 for equal means."""
    n = inside.sum(1)
    m = inside.shape[1] - n
    centred = pooled - pooled.mean()
    a = inside @ centred / n
    b = ~inside @ centred / m
    va = np.maximum(inside @ centred**2 / n - a**2, 0) / (n - 1)
    vb = np.maximum(~inside @ centred**2 / m - b**2, 0) / (m - 1)
    gap, se = a - b, np.sqrt(va + vb)
    tiny = 1e-12 * np.abs(centred).max()
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(se > tiny, gap / se, np.where(np.abs(gap) > tiny, np.inf, 0.0))


def sign_flips(x: Array, y: Array, level: float = LEVEL, rng: int = SEED) -> Difference:
    """Paired permutation test: under the null, each pair's difference has either sign equally."""
    base = paired(x, y, level)
    gaps = np.asarray(x, float) - np.asarray(y, float)
    gaps = gaps[~np.isnan(gaps)]
    n = len(gaps)
    if n < 2:
        return base
    smallest, extra = smallest_p("paired-permutation", n, n), 0
    if 2**n <= EXACT:
        signs = np.array(list(product((1, -1), repeat=n)))
    else:
        signs = 2 * np.random.default_rng(rng).integers(0, 2, (DRAWS, n)) - 1
        smallest, extra = max(smallest, 1 / (DRAWS + 1)), 1
    sums = np.abs(signs @ gaps)
    p = float(((sums >= abs(gaps.sum()) * (1 - 1e-12)).sum() + extra) / (len(signs) + extra))
    method = "sign flips of pairs" + ("" if extra else " (exact)")
    return Difference(
        base.value,
        base.low,
        base.high,
        (n, n),
        method,
        base.note,
        p,
        base.se,
        base.df,
        smallest,
    )


def mann_whitney(x: Array, y: Array, level: float = LEVEL) -> Difference:
    """Mann-Whitney test: exact, or asymptotic if there are ties. The interval is Welch's."""
    base = welch(x, y, level)
    if min(base.n) < 2:
        return base
    exact = len(np.unique(np.concatenate([x, y]))) == len(x) + len(y)
    how = "exact" if exact else "asymptotic"
    p = float(scipy_stats.mannwhitneyu(x, y, alternative="two-sided", method=how).pvalue)
    smallest = smallest_p("mann-whitney", *base.n)
    return Difference(
        base.value, base.low, base.high, base.n, f"Mann-Whitney ({how})", base.note, p,
        base.se, base.df, smallest,
    )  # fmt: skip


Test = Callable[[Array, Array], Difference]
UNPAIRED: dict[str, Test] = {
    "welch": welch,
    "bootstrap": student_bootstrap,
    "permutation": permutation,
    "mann-whitney": mann_whitney,
}
PAIRED: dict[str, Test] = {"paired": paired, "paired-permutation": sign_flips}
INTERVALS = {  # test -> the interval of its difference of means
    "welch": "Welch t",
    "bootstrap": "studentised bootstrap",
    "permutation": "Welch t",
    "mann-whitney": "Welch t",
    "paired": "paired t",
    "paired-permutation": "paired t",
}
AUTO = "auto"  # paired if an F-test finds a seed effect, else Welch's
TESTS = (AUTO, *UNPAIRED, *PAIRED)


def smallest_p(name: str, n: int, m: int) -> float:
    """Return the smallest two-sided p that a test with ``n`` and ``m`` runs can reach."""
    if name == "paired-permutation":
        return min(1.0, 2.0 ** (1 - min(n, m)))
    if name == "permutation":
        return (2 if n == m else 1) / comb(n + m, n)
    if name == "mann-whitney":
        return min(1.0, 2 / comb(n + m, n))
    return 0.0


SOUND_N = 5  # runs per group from which a t-test keeps its level, if both groups have as many


def keeps_level(n: int, m: int) -> bool:
    """Return whether Welch's and the paired t-test keep small levels with ``n`` and ``m`` runs.

    With fewer runs, or unequal numbers of them, the t-tests of two-peaked scores err many times
    more often than they say at corrected levels (``coverage.ERRORS``).
    """
    return min(n, m) >= SOUND_N and max(n, m) <= 4 / 3 * min(n, m)


def runs_to_reach(name: str, alpha: float) -> int:
    """Return the runs per group at which the smallest p of a test is at most ``alpha``."""
    return next(n for n in range(2, 1000) if smallest_p(name, n, n) <= alpha)


def seeds_matter(*layouts: Sequence[Array]) -> tuple[float, float]:
    """Return the intraclass correlation of seeds over labels, and the p of their F-test.

    Pairing by seed helps if the seeds have an effect that the labels share. The F-test of the
    two-way layout labels x seeds (Fisher) tests for it. Differences between labels do not affect
    it. Several layouts, one per environment, are standardised and give one test.

    Args:
        layouts: of each environment one ``[seeds]`` per label, the same seeds in the same order.
    """
    sums = np.zeros((len(layouts), 4))  # squares between and within seeds, and their df
    for row, groups in zip(sums, layouts, strict=True):
        x = np.stack(groups)
        k, n = x.shape
        if k > 1 and n > 2:
            rest = x - x.mean(0) - x.mean(1, keepdims=True) + x.mean()
            between, within = k * ((x.mean(0) - x.mean()) ** 2).sum(), (rest**2).sum()
            if within > 0:
                df = np.array([n - 1, (k - 1) * (n - 1)])
                row[:] = *(np.array([between, within]) * df.sum() / (between + within)), *df
    squares_between, squares_within, df_between, df_within = sums.sum(0)
    if not df_within:
        return float("nan"), float("nan")
    between, within = squares_between / df_between, squares_within / df_within
    p = float(special.fdtrc(df_between, df_within, between / within))
    others = df_within / df_between  # labels but one
    return float((between - within) / (between + others * within)), p


def adjust(p: Sequence[float], how: str = HOLM) -> Array:
    """Return the p-values of one family with Holm's, Benjamini-Hochberg's or no correction."""
    return {HOLM: holm, BH: benjamini_hochberg, NONE: lambda x: np.asarray(x, float)}[how](p)


def holm(p: Sequence[float]) -> Array:
    """Return Holm's step-down adjusted p-values of one family. NaN stays NaN and does not count.

    Source: Holm 1979, "A simple sequentially rejective multiple test procedure".
    """
    values = np.asarray(p, float)
    result = np.full(values.shape, np.nan)
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]  # argsort puts NaN last
    steps = values[order] * np.arange(len(order), 0, -1)
    result[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return result


def benjamini_hochberg(p: Sequence[float]) -> Array:
    """Return Benjamini and Hochberg's adjusted p-values (1995), for the false discovery rate."""
    values = np.asarray(p, float)
    result = np.full(values.shape, np.nan)
    order = np.argsort(values)[: int((~np.isnan(values)).sum())]
    steps = values[order] * len(order) / np.arange(1, len(order) + 1)
    result[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return result


def first_level(family: int, how: str = HOLM, alpha: float = 1 - LEVEL) -> float:
    """Return the level that the smallest p of a family must reach."""
    return alpha if how == NONE else alpha / max(1, family)


def hedges_g(x: Array, y: Array) -> float:
    """Return Hedges' g: the difference in pooled standard deviations, corrected for small n."""
    n, m = len(x), len(y)
    if min(n, m) < 2:
        return float("nan")
    pooled = ((n - 1) * np.var(x, ddof=1) + (m - 1) * np.var(y, ddof=1)) / (n + m - 2)
    if pooled == 0:
        return float("nan")
    return float((1 - 3 / (4 * (n + m) - 9)) * (np.mean(x) - np.mean(y)) / np.sqrt(pooled))


def a12(x: Array, y: Array) -> float:
    """Return Vargha and Delaney's A12: P(X > Y); ties count half."""
    return float(probability_of_improvement([x], [y])) if len(x) and len(y) else float("nan")


def rank_intervals(groups: Sequence[Array], how: str = HOLM) -> list[tuple[int, int]]:
    """Return the lowest and highest rank of every group that is consistent with the data.

    Rank 1 is the highest mean. A group ranks behind every group with a significantly higher mean,
    and before every group with a significantly lower mean, by Welch's test corrected over all pairs
    (Mogstad, Romano, Shaikh, Wilhelm 2024, "Inference for ranks"). Groups whose ranks overlap are
    tied.
    """
    k = len(groups)
    pairs = list(combinations(range(k), 2))
    results = [welch(groups[i], groups[j]) for i, j in pairs]
    above, below = np.zeros(k, int), np.zeros(k, int)
    for (i, j), one, p in zip(pairs, results, adjust([f.p for f in results], how), strict=True):
        if p < 1 - LEVEL:
            winner, loser = (i, j) if one.value > 0 else (j, i)
            above[loser] += 1
            below[winner] += 1
    return [(int(1 + a), int(k - b)) for a, b in zip(above, below, strict=True)]
