"""What nominal 95 % intervals cover in truth when runs are few, measured by simulation.

Scores: normal; skewed (lognormal, sigma 0.7); two-peaked (30 % of the runs ten standard deviations
below the others); tight normal (a tenth of the spread). Two groups have the same shape or different
ones: what is skewed on one side only does not cancel in a difference. No method covers two peaks at
n = 3: in more than a third of such samples all runs come from one peak. Luck that pairs share
cancels in their differences, so pairs are drawn without it.
``tests/analysis/stats/test_coverage.py`` measures what is quoted again.
"""

from collections.abc import Collection, Mapping

import numpy as np

from .estimators import Array
from .intervals import SMALL_N

SIZES = range(2, SMALL_N + 1)
KINDS = ("normal", "skewed", "two-peaked")
STUDENT, IQM = "Student t", "IQM over 5 environments, percentile bootstrap"

# % of simulated studies at n = 2, 3, ..., 10 runs a group: 100,000 studies for t, 3,000 (1,500) for
# the bootstrap of a difference (an IQM). Method -> kinds of scores of its groups -> coverage.
MEASURED: dict[str, dict[tuple[str, ...], tuple[float, ...]]] = {
    STUDENT: {
        ("normal",): (95, 95, 95, 95, 95, 95, 95, 95, 95),
        ("skewed",): (92, 90, 89, 88, 88, 89, 89, 89, 90),
        ("two-peaked",): (82, 72, 76, 82, 87, 91, 93, 94, 94),
    },
    "Welch t": {
        ("normal", "normal"): (98, 96, 96, 96, 95, 95, 95, 95, 95),
        ("skewed", "skewed"): (98, 97, 98, 97, 97, 97, 97, 97, 96),
        ("two-peaked", "two-peaked"): (92, 98, 98, 97, 97, 96, 96, 96, 95),
        ("normal", "skewed"): (97, 96, 95, 95, 95, 95, 95, 95, 95),
        ("normal", "two-peaked"): (85, 74, 77, 83, 87, 91, 93, 94, 94),
        ("skewed", "two-peaked"): (81, 74, 78, 83, 88, 91, 93, 94, 94),
        ("tight normal", "skewed"): (91, 88, 88, 88, 88, 89, 89, 89, 89),
        ("tight normal", "two-peaked"): (80, 72, 76, 82, 87, 91, 93, 94, 94),
    },
    "paired t": {
        ("normal", "normal"): (95, 95, 95, 95, 95, 95, 95, 95, 95),
        ("skewed", "skewed"): (96, 97, 97, 97, 96, 96, 96, 96, 96),
        ("two-peaked", "two-peaked"): (93, 97, 98, 97, 97, 96, 96, 95, 95),
        ("normal", "skewed"): (95, 95, 95, 95, 95, 95, 95, 95, 95),
        ("normal", "two-peaked"): (87, 80, 80, 83, 88, 91, 93, 94, 94),
        ("skewed", "two-peaked"): (86, 77, 80, 84, 88, 91, 93, 94, 93),
        ("tight normal", "skewed"): (93, 90, 89, 89, 89, 89, 89, 90, 90),
        ("tight normal", "two-peaked"): (82, 72, 76, 82, 87, 91, 93, 94, 94),
    },
    "studentised bootstrap": {
        ("normal", "normal"): (83, 98, 97, 96, 95, 95, 95, 95, 95),
        ("skewed", "skewed"): (87, 99, 97, 96, 95, 94, 95, 94, 93),
        ("two-peaked", "two-peaked"): (88, 98, 99, 99, 98, 97, 97, 96, 97),
        ("normal", "skewed"): (85, 97, 96, 95, 95, 95, 94, 95, 94),
        ("normal", "two-peaked"): (62, 80, 81, 84, 88, 92, 95, 96, 97),
        ("skewed", "two-peaked"): (65, 81, 82, 86, 89, 92, 94, 96, 97),
        ("tight normal", "skewed"): (78, 93, 91, 91, 91, 91, 92, 92, 92),
        ("tight normal", "two-peaked"): (76, 92, 83, 84, 89, 91, 94, 96, 97),
    },
    IQM: {
        ("normal",): (76, 87, 90, 92, 90, 91, 92, 94, 94),
        ("skewed",): (75, 87, 90, 90, 92, 93, 92, 94, 94),
        ("two-peaked",): (70, 86, 89, 90, 92, 93, 92, 94, 94),
    },
}


def draw_scores(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, float]:
    """Return simulated scores and their true mean."""
    if kind == "normal":
        return rng.normal(size=shape), 0.0
    if kind == "tight normal":
        return 0.1 * rng.normal(size=shape), 0.0
    if kind == "skewed":
        return rng.lognormal(0, 0.7, shape), float(np.exp(0.245))
    return np.where(rng.random(shape) < 0.3, 0.0, 10.0) + rng.normal(size=shape), 7.0


def worst(method: str, sizes: Collection[int], same: bool = False) -> float:
    """Return the lowest coverage in % over the kinds of scores and these numbers of runs.

    Args:
        method: of ``MEASURED``.
        sizes: runs of the groups; those outside ``SIZES`` do not count.
        same: only where all groups have the same kind of scores.
    """
    places = [n - SIZES[0] for n in sizes if n in SIZES]
    rows = [row for kinds, row in MEASURED[method].items() if not same or len({*kinds}) == 1]
    return min(row[i] for row in rows for i in places)


def warning(
    means: Collection[int], differences: Mapping[str, Collection[int]], aggregates: bool = False
) -> str:
    """Return the sentences that belong beside intervals of few runs; "" where none has few.

    Args:
        means: runs of every group whose mean is shown.
        differences: kind of interval (a value of ``stats.INTERVALS``) -> the runs, or pairs, on
            which such intervals rest.
        aggregates: whether IQMs over environments are shown.
    """
    small = sorted({n for n in means if n in SIZES})
    if not small:
        return ""
    sizes = f"n = {small[0]}" + (f" to {small[-1]}" if len(small) > 1 else "")
    sentences = [
        f"At {sizes}, 95 % intervals of a mean cover {worst(STUDENT, small):.0f} % on the worst of "
        "normal, skewed and two-peaked scores."
    ]
    for method, groups in differences.items():
        if few := {n for n in groups if n in SIZES}:
            sentences.append(
                f"Intervals of a difference ({method}) cover {worst(method, few, same=True):.0f} % "
                f"or more where both agents' scores have the same shape, {worst(method, few):.0f} "
                "% on the worst pair of different shapes; an uncorrected test errs as often."
            )
    if aggregates:
        least = worst(IQM, small)
        sentences.append(f"Bootstrap intervals of an IQM over 5 environments cover {least:.0f} %.")
    return " ".join(sentences)
