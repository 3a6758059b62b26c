"""The bootstrap: seeded, stratified by task or clustered, percentile or BCa.

A resample is a table of counts (``prism.analysis.stats.estimators``): the same draws serve every
statistic, and 50,000 repetitions cost milliseconds.
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
_SMALL = 64  # up to here counting by comparison is faster than sorting into bins

Clusters = Sequence[Sequence[Hashable]]  # the cluster of every run of every task


def draw(rng: np.random.Generator, n: int, repetitions: int) -> NDArray:
    """Return ``[n, repetitions]``: how often each of ``n`` runs is drawn in each resample of n."""
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

    Without ``clusters`` every task is resampled on its own (stratified). With them whole clusters
    are drawn, and a cluster brings its runs of every task: right where, say, all tasks of one seed
    share something.
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
    """Estimate ``statistic(*groups)``; it is called as ``statistic(*groups, *counts)`` too.

    Args:
        statistic: an estimator of ``prism.analysis.stats.estimators``, or one of the same form.
        groups: one or more groups of runs.
        level: nominal coverage.
        repetitions: resamples.
        rng: a generator or a seed; equal seeds give equal bytes.
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
        return Estimate(value, np.nan, np.nan, n, description, "one run a task: no interval")
    rng = np.random.default_rng(rng)
    counts = [
        resamples(rng, group, repetitions, clusters[i] if clusters else None)
        for i, group in enumerate(groups)
    ]
    draws = statistic(*groups, *counts)
    draws = draws[~np.isnan(draws)]  # a cluster resample may hold no run of a task
    tails = np.array([(1 - level) / 2, (1 + level) / 2])
    if method == BCA:
        tails = _bca(tails, value, draws, _jackknife(statistic, groups))
    low, high = np.quantile(draws, tails)
    note = ""
    if min(n) == 1:
        note = f"{n.count(1)} of {len(n)} tasks have one run, whose spread is not in the interval"
    elif len(n) == 1 and n[0] < SMALL_N:
        note = f"n = {n[0]}: a percentile interval of few runs is too narrow"
    return Estimate(value, float(low), float(high), n, description, note)


def _jackknife(statistic: Callable[..., Array], groups: Sequence[Samples]) -> Array:
    """Return the influence of every run: the mean of its task's leave-one-out values minus its."""
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
