"""The ablation in sentences: one per component and environment, and one over environments."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from .. import stats
from ..questions.design import COMPARISON, sizes
from ..questions.pooled import SHOWN, SUGGESTIVE, Headline
from ..questions.sameness import IDENTICAL, NEVER_ACTED
from ..questions.scores import AUC, FINAL, NAMES
from .headline import effect_text

MANY = 12  # sentences that are shown at once
_FEW = 3  # up to this number of comparisons, no sentence summarises them
_ALPHA = 1 - stats.LEVEL
Row = Any  # one row of the frame of ``ablation.ablate``


@dataclass(frozen=True)
class Sentence:
    """One sentence, and what it is about."""

    env: str  # empty if it is about several environments
    label: str
    kind: str  # "worse" | "better" | "suggestive" | "none" | "unknown": the effect on final scores
    text: str


def lines(sentences: list[Sentence]) -> list[str]:
    """Return at most ``MANY`` lines for a terminal, with detected differences first."""
    order = sorted(sentences, key=lambda sentence: (sentence.env != "", sentence.kind == "none"))
    selection = order[:MANY] if len(sentences) > MANY else sentences
    texts = [f"- {v.env}: {v.text}" if v.env else f"- {v.text}" for v in selection]
    remainder = len(sentences) - len(selection)
    return texts + ([f"- and {remainder} more sentences in the report"] if remainder else [])


def number(value: float) -> str:
    """Return a number with about three significant digits and no exponent."""
    size = abs(value)
    return f"{value:.{0 if size >= 1000 else 1 if size >= 10 else 2 if size >= 0.1 else 4}f}"


def interval(low: float, high: float) -> str:
    """Return ``[low, high]``."""
    return f"[{number(low)}, {number(high)}]"


def outcome(row: Row) -> str:
    """Return how a label compares with its reference.

    "worse" and "better" are shown, "suggestive" is not shown after correction, "none" cannot be
    told from no difference, "unknown" is no test.
    """
    if pd.isna(row.p_adjusted):
        return "unknown"
    if row.p_adjusted >= _ALPHA:
        return "suggestive" if row.p < _ALPHA else "none"
    drop = row.effect if row.section in (LEAVE_ONE_OUT, COMPARISON) else -row.effect
    return "worse" if drop > 0 else "better"


def sentences(ablation: pd.DataFrame, headlines: Iterable[Headline] = ()) -> list[Sentence]:
    """Return the sentences of the frame of ``ablation.ablate``, largest effect first.

    Those of ``headlines`` over several environments come first.
    """
    if ablation.empty:
        return []
    result = [*_over_environments(headlines), *_leaders(ablation)]
    keys = ["env", "section", "base", "full"]
    for (env, *_), section in ablation.groupby(keys, sort=False, dropna=False):
        if (section.section == COMPARISON).all() and section.reference.isna().all():
            result.append(Sentence(str(env), "", "unknown", "no agent has a scored run."))
            continue
        final = section[section.metric == FINAL].sort_values("effect", ascending=False)
        area = section[section.metric == AUC].set_index("label")
        for _, row in final.iterrows():
            if row.component:
                result.append(_of_component(row, area.loc[row.label]))
            elif row.section == COMPARISON and row.label != row.reference:
                result.append(_of_comparison(row))
    return result


def _of_component(row: Row, area: Row) -> Sentence:
    removed = row.section == LEAVE_ONE_OUT
    action = f"removing {row.component}" if removed else f"adding {row.component} to {row.base}"
    if row.note.startswith(NEVER_ACTED):
        text = f"{action} changes nothing: it {row.note}"
        return Sentence(row.env, row.label, "none", f"{text}{_flag(row)}.")
    text = f"{action} {_clause(row, NAMES[FINAL])}"
    if outcome(area) in ("worse", "better"):
        text += f"; it {_clause(area, NAMES[AUC])}"
    return Sentence(row.env, row.label, outcome(row), f"{text}{_flag(row)}.")


def _flag(row: Row) -> str:
    """Return that a label never learned, if it did not."""
    return f"; {row.label} {row.flag}" if row.flag else ""


def _clause(row: Row, name: str) -> str:
    """Return "lowers the final score by 60.4 [41.2, 79.6] (...)"."""
    kind = outcome(row)
    if kind == "unknown":
        return f"cannot be tested on the {name}: {row.note or 'too few runs'}"
    if kind == "none":
        return f"cannot be told from no effect on the {name} ({_untold(row)})"
    costs = (row.effect > 0) == (row.section == LEAVE_ONE_OUT)
    span = f"{number(abs(row.effect))} {interval(*_size_interval(row))}"
    if kind == "suggestive":
        verb = "lower" if costs else "raise"
        return f"may {verb} the {name} by {span} ({_not_shown(row)}; {_sizes(row)})"
    facts = [_p(row), _sizes(row)]
    if not pd.isna(row.share):
        facts.append(f"{abs(row.share):.0%} of the gap from {row.base} to {row.full}")
    if row.strongest:
        word = "largest " + ("drop" if row.section == LEAVE_ONE_OUT else "gain")
        rank = f" (possible rank: 1 to {row.place_high:.0f})" if row.place_high > 1 else ""
        facts.append(word + rank)
    return f"{'lowers' if costs else 'raises'} the {name} by {span} ({', '.join(facts)})"


def _untold(row: Row) -> str:
    """Return the effect that was measured but cannot be told from none, and one that could be."""
    if row.visible == 0:
        return f"all runs score the same, {_sizes(row)}"
    word = {LEAVE_ONE_OUT: "drop", COMPARISON: "behind by"}.get(row.section, "gain")
    text = f"{word} {number(row.effect)} {interval(row.effect_low, row.effect_high)}"
    return f"{text}; {_detectable(row)}"


def _not_shown(row: Row) -> str:
    after = f"{row.p_adjusted:.3f} after {row.correction} correction"
    return f"suggestive, not shown: p = {row.p:.3f} before and {after}"


def _sizes(row: Row) -> str:
    return sizes(row.n_of, row.n_against, row.paired)


def _detectable(row: Row) -> str:
    return f"smallest effect with {stats.POWER:.0%} power at {_sizes(row)}: {number(row.visible)}"


def _size_interval(row: Row) -> tuple[float, float]:
    """Return the limits of the absolute effect."""
    if row.effect >= 0:
        return row.effect_low, row.effect_high
    return -row.effect_high, -row.effect_low


def _p(row: Row) -> str:
    name = f"{row.correction} p" if row.correction != stats.NONE else "uncorrected p"
    return f"{name} < 0.001" if row.p_adjusted < 0.001 else f"{name} = {row.p_adjusted:.3f}"


def _of_comparison(row: Row) -> Sentence:
    kind = outcome(row)
    if row.note.startswith(IDENTICAL):
        text = f"{row.label} and {row.reference} are one agent here: {row.note}."
        return Sentence(row.env, row.label, "none", text)
    span = f"{number(abs(row.effect))} {interval(*_size_interval(row))}"
    facts = f"{_p(row)}, {_sizes(row)}"
    text = {
        "worse": f"{row.label} scores {span} below {row.reference} ({facts}).",
        # the reference has the best mean over all runs, but not necessarily over the pairs
        "better": f"{row.label} scores {span} above {row.reference} on the seeds that both ran "
        f"({facts}), although {row.reference} has the higher mean over all its runs.",
        "suggestive": f"{row.label} may be {span} {'below' if row.effect > 0 else 'above'} "
        f"{row.reference} ({_not_shown(row)}; {_sizes(row)}).",
        "none": f"{row.label} cannot be told from {row.reference} ({_untold(row)}).",
        "unknown": f"{row.label} cannot be compared with {row.reference}: "
        f"{row.note or 'too few runs'}.",
    }[kind]
    return Sentence(row.env, row.label, kind, text[:-1] + _flag(row) + ".")


def _leaders(ablation: pd.DataFrame) -> Iterator[Sentence]:
    """Yield the leader of each environment, if more than a few labels are compared."""
    rows = ablation[(ablation.metric == FINAL) & (ablation.section == COMPARISON)]
    rows = rows[rows.reference.notna()]
    for env, group in rows[rows.label != rows.reference].groupby("env", sort=False):
        if len(group) > _FEW:
            count = int((group.apply(outcome, axis=1) == "worse").sum())
            leader = group.reference.iloc[0]
            others = f"{count} of {len(group)} others"
            text = f"{leader} has the highest mean on {env}, shown above {others}."
            yield Sentence("", leader, "better" if count else "none", text)


def _over_environments(headlines: Iterable[Headline]) -> Iterator[Sentence]:
    """Yield what is told over several environments, largest effect first."""
    for headline in headlines:
        if len(headline.environments) < 2:
            continue  # the sentence about the environment says it in points
        for effect in headline.effects:
            kind = "unknown" if pd.isna(effect.p) else "none"
            if effect.verdict == SUGGESTIVE:
                kind = SUGGESTIVE
            elif effect.verdict == SHOWN:
                costs = effect.effect > 0 if headline.section != ADD_ONE_IN else effect.effect < 0
                kind = "worse" if costs else "better"
            yield Sentence("", effect.label, kind, effect_text(headline, effect) + ".")
