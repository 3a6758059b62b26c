"""Coverage of nominal 95% intervals with few runs, measured by simulation.

The simulated scores are normal; skewed (lognormal, sigma 0.7); bimodal (30% of the runs ten
standard deviations below the others; "even peaks": 50%); or tight normal (a tenth of the standard
deviation). A mean of two runs has no interval. Two
groups have scores of the same shape or of different shapes: skewness on one side only does not
cancel in a difference. No method covers bimodal scores at n = 3, because in more than a third of
such samples all runs come from one mode. An effect of the seed that pairs share cancels in their
differences, so pairs are drawn without one. ``tests/analysis/stats/test_coverage.py`` repeats the
measurement.
"""

from collections.abc import Collection, Mapping
from math import nan

import numpy as np

from .estimators import Array
from .intervals import LEAST_N, SMALL_N

SIZES = range(2, SMALL_N + 1)
KINDS = ("normal", "skewed", "bimodal")
STUDENT, IQM = "Student t", "IQM over 5 environments, percentile bootstrap"

# Method -> shapes of the scores of its groups -> coverage in % at n = 2, 3, ..., 10 runs per group.
# Measured in 100,000 simulations for t, 3,000 for the bootstrap of a difference, 1,500 for an IQM.
MEASURED: dict[str, dict[tuple[str, ...], tuple[float, ...]]] = {
    STUDENT: {
        ("normal",): (nan, 95, 95, 95, 95, 95, 95, 95, 95),
        ("skewed",): (nan, 90, 89, 88, 88, 89, 89, 89, 90),
        ("bimodal",): (nan, 72, 76, 82, 87, 91, 93, 94, 94),
    },
    "Welch t": {
        ("normal", "normal"): (98, 96, 96, 96, 95, 95, 95, 95, 95),
        ("skewed", "skewed"): (98, 97, 98, 97, 97, 97, 97, 97, 96),
        ("bimodal", "bimodal"): (92, 98, 98, 97, 97, 96, 96, 96, 95),
        ("normal", "skewed"): (97, 96, 95, 95, 95, 95, 95, 95, 95),
        ("normal", "bimodal"): (85, 74, 77, 83, 87, 91, 93, 94, 94),
        ("skewed", "bimodal"): (81, 74, 78, 83, 88, 91, 93, 94, 94),
        ("tight normal", "skewed"): (91, 88, 88, 88, 88, 89, 89, 89, 89),
        ("tight normal", "bimodal"): (80, 72, 76, 82, 87, 91, 93, 94, 94),
    },
    "paired t": {
        ("normal", "normal"): (95, 95, 95, 95, 95, 95, 95, 95, 95),
        ("skewed", "skewed"): (96, 97, 97, 97, 96, 96, 96, 96, 96),
        ("bimodal", "bimodal"): (93, 97, 98, 97, 97, 96, 96, 95, 95),
        ("normal", "skewed"): (95, 95, 95, 95, 95, 95, 95, 95, 95),
        ("normal", "bimodal"): (87, 80, 80, 83, 88, 91, 93, 94, 94),
        ("skewed", "bimodal"): (86, 77, 80, 84, 88, 91, 93, 94, 93),
        ("tight normal", "skewed"): (93, 90, 89, 89, 89, 89, 89, 90, 90),
        ("tight normal", "bimodal"): (82, 72, 76, 82, 87, 91, 93, 94, 94),
    },
    "studentised bootstrap": {
        ("normal", "normal"): (83, 98, 97, 96, 95, 95, 95, 95, 95),
        ("skewed", "skewed"): (87, 99, 97, 96, 95, 94, 95, 94, 93),
        ("bimodal", "bimodal"): (88, 98, 99, 99, 98, 97, 97, 96, 97),
        ("normal", "skewed"): (85, 97, 96, 95, 95, 95, 94, 95, 94),
        ("normal", "bimodal"): (62, 80, 81, 84, 88, 92, 95, 96, 97),
        ("skewed", "bimodal"): (65, 81, 82, 86, 89, 92, 94, 96, 97),
        ("tight normal", "skewed"): (78, 93, 91, 91, 91, 91, 92, 92, 92),
        ("tight normal", "bimodal"): (76, 92, 83, 84, 89, 91, 94, 96, 97),
    },
    IQM: {
        ("normal",): (76, 87, 90, 92, 90, 91, 92, 94, 94),
        ("skewed",): (75, 87, 90, 90, 92, 93, 92, 94, 94),
        ("bimodal",): (70, 86, 89, 90, 92, 93, 92, 94, 94),
    },
}

