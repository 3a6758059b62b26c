"""The top of a report: one answer in plain words, and the forest plots of the effects behind it.

An effect above 0 is a cost of removing a component, a gain of adding it, or a distance behind the
agent that is compared with. With one environment it is in points of the score, with several in the
unit of the headline.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
from matplotlib.ticker import MaxNLocator

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from .. import stats
from ..load.data import Data
from ..questions.design import COMPARISON
from ..questions.pooled import GAP, IDLE, SHOWN, SUGGESTIVE, UNCLEAR, Effect, Headline
from ..questions.pooled import REFERENCE as TO_REFERENCE
from ..questions.sameness import Flags
from ..questions.scores import FINAL, NAMES
from .sentences import interval, number

FRONT = 5  # agents whose curves are in colour at first
_MARGIN = 0.06  # of the width of a plot, left free at both sides
_TICKS = 5
_STRONGEST = 0.6  # opacity of the largest effect in a matrix; the text on it stays legible
_NAMED = 6  # names in a sentence

Part = tuple[str, bool]  # a text, and whether it is strong


@dataclass(frozen=True)
class Bar:
    """One line of a forest plot: a name, its class, and its effect with interval as text.

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
    """One entry of a matrix: a text, a class, the opacity of its colour, and which colour."""

    text: str
    kind: str
    strength: float
    up: bool


@dataclass(frozen=True)
class Line:
    """One row of a matrix."""

    name: str
    cells: list[Square]


@dataclass(frozen=True)
class Forest:
    """A forest plot, and the matrix of its effects per environment.

    Attributes:
        title: what is compared.
        axis: what the numbers are, with their unit.
        bars: the effects, largest first.
        spans: effect, low and high of each, as drawn: within what the bounds of the score allow.
        cut: whether an interval goes beyond that.
        ticks: lines of the grid.
        key: what the marks mean, as (kind, text).
        envs: columns of the matrix.
        matrix: rows of the matrix; empty with one environment.
        matrix_key: what its colours mean.
    """

    title: str
    axis: str
    bars: list[Bar]
    spans: list[tuple[float, float, float]]
    cut: bool
    ticks: list[Tick]
    key: list[tuple[str, str]]
    envs: list[str]
    matrix: list[Line]
    matrix_key: str


@dataclass(frozen=True)
class Top:
    """The first screen.

    Attributes:
        answer: the answer in words.
        best: the agent with the highest mean, with its score.
        plots: a forest plot per headline.
        front: labels whose curves are in colour at first.
    """

    answer: list[Part]
    best: str
    plots: list[Forest]
    front: list[str]


def top(data: Data, headlines: Sequence[Headline], ablation: pd.DataFrame, flags: Flags) -> Top:
    """Return the first screen of a report; the first headline gives the answer.

    Args:
        flags: why a label on an environment never learned, as ``sameness.unlearned`` says.
    """
    answer = list(_answer(headlines[0])) if headlines else [_nothing(data)]
    plots = [forest(headline, data.bounds) for headline in headlines]
    best = [_best(data, ablation), *_warnings(data, flags)]
    return Top(answer, " ".join(filter(None, best)), plots, _front(data, headlines))


def _warnings(data: Data, flags: Flags) -> Iterator[str]:
    """Yield whose scores say nothing of learning, by reason."""
    by_flag: dict[str, dict[str, list[str]]] = {}
    for (label, env), flag in flags.items():
        by_flag.setdefault(flag, {}).setdefault(label, []).append(env)
    for flag, labels in by_flag.items():
        names = [
            label if len(data.envs) == 1 else f"{label} on {len(envs)} of {len(data.envs)}"
            for label, envs in labels.items()
        ]
        more = f" and {len(names) - _NAMED + 1} more" if len(names) > _NAMED else ""
        named = names[: _NAMED - 1] if more else names
        yield f"{flag[0].upper()}{flag[1:]}: {', '.join(named)}{more}."


def _nothing(data: Data) -> Part:
    label, many = data.labels[0], len(data.labels) > 1
    why = "no environment has two agents" if many else f"{label} is the only agent"
    return f"There is nothing to compare: {why}.", False


