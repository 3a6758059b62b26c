"""Figures for papers: effects as a forest, aggregates, performance profiles, improvement.

A caption states n, the interval and its method, and what is not drawn.
"""

import math
from collections.abc import Iterator, Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from .. import stats
from ..errors import count
from ..load.data import Data
from ..questions.pooled import Headline
from ..questions.scores import AGGREGATES, PROFILE_REPETITIONS, aggregates, matrices, profiles
from .headline import environments
from .style import NARROW, Plot, Style, edges, legend, panels, styles, theme
from .table import between
from .top import forest

SHOWN, FAINT = "#1f5fae", "#808080"  # as on the page
_MARKS = {  # class -> colour, whether the mark is filled, line
    "shown": (SHOWN, True, "-"),
    "suggestive": (SHOWN, False, "-"),
    "unknown": (FAINT, False, (0, (2, 1.5))),
}
_ROW = 0.27  # inches
_POINTS = 101  # of a profile


def figures(
    data: Data,
    scores: pd.DataFrame,
    headlines: Sequence[Headline],
    standing: pd.DataFrame,
    width: str = "text",
) -> Iterator[Plot]:
    """Yield a forest per headline and, over several environments, what is told over all of them.

    Args:
        data: the runs.
        scores: one row per scored run.
        headlines: the effects over all environments.
        standing: ranks and improvement, from ``standing.standing``; empty: not drawn.
        width: "text" or "column".
    """
    theme(width)
    look = styles(data)
    for headline in headlines:
        yield _forest(data, headline)
    groups = matrices(data, scores)
    if groups and min(map(len, groups.values())) > 1:
        yield _intervals(aggregates(data, scores), look)
        yield _profiles(data, scores, groups, look)
    if len(standing) and standing.environments.iloc[0] > 1:
        yield _standing(standing, look)


def _forest(data: Data, headline: Headline) -> Plot:
    """Draw the effects of a headline, largest first, as on the page."""
    plot = forest(headline, data.bounds)
    figure, (axis,) = panels(1, height=_ROW * len(plot.bars) + 0.8)
    wide = mpl.rcParams["figure.figsize"][0] >= NARROW
    for y, (bar, (value, low, high)) in enumerate(zip(plot.bars, plot.spans, strict=True)):
        color, filled, dash = _MARKS[bar.kind]
        if math.isfinite(low) and math.isfinite(high):
            axis.plot([low, high], [y, y], color=color, ls=dash, lw=2)
        if math.isfinite(value):
            axis.plot(value, y, "o", color=color, mfc=color if filled else "white", ms=6, mew=1.6)
        if wide:
            where = axis.get_yaxis_transform()
            axis.text(1.02, y, bar.text, transform=where, va="center", fontsize=8)
    for kind, text in plot.key:
        color, filled, dash = _MARKS[kind]
        axis.plot(
            [], [], marker="o", color=color, ls=dash, lw=2, ms=6, mew=1.6,
            mfc=color if filled else "white", label=text,
        )  # fmt: skip
    axis.axvline(0, color="black", lw=0.8)
    _rows(axis, [bar.name for bar in plot.bars])
    axis.set_title(plot.title, loc="left")
    axis.set_xlabel(plot.axis)
    legend(figure, 2)
    sizes = [n for e in headline.effects for n in e.n if n]
    caption = (
        f"{plot.title}: {plot.axis}, over {environments(headline)}, with {stats.LEVEL:.0%} "
        f"interval (not corrected). Colours: {headline.test or 'no'} test, "
        f"{headline.correction} correction over {count(headline.family, 'comparison')}. "
        f"n = {between(sizes)} runs per agent and environment."
    )
    if plot.cut:
        caption += " Intervals end where the bounds of the score do."
    names = (headline.section, headline.base, headline.full, headline.metric)
    return Plot("-".join(["forest", *filter(None, names)]), figure, caption)


