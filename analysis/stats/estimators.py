"""Estimates over runs and tasks, by rliable's definitions (Agarwal et al. 2021, arXiv 2108.13264).

A group is ``Samples``: one array ``[runs]`` per task (environment); tasks may have different
numbers of runs. Every estimator also accepts ``counts``, one ``[runs, B]`` per task: how often each
run occurs in each of ``B`` resamples. It then returns ``[B]`` instead of a number. One function
thus serves point estimate, bootstrap and jackknife, without building the resamples.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Samples = Sequence[Array]
Counts = Sequence[NDArray]

_BLOCK = 4096  # resamples per step, so that the arrays fit the cache


def tasks(matrix: Array) -> list[Array]:
    """Split ``[runs, tasks]`` into one array per task, without NaN, which marks a missing run."""
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

    A quarter of the scores, rounded down, is removed from either end, as
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

    Let C_j be the number of scores up to value j, clipped to the range that is kept. By summation
    by parts, the sum of the kept scores is v_N C_N - v_1 C_0 - sum_j C_j (v_{j+1} - v_j).
    """
    centre = values.mean()  # avoids cancellation
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
    """Return the mean shortfall below ``gamma``: ``gamma - mean(min(x, gamma))``."""
    return np.asarray(gamma - _pooled_mean([np.minimum(task, gamma) for task in samples], counts))


def profile(samples: Samples, counts: Counts | None = None, *, above: Array) -> Array:
    """Return the share of runs above each threshold, ``[T]`` or ``[T, B]``: the profile."""
    return _pooled_mean([(task > above[:, None]).astype(float) for task in samples], counts)


def probability_of_improvement(
    x: Samples, y: Samples, x_counts: Counts | None = None, y_counts: Counts | None = None
) -> Array:
    """Return P(X > Y) averaged over tasks; ties count half (Mann-Whitney U / nm per task)."""
    parts = []
    for i, (a, b) in enumerate(zip(x, y, strict=True)):
        wins = 0.5 + 0.5 * np.sign(a[:, None] - b[None, :])
        if x_counts is None or y_counts is None:
            parts.append(np.asarray(wins.mean()))
            continue
        p, q = x_counts[i].astype(float), y_counts[i].astype(float)
        parts.append(((wins.T @ p) * q).sum(0) / (p.sum(0) * q.sum(0)))
    return np.asarray(np.mean(parts, axis=0))