def _answer(headline: Headline) -> Iterator[Part]:
    """Yield the answer: what is shown, what is suggestive, and what cannot be told."""
    groups = {
        kind: [e for e in headline.effects if e.verdict == kind]
        for kind in (SHOWN, SUGGESTIVE, UNCLEAR, IDLE)
    }
    above = [e for e in groups[SHOWN] if e.effect > 0]
    below = [e for e in reversed(groups[SHOWN]) if e.effect < 0]
    if headline.section == COMPARISON:
        yield from _comparison(headline, above, groups)
        return
    removed = headline.section == LEAVE_ONE_OUT
    action = "Removing" if removed else "Adding"
    costs, gains = ("costs", "gains") if removed else ("gains", "costs")
    for effects, verb in ((above, costs), (below, gains)):
        if effects:
            amount = _amount(headline, effects[0])
            first = [e for e in effects if _amount(headline, e) == amount]
            rest = effects[len(first) :]
            yield f"{action} ", False
            yield from _listed(first, last=" or ")
            each = " each" if len(first) > 1 else ""
            largest = ", the largest estimate" if rest else ""
            yield f" {verb} {amount}{each}{largest}. ", False
            if rest:
                yield from _listed(rest, capital=True)
                yield f" {verb if len(rest) == 1 else verb[:-1]} too. ", False
    yield from _suggestive(headline, groups[SUGGESTIVE], f"{action} ", (costs[:-1], gains[:-1]))
    if groups[UNCLEAR] and not (groups[SHOWN] or groups[SUGGESTIVE]):
        yield "No component's effect can be told from no effect. ", False
    elif groups[UNCLEAR]:
        yield from _listed(groups[UNCLEAR], strong=False, capital=True)
        yield ": not told apart from no effect. ", False
    if groups[IDLE]:
        yield from _listed(groups[IDLE], capital=True)
        yield " never acted: the runs are identical. ", False
    for effect in headline.effects:
        if effect.mixed:
            yield _name(effect), True
            yield " is shown to help on some environments and to hurt on others. ", False


def _comparison(
    headline: Headline, behind: Sequence[Effect], groups: dict[str, list[Effect]]
) -> Iterator[Part]:
    reference = headline.effects[0].reference
    ahead = [e for e in groups[SHOWN] if e.effect < 0]
    yield reference, True
    yield (" has the highest mean" if headline.chosen else " is the reference"), False
    if behind:
        everyone = len(behind) == len(headline.effects)
        yield ", shown above ", False
        if everyone and len(behind) > 1:
            yield "every other agent", False
        else:
            yield from _listed(behind)
    yield ". ", False
    if ahead:
        yield from _listed(ahead)
        yield f" {'is' if len(ahead) == 1 else 'are'} shown above it. ", False
    yield from _suggestive(headline, groups[SUGGESTIVE], "", ("be behind by", "be ahead by"))
    if groups[UNCLEAR]:
        yield "Not told apart from it: ", False
        yield from _listed(groups[UNCLEAR], strong=False)
        yield ". ", False
    if groups[IDLE]:
        yield from _listed(groups[IDLE])
        yield (
            f" {'has' if len(groups[IDLE]) == 1 else 'have'} the same runs as {reference}. ",
            False,
        )


def _suggestive(
    headline: Headline, effects: Sequence[Effect], action: str, verbs: tuple[str, str]
) -> Iterator[Part]:
    """Yield what is suggestive; the number only of a single effect."""
    after = f"not shown after correction for {headline.family} comparisons. "
    if len(effects) == 1:
        effect = effects[0]
        yield action, False
        yield _name(effect), True
        verb = verbs[effect.effect < 0]
        yield f" may {verb} {_amount(headline, effect)}: suggestive, {after}", False
    elif effects:
        yield "Suggestive: ", False
        yield from _listed(effects)
        yield f", {after}", False


def _listed(
    effects: Sequence[Effect], strong: bool = True, capital: bool = False, last: str = " and "
) -> Iterator[Part]:
    """Yield "A, B and C"; ``last`` stands before the last one."""
    names = [_name(effect) for effect in effects]
    if len(names) > _NAMED:
        names = [*names[: _NAMED - 1], f"{len(names) - _NAMED + 1} more"]
    for i, name in enumerate(names):
        if i:
            yield (last if i == len(names) - 1 else ", "), False
        yield (name[0].upper() + name[1:] if capital and not i else name), strong


def _name(effect: Effect) -> str:
    return effect.component or effect.label