# Runs of both groups -> how often Welch's test of two groups with the same scores rejects at the
# levels .05, .05 / 6 and .05 / 20, times 1, 6 and 20, in %: the worst of normal, skewed and
# two-peaked scores (30 or 50% of the runs ten standard deviations below the others). 5 keeps the
# level; a family-wise error is smaller than these, because tests that share an agent are
# correlated. Measured in 400,000 simulations. ``stats.keeps_level`` draws the line.
LEVELS = (1, 6, 20)
ERRORS: dict[tuple[int, int], tuple[float, float, float]] = {
    (3, 3): (3.6, 17.8, 47.7),
    (4, 4): (4.1, 4.7, 15.6),
    (5, 5): (4.4, 3.9, 4.1),
    (6, 5): (4.8, 4.2, 5.0),
    (6, 6): (4.6, 4.2, 3.8),
    (8, 6): (5.2, 6.1, 6.5),
    (8, 8): (5.2, 5.7, 6.4),
    (10, 3): (18.5, 50.0, 78.2),
    (10, 5): (6.7, 13.4, 21.9),
    (10, 8): (5.2, 5.9, 7.0),
    (10, 10): (5.0, 6.1, 6.4),
    (20, 10): (5.7, 8.9, 12.0),
    (20, 15): (5.1, 5.8, 7.0),
    (20, 20): (5.1, 5.6, 6.3),
}


def draw_scores(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, float]:
    """Return simulated scores and their true mean."""
    if kind == "normal":
        return rng.normal(size=shape), 0.0
    if kind == "tight normal":
        return 0.1 * rng.normal(size=shape), 0.0
    if kind == "skewed":
        return rng.lognormal(0, 0.7, shape), float(np.exp(0.245))
    low = 0.5 if kind == "even peaks" else 0.3
    return np.where(rng.random(shape) < low, 0.0, 10.0) + rng.normal(size=shape), 10 - 10 * low


def worst(method: str, sizes: Collection[int], same: bool = False) -> float:
    """Return the lowest measured coverage in %, over shapes of scores and numbers of runs.

    Args:
        method: a key of ``MEASURED``.
        sizes: numbers of runs; those outside ``SIZES`` are ignored.
        same: only groups with scores of the same shape.
    """
    places = [n - SIZES[0] for n in sizes if n in SIZES]
    rows = [row for kinds, row in MEASURED[method].items() if not same or len({*kinds}) == 1]
    return float(np.nanmin([row[i] for row in rows for i in places]))


def warning(
    means: Collection[int], differences: Mapping[str, Collection[int]], aggregates: bool = False
) -> str:
    """Return a warning about intervals from few runs; empty if no interval has few.

    Args:
        means: numbers of runs of the means that are shown.
        differences: kind of interval (a value of ``stats.INTERVALS``) -> numbers of runs, or pairs,
            of the differences that are shown.
        aggregates: whether IQMs over environments are shown.
    """
    small = sorted({n for n in means if n in SIZES})
    if not small:
        return ""
    sentences = []
    if with_interval := [n for n in small if n >= LEAST_N]:
        sizes = f"n = {with_interval[0]}"
        sizes += f" to {with_interval[-1]}" if len(with_interval) > 1 else ""
        sentences.append(
            f"At {sizes}, nominal 95% intervals of a mean cover the true mean in as few as "
            f"{worst(STUDENT, with_interval):.0f}% of simulated studies (worst of normal, skewed "
            "and bimodal scores)."
        )
    for method, groups in differences.items():
        if few := {n for n in groups if n in SIZES}:
            sentences.append(
                f"Intervals of a difference ({method}) cover the true difference in at least "
                f"{worst(method, few, same=True):.0f}% if the scores of both agents have the same "
                f"shape, and in as few as {worst(method, few):.0f}% if the shapes differ. In the "
                "remaining cases, the matching uncorrected test is wrong too."
            )
    if aggregates:
        least = worst(IQM, small)
        sentences.append(
            f"Bootstrap intervals of an IQM over 5 environments cover as few as {least:.0f}%."
        )
    return " ".join(sentences)
