"""The bootstrap: stratified by task or clustered, with percentile or BCa intervals.

A resample is an array of counts (``prism.analysis.stats.estimators``), which every statistic can
use. 50,000 repetitions take milliseconds.
"""

from collections.abc import Callable, Hashable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import special

from .estimators import Array, Samples
from .intervals import LEVEL, SMALL_N, Estimate

REPETITIONS = 5_000
SEED = 0
PERCENTILE, BCA = "percentile", "BCa"
_SMALL = 64  # up to this n, comparing is faster than binning

Clusters = Sequence[Sequence[Hashable]]  # the cluster of every run of every task


def draw(rng: np.random.Generator, n: int, repetitions: int) -> NDArray:
    """Return ``[n, repetitions]``: how often each of ``n`` runs occurs in each resample."""
    if n <= _SMALL:
        picks = rng.integers(n, size=(n, repetitions), dtype=np.uint8)
        return np.stack([(picks == i).sum(0, dtype=np.uint8) for i in range(n)])
    owner = n * np.arange(repetitions)[:, None]
    return (
        np.bincount(
            (rng.integers(n, size=(repetitions, n)) + owner).ravel(), minlength=n * repetitions
        )
        .reshape(repetitions, n)
        .T
    )


def resamples(
    rng: np.random.Generator, samples: Samples, repetitions: int, clusters: Clusters | None = None
) -> list[NDArray]:
    """Return the counts of a bootstrap, one ``[runs, repetitions]`` per task.

    Without ``clusters``, every task is resampled separately (stratified). With them, whole clusters
    are drawn, with their runs of every task. Use clusters if runs of different tasks depend on each
    other, for instance through a shared seed.
    """
    if clusters is None:
        return [draw(rng, len(task), repetitions) for task in samples]
    names = {name: i for i, name in enumerate(dict.fromkeys(c for task in clusters for c in task))}
    counts = draw(rng, len(names), repetitions)
    return [counts[[names[c] for c in task]] for task in clusters]


def bootstrap(
    statistic: Callable[..., Array],
    *groups: Samples,
    level: float = LEVEL,
    repetitions: int = REPETITIONS,
    rng: np.random.Generator | int = SEED,
    method: str = PERCENTILE,
    clusters: Sequence[Clusters] | None = None,
) -> Estimate:
    """Estimate ``statistic(*groups)`` with an interval; it must also accept ``*counts``.

    Args:
        statistic: an estimator of ``prism.analysis.stats.estimators``, or one of the same form.
        groups: one or more groups of runs.
        level: nominal coverage.
        repetitions: resamples.
        rng: a generator or a seed; equal seeds give equal results.
        method: "percentile", or "BCa" (Efron 1987), which corrects bias and skewness.
        clusters: clusters of the runs of each group, for a cluster bootstrap.

    Raises:
        ValueError: a score is NaN, or a task has no run.
    """
    n = tuple(len(task) for group in groups for task in group)
    if min(n, default=0) == 0 or any(np.isnan(task).any() for group in groups for task in group):
        raise ValueError("every task needs at least one run, and no score may be NaN")
    value = float(statistic(*groups))
    kind = "stratified" if clusters is None else "cluster"
    description = f"{kind} {method} bootstrap, {repetitions} repetitions"
    if max(n) == 1:
        return Estimate(value, np.nan, np.nan, n, description, "one run per task: no interval")
    rng = np.random.default_rng(rng)
    counts = [
        resamples(rng, group, repetitions, clusters[i] if clusters else None)
        for i, group in enumerate(groups)
    ]
    draws = statistic(*groups, *counts)
    draws = draws[~np.isnan(draws)]  # a cluster resample may contain no run of a task
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == BCA:
        tails = _bca(tails, value, draws, _jackknife(statistic, groups))
    low, high = np.quantile(draws, tails)
    note = ""
    if min(n) == 1:
        note = f"{n.count(1)} of {len(n)} tasks have one run; the interval ignores their variance"
    elif len(n) == 1 and n[0] < SMALL_N:
        note = f"n = {n[0]}: a percentile interval from few runs is too narrow"
    return Estimate(value, float(low), float(high), n, description, note)


def _jackknife(statistic: Callable[..., Array], groups: Sequence[Samples]) -> Array:
    """Return the influence of every run: its task's mean leave-one-out value minus its own."""
    parts = []
    for g, group in enumerate(groups):
        for t, task in enumerate(group):
            if len(task) < 2:
                continue
            counts = [[np.ones((len(x), len(task)), np.int64) for x in other] for other in groups]
            counts[g][t] = 1 - np.eye(len(task), dtype=np.int64)
            values = statistic(*groups, *counts)
            parts.append(values.mean() - values)
    return np.concatenate(parts)


def _bca(tails: Array, value: float, draws: Array, influence: Array) -> Array:
    """Move the tails by bias and acceleration (Efron 1987, equations 2.3 and 6.6)."""
    share = np.clip((np.mean(draws < value) + np.mean(draws <= value)) / 2, 1e-6, 1 - 1e-6)
    bias, z = special.ndtri(share), special.ndtri(tails)
    spread = (influence**2).sum() ** 1.5
    acceleration = (influence**3).sum() / (6 * spread) if spread > 0 else 0.0
    return np.asarray(special.ndtr(bias + (bias + z) / (1 - acceleration * (bias + z))))
