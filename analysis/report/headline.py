"""The top of a report: one answer in plain words, and a forest plot of the effects behind it.

An effect is *shown* if its corrected test reaches the level, *suggestive* if only its uncorrected
interval leaves out 0, and *unknown* otherwise: the data cannot tell it from no effect. A positive
effect is a cost of removing a component, a gain of adding it, or a distance behind the best agent.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from matplotlib.ticker import MaxNLocator

SHOWN, SUGGESTIVE, UNKNOWN = KINDS = ("shown", "suggestive", "unknown")
_MARGIN = 0.06  # of the width of a plot, left free at both sides
_TICKS = 5


@dataclass(frozen=True)
class Bar:
    """One line of a forest plot: a name, its effect and interval, and the same as text.

    ``at``, ``left`` and ``width`` are percentages of the plot's width; None if there is no number.
    """

    name: str
    kind: str
    text: str
    at: float | None
    left: float | None
    width: float | None


@dataclass(frozen=True)
class Tick:
    """A line of the grid and its text; ``zero`` is the line of no effect."""

    at: float
    text: str
    zero: bool


@dataclass(frozen=True)
class Square:
    """One entry of the matrix: a text, a class, and the strength (0 to 1) of its colour."""

    text: str
    kind: str
    strength: float
    up: bool  # removing the component raises the score


@dataclass(frozen=True)
class Line:
    """One row of the matrix."""

    name: str
    cells: list[Square]


@dataclass(frozen=True)
class Forest:
    """A forest plot, and the matrix of its effects per environment.

    Attributes:
        title: what is compared.
        axis: what the numbers are, with their unit.
        bars: the effects, largest first.
        ticks: lines of the grid.
        key: what the marks mean, as (kind, text).
        envs: columns of the matrix.
        matrix: rows of the matrix; empty with one environment.
        matrix_key: what its colours mean.
    """

    title: str
    axis: str
    bars: list[Bar]
    ticks: list[Tick]
    key: list[tuple[str, str]]
    envs: list[str] = field(default_factory=list)
    matrix: list[Line] = field(default_factory=list)
    matrix_key: str = ""


@dataclass(frozen=True)
class Headline:
    """The first screen: the answer as (text, strong) parts, the best agent, the plots."""

    answer: list[tuple[str, bool]]
    best: str
    plots: list[Forest]


def scale(lows: Sequence[float], highs: Sequence[float]) -> tuple[float, float]:
    """Return the limits of an axis that holds 0 and all finite intervals."""
    finite = [x for x in (*lows, *highs) if math.isfinite(x)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    if low == high:
        low, high = -1.0, 1.0
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def ticks(low: float, high: float, unit: str = "") -> list[Tick]:
    """Return round values between two limits, with 0 among them."""
    values = [x for x in MaxNLocator(_TICKS).tick_values(low, high) if low <= x <= high]
    return [
        Tick(round(100 * (x - low) / (high - low), 2), f"{x + 0.0:g}{unit}", abs(x) < 1e-12)
        for x in values
    ]


def bar(
    name: str, kind: str, text: str, span: tuple[float, float, float], limits: tuple[float, float]
) -> Bar:
    """Return a bar; ``span`` is the value and the limits of its interval, NaN if unknown."""
    low, high = limits

    def percent(x: float) -> float:
        return round(100 * (x - low) / (high - low), 2)

    value, left, right = span
    if not math.isfinite(value):
        return Bar(name, kind, text, None, None, None)
    if not (math.isfinite(left) and math.isfinite(right)):
        return Bar(name, kind, text, percent(value), None, None)
    return Bar(
        name, kind, text, percent(value), percent(left), round(percent(right) - percent(left), 2)
    )
