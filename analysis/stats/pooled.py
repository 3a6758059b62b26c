"""One effect over several environments, and how much it differs between them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from math import comb, prod

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .bootstrap import SEED
from .estimators import Array
from .intervals import LEVEL, Difference, student_quantile

DRAWS = 5_000  # relabellings of the stratified permutation test


@dataclass(frozen=True)
class Pooled(Difference):
    """The mean of the effects on several environments, all in one unit.

    Attributes:
        spread: standard deviation of the true effects between environments (tau; DerSimonian and
            Laird 1986), in the unit of the effect.
        i2: share of the variance of the measured effects that lies between environments and is not
            noise of the runs (Higgins and Thompson 2002), from 0 to 1.
        p_spread: p of the test that all environments have the same effect (Welch 1951).
        wide_low: lower limit if the environments are a sample of others (the random-effects view):
            the t-interval of the mean of the effects on the environments.
        wide_high: its upper limit.
    """

    spread: float = float("nan")
    i2: float = float("nan")
    p_spread: float = float("nan")
    wide_low: float = float("nan")
    wide_high: float = float("nan")


def pool(parts: Sequence[Difference], shift: float = 0.0, level: float = LEVEL) -> Pooled:
    """Return the mean of independent effects, one per environment, with a stratified t-test.

    Every environment counts the same. The standard error is that of the runs within environments,
    with Satterthwaite's degrees of freedom: what is told holds for these environments.

    Args:
        parts: the effects in one unit, each with standard error and degrees of freedom.
        shift: added to the mean: a correction of bias.
        level: nominal coverage.
    """
    count = len(parts)
    n = (sum(part.n[0] for part in parts), sum(part.n[1] for part in parts))
    method = parts[0].method if count == 1 else f"stratified {parts[0].method}" if count else ""
    if not count or any(np.isnan(part.se) for part in parts):
        return Pooled(np.nan, np.nan, np.nan, n, method, "fewer than two runs")
    if count == 1:
        return Pooled(**{f.name: getattr(parts[0], f.name) for f in fields(Difference)})
    values = np.array([part.value for part in parts])
    variances = np.array([part.se**2 for part in parts]) / count**2
    value, se = float(values.mean()) + shift, float(np.sqrt(variances.sum()))
    if se == 0:
        ways = prod(comb(sum(part.n), part.n[0]) for part in parts)
        p = 1.0 if value == 0 else min(1.0, 2 / ways)
        note = "all groups have zero variance"
        return Pooled(value, value, value, n, method, note, p, 0.0, sum(n) - 2.0 * count)
    dfs = np.array([part.df for part in parts])
    df = float(variances.sum() ** 2 / (variances**2 / dfs).sum())
    half = student_quantile(df, level) * se
    p = float(2 * special.stdtr(df, -abs(value) / se))
    return Pooled(
        value, value - half, value + half, n, method, "", p, se, df, 0.0,
        *_between(values, variances * count**2, dfs, value, level),
    )  # fmt: skip


def permuted(
    strata: Sequence[Sequence[Array]], scales: Sequence[float], paired: bool
) -> tuple[float, float]:
    """Return the p of a stratified permutation test of ``pool``'s t, and the smallest it can reach.

    Runs change sides within their environment; pairs by seed change sides as pairs. The test keeps
    its level whatever the shape of the scores, if it is the same on both sides.

    Args:
        strata: the scores of both sides on every environment; of equal seeds if ``paired``.
        scales: the unit of every environment in points.
        paired: whether pairs are kept together.
    """
    ways = prod(2 ** len(x) if paired else comb(len(x) + len(y), len(x)) for x, y in strata)
    sums, variances = np.zeros(DRAWS + 1), np.zeros(DRAWS + 1)
    for place, ((x, y), scale) in enumerate(zip(strata, scales, strict=True)):
        own = _flipped if paired else _relabelled
        value, variance = own(x / scale, y / scale, place)
        sums += value
        variances += variance
    tiny = 1e-12 * np.abs(sums).max()
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.abs(sums) / np.sqrt(variances)
    t = np.where(variances > tiny**2, t, np.where(np.abs(sums) > tiny, np.inf, 0.0))
    p = float((t >= t[0] * (1 - 1e-12)).mean())  # the first is the data as they are
    return p, max(1 / (DRAWS + 1), min(1.0, 2 / ways))


@lru_cache(maxsize=128)
def _orders(place: int, runs: int) -> NDArray[np.uint16]:
    """Return orders of runs, the first as they are; other places have other orders."""
    order = np.random.default_rng([SEED, place, runs]).random((DRAWS + 1, runs)).argsort(1)
    order[0] = np.arange(runs)
    return order.astype(np.uint16)


def _relabelled(x: Array, y: Array, place: int) -> tuple[Array, Array]:
    """Return difference of means and its variance as they are, and with runs dealt anew."""
    pooled, n, m = np.concatenate([x, y]), len(x), len(y)
    pooled = pooled - pooled.mean()
    dealt = pooled[_orders(place, n + m)]
    a, b = dealt[:, :n], dealt[:, n:]
    return a.mean(1) - b.mean(1), a.var(1, ddof=1) / n + b.var(1, ddof=1) / m


def _flipped(x: Array, y: Array, place: int) -> tuple[Array, Array]:
    """Return mean difference of pairs and its variance as they are, and with signs drawn anew."""
    rng = np.random.default_rng([SEED, place])
    signs = 2 * rng.integers(0, 2, (DRAWS + 1, len(x))) - 1
    signs[0] = 1
    gaps = signs * (x - y)
    return gaps.mean(1), gaps.var(1, ddof=1) / len(x)


def _between(
    values: Array, variances: Array, dfs: Array, centre: float, level: float
) -> tuple[float, float, float, float, float]:
    """Return spread, I^2, p of equal effects, and the random-effects interval."""
    count, noisy = len(values), variances > 0
    if count < 2:
        return (np.nan,) * 5
    half = student_quantile(count - 1, level) * float(values.std(ddof=1)) / np.sqrt(count)
    wide = centre - half, centre + half
    k = int(noisy.sum())
    if k < 2:
        return (np.nan, np.nan, np.nan, *wide)
    y, w, dfs = values[noisy], 1 / variances[noisy], dfs[noisy]
    total = w.sum()
    q = float((w * (y - (w * y).sum() / total) ** 2).sum())
    few = float((((1 - w / total) ** 2) / dfs).sum())  # what estimated variances add
    f = q / (k - 1) / (1 + 2 * (k - 2) / (k**2 - 1) * few)
    p = float(special.fdtrc(k - 1, (k**2 - 1) / (3 * few), f))
    surplus = max(0.0, (f - 1) * (k - 1))
    spread = float(np.sqrt(surplus / (total - (w**2).sum() / total)))
    return (spread, max(0.0, 1 - 1 / f) if f > 0 else 0.0, p, *wide)


def ratio_shift(part: Array, whole: Array, part_whole: Array, whole_whole: Array) -> float:
    """Return what removes the bias of a mean of ratios ``part / whole`` (Tin 1965).

    Each environment's effect is divided by a gap that shares runs with it. A lucky full agent makes
    both larger, so that the mean of the ratios is biased, by more standard errors the more
    environments there are. With one environment nothing is to correct: the unit is common to all.

    Args:
        part: effects ``[environments]``.
        whole: gaps ``[environments]``.
        part_whole: covariances of the two.
        whole_whole: variances of the gaps.
    """
    bias = part * whole_whole / whole**3 - part_whole / whole**2
    return -float(bias.mean()) * (1 - 1 / len(part))