def _intervals(frame: pd.DataFrame, look: dict[str, Style]) -> Plot:
    """Draw median, IQM, mean and optimality gap with their intervals."""
    labels = [label for label in look if label in set(frame.label)]
    figure, axes = panels(len(AGGREGATES), height=_ROW * len(labels) + 0.7, most=2)
    first, last = edges(axes, most=2)
    for axis, name in zip(axes, AGGREGATES, strict=True):
        rows = frame[frame.statistic == name].to_dict("records")
        spans = {row["label"]: (row["value"], row["low"], row["high"]) for row in rows}
        for y, label in enumerate(labels):
            _span(axis, y, spans[label], look[label])
        _rows(axis, labels if axis in first else [], len(labels))
        axis.set_title(name + (" (lower is better)" if "gap" in name else ""), loc="left")
    for axis in last:
        axis.set_xlabel("normalised score")
    caption = (
        f"Normalised score over {frame.environments.iloc[0]} environments (0 random, 1 reference), "
        f"with {stats.LEVEL:.0%} {frame.method.iloc[0]}. n ≥ {frame.n.min()} runs per agent and "
        "environment."
    )
    return Plot("aggregate-intervals", figure, caption)


def _profiles(
    data: Data, scores: pd.DataFrame, groups: dict[str, list[stats.Array]], look: dict[str, Style]
) -> Plot:
    """Draw the share of runs above each normalised score, with bands."""
    values = np.concatenate([x for tasks in groups.values() for x in tasks])
    grid = np.linspace(min(0.0, values.min()), max(1.0, values.max()), _POINTS)
    frame = profiles(data, scores, grid)
    figure, (axis,) = panels(1, height=2.8)
    for label in look:
        rows = frame[frame.label == label]
        if len(rows):
            style = look[label]
            axis.plot(
                rows.above, rows["share"], color=style.color, ls=style.dash, lw=style.width,
                label=label,
            )  # fmt: skip
            axis.fill_between(rows.above, rows.low, rows.high, color=style.color, alpha=0.13, lw=0)
    axis.set_xlabel("normalised score (0 random, 1 reference)")
    axis.set_ylabel("share of runs above it")
    axis.set_ylim(-0.02, 1.02)
    legend(figure, 1)
    sizes = [len(x) for tasks in groups.values() for x in tasks]
    environments = len(next(iter(groups.values())))
    caption = (
        f"Performance profiles over {environments} environments: share of runs above a normalised "
        f"score, with pointwise {stats.LEVEL:.0%} interval (stratified percentile bootstrap over "
        f"runs, {PROFILE_REPETITIONS} repetitions). n = {between(sizes)} runs per agent and "
        "environment."
    )
    return Plot("profiles", figure, caption)


def _standing(frame: pd.DataFrame, look: dict[str, Style]) -> Plot:
    """Draw mean ranks, and the probability of improvement over a reference."""
    labels, reference = list(frame.label), frame.reference.iloc[0]
    figure, axes = panels(2, height=_ROW * len(labels) + 0.7, most=2)
    first, _ = edges(axes, most=2)
    names = (("rank", "mean rank"), ("improvement", f"P(better than {reference})"))
    for axis, (column, title) in zip(axes, names, strict=True):
        for y, row in enumerate(frame.to_dict("records")):
            span = (row[column], row[f"{column}_low"], row[f"{column}_high"])
            _span(axis, y, span, look[row["label"]])
        _rows(axis, labels if axis in first else [], len(labels))
        axis.set_title(title, loc="left")
    axes[0].set_xlim(0.8, len(labels) + 0.2)
    axes[1].set_xlim(-0.03, 1.03)
    axes[1].axvline(0.5, color="black", lw=0.8)
    caption = (
        f"Mean rank over {frame.environments.iloc[0]} environments (1 is the best), and "
        f"probability that a run scores more than one of {reference}, averaged over "
        f"environments (ties count half; 0.5: no difference), with {stats.LEVEL:.0%} interval "
        f"(bootstrap over runs, stratified by agent and environment, {stats.REPETITIONS} "
        f"repetitions). n ≥ {frame.n.min()} runs per agent and environment."
    )
    return Plot("improvement", figure, caption)


def _span(axis: Axes, y: int, span: tuple[float, float, float], style: Style) -> None:
    """Draw a value and its interval in the row of a label."""
    value, low, high = span
    if math.isfinite(low) and math.isfinite(high):
        axis.plot([low, high], [y, y], color=style.color, lw=2.4)
    if math.isfinite(value):
        axis.plot(value, y, "|", color=style.color, ms=11, mew=2.4)


def _rows(axis: Axes, names: Sequence[str], size: int | None = None) -> None:
    """Name the rows of a panel, the first at the top; without names, their number is given."""
    size = len(names) if size is None else size
    axis.set_yticks(range(size), names or [""] * size)
    axis.set_ylim(size - 0.4, -0.6)
    axis.grid(False, axis="y")
    axis.xaxis.set_major_locator(MaxNLocator(5))
