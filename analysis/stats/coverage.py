"""What nominal 95 % intervals cover in truth when runs are few, measured by simulation.

Scores: normal; skewed (lognormal, sigma 0.7); two-peaked (30 % of the runs ten standard deviations
below the others). No method covers two peaks at n = 5: in one of six such samples all runs come
from one peak. ``tests/analysis/stats/test_coverage.py`` measures the table again.
"""

import numpy as np

from analysis.stats.estimators import Array

KINDS = ("normal", "skewed", "two-peaked")
SIZES = (5, 10)
# % of 20,000 (t) or 1,500 (bootstrap) simulated studies. Method -> kind -> at n = 5 and n = 10.
MEASURED: dict[str, dict[str, tuple[float, float]]] = {
    "mean, Student": {"normal": (95, 95), "skewed": (88, 90), "two-peaked": (82, 94)},
    "mean, percentile bootstrap": {"normal": (85, 90), "skewed": (80, 86), "two-peaked": (82, 92)},
    "mean, BCa bootstrap": {"normal": (84, 90), "skewed": (81, 86), "two-peaked": (83, 96)},
    "difference, Welch": {"normal": (96, 95), "skewed": (97, 97), "two-peaked": (97, 96)},
    "difference, studentised bootstrap": {
        "normal": (96, 95),
        "skewed": (97, 93),
        "two-peaked": (99, 96),
    },
    "share of a difference, Fieller": {
        "normal": (96, 95),
        "skewed": (96, 96),
        "two-peaked": (94, 95),
    },
    "IQM over 5 tasks, percentile bootstrap": {
        "normal": (92, 93),
        "skewed": (92, 93),
        "two-peaked": (92, 93),
    },
}


def draw_scores(kind: str, rng: np.random.Generator, shape: tuple[int, ...]) -> tuple[Array, float]:
    """Return simulated scores and their true mean."""
    if kind == "normal":
        return rng.normal(size=shape), 0.0
    if kind == "skewed":
        return rng.lognormal(0, 0.7, shape), float(np.exp(0.245))
    return np.where(rng.random(shape) < 0.3, 0.0, 10.0) + rng.normal(size=shape), 7.0


def worst(method: str, n: int) -> float:
    """Return the lowest coverage in % of a method at about ``n`` runs, over the kinds of scores."""
    column = 0 if n < SIZES[1] else 1
    return min(found[column] for found in MEASURED[method].values())


def warning(n: int) -> str:
    """Return the sentence that belongs beside intervals of groups of ``n`` runs."""
    student, welch = (worst(method, n) for method in ("mean, Student", "difference, Welch"))
    size = "n < 10 (measured at n = 5)" if n < SIZES[1] else "n = 10"
    return (
        f"At {size}, 95 % intervals of a mean cover {student:.0f} % on the worst of normal, "
        f"skewed and two-peaked scores; intervals of a difference, on which tests and verdicts "
        f"rest, cover {welch:.0f} % or more."
    )
