"""The headline in words and as a table: one effect per component, or agent, over environments."""

from collections.abc import Iterator

import numpy as np

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from .. import stats
from ..errors import count
from ..questions.design import COMPARISON
from ..questions.pooled import GAP, IDLE, REFERENCE, SHOWN, SUGGESTIVE, Effect, Headline
from ..questions.scores import NAMES
from .table import Table, numbers, p_value, slug, spans

_ALPHA = 1 - stats.LEVEL


def headline_table(headline: Headline) -> Table:
    """Return one row per effect, largest first."""
    effects = headline.effects
    scale = 100 if headline.unit == GAP else 1
    word = {LEAVE_ONE_OUT: "cost of removing", ADD_ONE_IN: "gain of adding"}.get(
        headline.section, f"behind {effects[0].reference}"
    )
    several = len(headline.environments) > 1
    columns = {
        ("agent" if headline.section == COMPARISON else "component"): [
            e.component or e.label for e in effects
        ],
        "n": [_n(e) for e in effects],
        f"{word}, {_short(headline)}": spans(
            [e.effect for e in effects], [e.low for e in effects], [e.high for e in effects], scale
        ),
        f"{'' if headline.correction == stats.NONE else headline.correction} p".strip(): [
            p_value(e.p_adjusted) for e in effects
        ],
        "verdict": [e.verdict for e in effects],
    }
    if several:
        columns["spread between environments"] = numbers([scale * e.spread for e in effects])
        columns["I²"] = ["" if np.isnan(e.i2) else f"{e.i2:.0%}" for e in effects]
        columns["shown on"] = [_places(e) for e in effects]
    title = {
        LEAVE_ONE_OUT: f"What each component of {headline.full} is worth",
        ADD_ONE_IN: f"What each component adds to {headline.base}",
        COMPARISON: f"The agents against {effects[0].reference}",
    }[headline.section]
    return Table(
        name=slug("headline", headline.section, headline.base, headline.full, headline.metric),
        title=f"{title}: {NAMES[headline.metric]} over {environments(headline)}",
        header=list(columns),
        rows=[list(row) for row in zip(*columns.values(), strict=True)],
        frame=headline.frame(),
        words=(0, 4, 7) if several else (0, 4),
        notes=list(_notes(headline)),
    )


def environments(headline: Headline) -> str:
    """Return the environment's name, or how many there are."""
    names = headline.environments
    return f"{len(names)} environments" if len(names) > 1 else "".join(names)


def _short(headline: Headline) -> str:
    return {GAP: "% of gap", REFERENCE: "random to reference = 1"}.get(headline.unit, "in sd")


def _n(effect: Effect) -> str:
    low, high = effect.n
    return str(low) if low == high else f"{low} to {high}"


def _places(effect: Effect) -> str:
    parts = []
    for word, names in (("above 0: ", effect.costs_on), ("below 0: ", effect.helps_on)):
        if names:
            parts.append(word + (", ".join(names) if len(names) < 4 else str(len(names))))
    return "; ".join(parts)


def _notes(headline: Headline) -> Iterator[str]:
    level = f"{stats.LEVEL:.0%}"
    what = "pair" if headline.chosen else "comparison"
    yield (
        f"Mean over environments [{level} interval, not corrected], each environment counting the "
        f"same, in units of {headline.per_unit}. p: {headline.test or 'no'} test, "
        f"{headline.correction} correction over {count(headline.family, what)}. n: runs per "
        f"environment. Verdict: shown (corrected p < {_ALPHA:.2g}), suggestive (only the "
        "uncorrected p is below it), or cannot tell."
    )
    if len(headline.environments) > 1:
        yield (
            "Spread: standard deviation of the true effects between environments. I²: the share of "
            "the variance between them that is not noise of the runs. Shown on: environments where "
            f"the effect is shown, corrected over {headline.family_cells} comparisons (labels x "
            "environments)."
        )
    if headline.chosen:
        yield (
            f"{headline.effects[0].reference} has the highest mean of these runs, so its lead is "
            "biased upwards."
        )
    for env, why in headline.left_out.items():
        yield f"{env} is not in it: {why}."
    for effect in headline.effects:
        if effect.note:
            yield f"{effect.label}: {effect.note}."


def effect_text(headline: Headline, effect: Effect) -> str:
    """Return one sentence about a component or an agent, without a full stop."""
    what = {
        LEAVE_ONE_OUT: f"Removing {effect.component}",
        ADD_ONE_IN: f"Adding {effect.component} to {headline.base}",
    }.get(headline.section, effect.label)
    where = f"over {environments(headline)}"
    if effect.verdict == IDLE and headline.section == COMPARISON:
        return f"{effect.label} and {effect.reference} are one agent {where}: {effect.note}"
    if effect.verdict == IDLE:
        return f"{what} changes nothing {where}: it {effect.note}"
    if np.isnan(effect.effect) or np.isnan(effect.p):
        return f"{what} cannot be tested {where}: {effect.note or 'too few runs'}"
    names = {
        LEAVE_ONE_OUT: ("costs", "gains"),
        ADD_ONE_IN: ("gains", "costs"),
        COMPARISON: ("is behind", "is ahead of"),
    }
    above, below = names[headline.section]
    rival = f" {effect.reference} by" if headline.section == COMPARISON else ""
    size = f"{above if effect.effect > 0 else below}{rival} {amount(headline, effect, True)}"
    if effect.verdict == SHOWN:
        return f"{what} {size} {where} ({_p(headline, effect)}{_differs(effect)})"
    if effect.verdict == SUGGESTIVE:
        return (
            f"{what} {size} {where}, which is suggestive: not shown after {headline.correction} "
            f"correction (p = {effect.p:.3f} before and {effect.p_adjusted:.3f} after it"
            f"{_differs(effect)})"
        )
    whether = f"whether {what[0].lower()}{what[1:]} changes the score"
    if headline.section == COMPARISON:
        whether = f"whether {effect.label} differs from {effect.reference}"
    sign = {LEAVE_ONE_OUT: "cost", ADD_ONE_IN: "gain"}.get(headline.section, "behind by")
    return (
        f"These runs cannot tell {whether} {where} ({sign} {amount(headline, effect)}, "
        f"{_p(headline, effect)}{_differs(effect)})"
    )


def amount(headline: Headline, effect: Effect, absolute: bool = False) -> str:
    """Return an effect with its interval and unit; if ``absolute``, without its sign."""
    value, low, high = effect.effect, effect.low, effect.high
    if absolute and value < 0:
        value, low, high = -value, -high, -low
    if headline.unit == GAP:
        return f"{100 * value:.0f}% [{100 * low:.0f}, {100 * high:.0f}] of {headline.per_unit}"
    unit = {REFERENCE: f" of {headline.per_unit}"}.get(headline.unit, " standard deviations")
    return f"{value:.2f} [{low:.2f}, {high:.2f}]{unit}"


def _p(headline: Headline, effect: Effect) -> str:
    name = f"{headline.correction} p" if headline.correction != stats.NONE else "uncorrected p"
    p = effect.p_adjusted
    return f"{name} < 0.001" if p < 0.001 else f"{name} = {p:.3f}"


def _differs(effect: Effect) -> str:
    """Return how the environments differ, if they are shown to."""
    if effect.mixed:
        return (
            f"; above 0 on {', '.join(effect.costs_on)} and below 0 on {', '.join(effect.helps_on)}"
        )
    if effect.p_spread < _ALPHA / 10:
        return f"; the environments differ, I² = {effect.i2:.0%}"
    return ""