def _amount(headline: Headline, effect: Effect) -> str:
    """Return the size of an effect in words, without sign and interval."""
    if len(headline.environments) == 1:
        return f"{number(abs(_points(effect)[0]))} points"
    if headline.unit == GAP:
        return f"{abs(effect.effect):.0%} of {headline.per_unit}"
    unit = f"of {headline.per_unit}" if headline.unit == TO_REFERENCE else "standard deviations"
    return f"{abs(effect.effect):.2f} {unit}"


def _points(effect: Effect) -> tuple[float, float, float]:
    """Return the effect on the only environment, in points of the score."""
    (one,) = [e for e in effect.environments if not math.isnan(e.points)] or effect.environments[:1]
    return one.points, one.points_low, one.points_high


def _span(headline: Headline, effect: Effect) -> tuple[float, float, float]:
    """Return what a bar shows: the effect and its interval in the unit of the plot."""
    if len(headline.environments) == 1 and effect.environments:
        return _points(effect)
    scale = 100 if headline.unit == GAP else 1
    return scale * effect.effect, scale * effect.low, scale * effect.high


def _best(data: Data, ablation: pd.DataFrame) -> str:
    """Return who has the highest mean, and with one environment its score."""
    if ablation.empty:
        return ""
    rows = ablation[(ablation.metric == FINAL) & ablation["mean"].notna()]
    order = rows.sort_values("mean", ascending=False)
    winners: list[Any] = list(order.groupby("env", sort=False).head(1).itertuples())
    if len(winners) == 1:
        best = winners[0]
        span = "" if math.isnan(best.low) else f" {interval(best.low, best.high)}"
        score = f"{NAMES[FINAL]} {number(best.mean)}{span}, n = {best.n}"
        return f"Highest mean: {best.label}, {score}."
    counts = pd.Series([row.label for row in winners], dtype=str).value_counts()
    parts = [f"{label} on {n}" for label, n in counts.head(3).items()]
    more = f" and {len(counts) - 3} other agents" if len(counts) > 3 else ""
    names = ", ".join(parts) + more
    return f"Highest mean of the {NAMES[FINAL]}: {names} of {len(winners)} environments."


def _front(data: Data, headlines: Sequence[Headline]) -> list[str]:
    """Return the labels whose curves come first: both ends, and the largest effects."""
    names: list[str] = []
    for headline in headlines[:1]:
        effects = [e for e in headline.effects if not math.isnan(e.effect)]
        if headline.section == COMPARISON:  # the best agents
            effects.sort(key=lambda e: e.effect)
        else:
            effects.sort(key=lambda e: (e.verdict != SHOWN, -abs(e.effect)))
        names = [headline.full, headline.base, *(e.reference for e in effects[:1])]
        names += [e.label for e in effects]
    names = [name for name in dict.fromkeys([*names, *data.labels]) if name in data.labels]
    return names[:FRONT]


def _most(headline: Headline, bounds: Mapping[str, tuple[float, float]]) -> float:
    """Return the largest effect that the bounds of the score allow, as drawn; NaN if not known."""
    ranges = {env: bounds[env][1] - bounds[env][0] for env in headline.environments}
    if len(ranges) == 1:
        return next(iter(ranges.values()))
    scale = 100 if headline.unit == GAP else 1
    shares = [points / headline.scales[env] for env, points in ranges.items()]
    return scale * sum(shares) / len(shares) if shares else math.nan


def _cut(low: float, high: float, most: float) -> tuple[float, float]:
    least, largest = stats.cut(low, high, (-most, most))
    return float(least), float(largest)


