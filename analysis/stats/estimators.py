"""Estimates over runs and tasks, by rliable's definitions (Agarwal et al. 2021, arXiv 2108.13264).

A group is ``Samples``: one array ``[runs]`` per task (environment), so tasks may hold different
numbers of runs. Every estimator also takes ``counts``, one ``[runs, B]`` per task: how often each
run stands in each of ``B`` resamples. It then returns ``[B]`` instead of a number. So a bootstrap,
a jackknife and a point estimate are one function, and no resample is ever written out.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Samples = Sequence[Array]
Counts = Sequence[NDArray]

_BLOCK = 4096  # resamples at a time: what an update touches stays in the cache


def tasks(matrix: Array) -> list[Array]:
    """Split ``[runs, tasks]`` into one array per task; NaN marks a missing run and is left out."""
    return [column[~np.isnan(column)] for column in np.asarray(matrix, float).T]


def normalise(score: Array, random: Array, reference: Array) -> Array:
    """Return ``(score - random) / (reference - random)``: 0 is random, 1 the reference."""
    return (score - random) / (reference - random)


def task_means(samples: Samples, counts: Counts | None = None) -> Array:
    """Return the mean of every task, ``[tasks]`` or ``[tasks, B]``."""
    if counts is None:
        return np.array([task.mean() for task in samples])
    return np.stack(
        [task @ c.astype(float) / c.sum(0) for task, c in zip(samples, counts, strict=True)]
    )


def mean(samples: Samples, counts: Counts | None = None) -> Array:
    """Return the mean over tasks of the per-task means."""
    return np.asarray(task_means(samples, counts).mean(0))


def median(samples: Samples, counts: Counts | None = None) -> Array:
    """Return the median over tasks of the per-task means."""
    return np.asarray(np.median(task_means(samples, counts), axis=0))


def iqm(samples: Samples, counts: Counts | None = None) -> Array:
    """Return the interquartile mean over all runs of all tasks.

    A quarter of the scores, rounded down, is cut from either end, as
    ``scipy.stats.trim_mean(x, 0.25)`` does (section 4.3 of the paper).
    """
    scores = np.concatenate(samples)
    if counts is None:
        cut = len(scores) // 4
        return np.asarray(np.sort(scores)[cut : len(scores) - cut].mean())
    order = np.argsort(scores, kind="stable")
    pooled = np.concatenate(counts)
    blocks = range(0, pooled.shape[1], _BLOCK)
    return np.concatenate([_trimmed(scores[order], pooled[order, b : b + _BLOCK]) for b in blocks])


def _trimmed(values: Array, counts: NDArray) -> Array:
    """Return the interquartile means ``[B]`` of sorted ``values`` repeated ``counts`` times.

    With C_j = how many scores lie at or below value j, clipped to what is kept, the sum of the kept
    scores is, by parts, v_N C_N - v_1 C_0 - sum_j C_j (v_{j+1} - v_j).
    """
    centre = values.mean()  # so that nothing cancels
    values = values - centre
    total = counts.sum(0, dtype=np.int64)
    low = total // 4
    high = total - low
    trimmed_sum = values[-1] * high - values[0] * low
    below, inside, term = np.zeros(len(total)), np.empty(len(total)), np.empty(len(total))
    floor, ceiling = low.astype(float), high.astype(float)
    for row, step in zip(counts[:-1], np.diff(values), strict=True):
        np.add(below, row, out=below)
        np.maximum(below, floor, out=inside)
        np.minimum(inside, ceiling, out=inside)
        np.multiply(inside, step, out=term)
        np.subtract(trimmed_sum, term, out=trimmed_sum)
    with np.errstate(invalid="ignore"):
        return np.asarray(centre + trimmed_sum / (high - low))


def _pooled_mean(parts: list[Array], counts: Counts | None) -> Array:
    if counts is None:
        return np.asarray(np.concatenate(parts, axis=-1).mean(-1))
    total = sum(c.sum(0) for c in counts)
    return np.asarray(sum(p @ c.astype(float) for p, c in zip(parts, counts, strict=True)) / total)


def optimality_gap(samples: Samples, counts: Counts | None = None, gamma: float = 1.0) -> Array:
    """Return how far the scores fall short of ``gamma``: ``gamma - mean(min(x, gamma))``."""
    return np.asarray(gamma - _pooled_mean([np.minimum(task, gamma) for task in samples], counts))


def profile(samples: Samples, counts: Counts | None = None, *, above: Array) -> Array:
    """Return the share of runs above each threshold, ``[T]`` or ``[T, B]``: the profile."""
    return _pooled_mean([(task > above[:, None]).astype(float) for task in samples], counts)


def probability_of_improvement(
    x: Samples, y: Samples, x_counts: Counts | None = None, y_counts: Counts | None = None
) -> Array:
    """Return P(X > Y), ties counting half, averaged over tasks (Mann-Whitney U / nm per task)."""
    parts = []
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        wins = 0.5 + 0.5 * np.sign(a[:, None] - b[None, :])
        if x_counts is None or y_counts is None:
            parts.append(np.asarray(wins.mean()))
            continue
        p, q = x_counts[i].astype(float), y_counts[i].astype(float)
        parts.append(((wins.T @ p) * q).sum(0) / (p.sum(0) * q.sum(0)))
    return np.asarray(np.mean(parts, axis=0))