def forest(headline: Headline, bounds: Mapping[str, tuple[float, float]]) -> Forest:
    """Return the forest plot of a headline.

    Args:
        headline: the effects.
        bounds: environment -> least and largest score that are possible; NaN if not known.
    """
    removed, one = headline.section == LEAVE_ONE_OUT, len(headline.environments) == 1
    percent = headline.unit == GAP and not one
    spans = [_span(headline, e) for e in headline.effects]
    most = _most(headline, bounds)
    drawn = [(x, *_cut(low, high, most)) for x, low, high in spans]
    limits = _limits(drawn)
    reference = headline.effects[0].reference
    title, what, above, below = {
        LEAVE_ONE_OUT: (
            f"One component removed from {headline.full}", "cost of removing it", "costs", "gains",
        ),
        ADD_ONE_IN: (
            f"One component added to {headline.base}", "gain of adding it", "gains", "costs",
        ),
        COMPARISON: (f"Agents behind {reference}", "behind by", "behind", "ahead"),
    }[headline.section]  # fmt: skip
    unit = f"points of {NAMES[headline.metric]}"
    if not one:
        unit = {GAP: f"% of {headline.per_unit}", TO_REFERENCE: f"1 = {headline.per_unit}"}.get(
            headline.unit, "standard deviations"
        )
    holm = "uncorrected" if headline.correction == stats.NONE else headline.correction
    key = [
        ("shown", f"shown ({holm} over {headline.family}, {1 - stats.LEVEL:.0%})"),
        ("suggestive", "suggestive: not shown after correction"),
        ("unknown", "cannot tell"),
    ]
    effects = [e.effect for x in headline.effects for e in x.environments]
    largest = max((abs(x) for x in effects if math.isfinite(x)), default=0.0)
    matrix = [] if one else [_line(headline, e, largest) for e in headline.effects]
    verb = "Removing" if removed else "Adding"
    return Forest(
        title=title,
        axis=f"{what}, {unit}",
        bars=[
            _bar(e, span, ends, limits, percent)
            for e, span, ends in zip(headline.effects, spans, drawn, strict=True)
        ],
        spans=drawn,
        cut=any(abs(x) > most for _, *span in spans for x in span),
        ticks=_ticks(*limits, "%" if percent else ""),
        key=key,
        envs=[] if one else list(headline.environments),
        matrix=matrix,
        matrix_key=(
            (f"Blue: {above}; orange: {below}" if headline.section == COMPARISON else
             f"Blue: {verb.lower()} it {above}; orange: it {below}")
            + ". Bold: shown on that environment, corrected over "
            f"{headline.family_cells} comparisons."
        ),
    )  # fmt: skip


def _line(headline: Headline, effect: Effect, largest: float) -> Line:
    here = {one.env: one for one in effect.environments}
    cells = []
    for env in headline.environments:
        one = here.get(env)
        if one is None or not math.isfinite(one.effect):
            cells.append(Square("", "unknown", 0.0, False))
            continue
        text = f"{100 * one.effect:+.0f}%" if headline.unit == GAP else f"{one.effect:+.2f}"
        strength = round(_STRONGEST * abs(one.effect) / largest, 3) if largest else 0.0
        kind = "shown" if one.verdict == SHOWN else "unknown"
        cells.append(Square(text, kind, strength, one.effect < 0))
    return Line(_name(effect), cells)


def _limits(spans: Sequence[tuple[float, float, float]]) -> tuple[float, float]:
    """Return the limits of an axis that holds 0 and all finite intervals."""
    finite = [x for span in spans for x in span if math.isfinite(x)]
    low, high = min([0.0, *finite]), max([0.0, *finite])
    if low == high:
        low, high = -1.0, 1.0
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def _ticks(low: float, high: float, unit: str) -> list[Tick]:
    """Return round values between two limits, with 0 among them."""
    values = [x for x in MaxNLocator(_TICKS).tick_values(low, high) if low <= x <= high]
    return [
        Tick(round(100 * (x - low) / (high - low), 2), f"{x + 0.0:g}{unit}", abs(x) < 1e-12)
        for x in map(float, values)
    ]


def _bar(
    effect: Effect,
    span: tuple[float, float, float],
    drawn: tuple[float, float, float],
    limits: tuple[float, float],
    percent: bool,
) -> Bar:
    """Return a line of the plot; its text has the whole interval, also where less is drawn."""
    kind = {SHOWN: "shown", SUGGESTIVE: "suggestive"}.get(effect.verdict, "unknown")
    (value, left, right), (low, high) = span, limits

    def place(x: float) -> float:
        return round(100 * (x - low) / (high - low), 2)

    if effect.verdict == IDLE:
        return Bar(_name(effect), kind, effect.note or IDLE, place(0.0), None, None)
    if not math.isfinite(value):
        return Bar(_name(effect), kind, effect.note or "no runs", None, None, None)
    text = f"{value:.0f}%" if percent else number(value)
    if not (math.isfinite(left) and math.isfinite(right)):
        return Bar(_name(effect), kind, text, place(value), None, None)
    text += f" [{left:.0f}, {right:.0f}]" if percent else f" {interval(left, right)}"
    start, end = place(drawn[1]), place(drawn[2])
    return Bar(_name(effect), kind, text, place(value), start, round(end - start, 2))
