"""The component study in words: a sentence per component, and one over all environments."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from prism.benchmark.store.schema import LEAVE_ONE_OUT

from .. import stats
from ..questions.ablation import COMPARISON, sizes
from ..questions.scores import AUC, FINAL, NAMES

MANY = 12  # sentences that are read; more are for looking up
_FEW = 3  # comparisons that need no sentence over them
_ALPHA = 1 - stats.LEVEL
Row = Any  # one row of the table of ``ablation.ablate``


@dataclass(frozen=True)
class Sentence:
    """One sentence and what it rests on."""

    env: str  # empty where it speaks of all environments
    label: str
    # "worse" | "better" | "none" | "unknown": what happens to the score at the end without the
    # component, or where that shows nothing, to the area under the curve
    kind: str
    text: str


def lines(sentences: list[Sentence]) -> list[str]:
    """Return the lines of a terminal: ``MANY`` at most, first those that found something."""
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
    """Return "worse" where the label scores detectably below its reference, or "better"."""
    if pd.isna(row.p_adjusted):
        return "unknown"
    if row.p_adjusted >= _ALPHA:
        return "none"
    drop = row.effect if row.section in (LEAVE_ONE_OUT, COMPARISON) else -row.effect
    return "worse" if drop > 0 else "better"


def sentences(ablation: pd.DataFrame) -> list[Sentence]:
    """Return the sentences of a table from ``ablation.ablate``, largest effect first."""
    if ablation.empty:
        return []
    result = [*_over_environments(ablation), *_leaders(ablation)]
    for _, section in ablation.groupby(
        ["env", "section", "base", "full"], sort=False, dropna=False
    ):
        final = section[section.metric == FINAL].sort_values("effect", ascending=False)
        area = section[section.metric == AUC].set_index("label")
        for _, row in final.iterrows():
            if row.component:
                result.append(_of_component(row, area.loc[row.label]))
            elif row.section == COMPARISON and row.label != row.reference:
                result.append(_of_comparison(row))
    return result


def _of_component(row: Row, area: Row) -> Sentence:
    action = "removing" if row.section == LEAVE_ONE_OUT else f"adding to {row.base}"
    if outcome(row) == outcome(area) == "none":
        text = (
            f"makes no detectable difference to the {NAMES[FINAL]} ({_undetected(row)}) "
            f"or the {NAMES[AUC]} ({_undetected(area)})"
        )
    else:
        text = f"{_clause(row, NAMES[FINAL])}; it {_clause(area, NAMES[AUC])}"
    kind = outcome(area) if outcome(row) == "none" else outcome(row)
    return Sentence(row.env, row.label, kind, f"{action} {row.component} {text}.")


def _clause(row: Row, name: str) -> str:
    """Return "lowers the score at the end by 60.4 [41.2, 79.6] (...)"."""
    kind = outcome(row)
    if kind == "unknown":
        return f"cannot be judged on the {name}: {row.note or 'too few runs'}"
    if kind == "none":
        return f"makes no detectable difference to the {name} ({_undetected(row)})"
    verb = "lowers" if kind == "worse" else "raises"
    facts = [_p(row), _sizes(row)]
    if not pd.isna(row.share):
        facts.append(f"{abs(row.share):.0%} of the distance from {row.base} to {row.full}")
    if row.strongest:
        word = "largest " + ("drop" if row.section == LEAVE_ONE_OUT else "gain")
        others = f", place 1 to {row.place_high:.0f} is possible" if row.place_high > 1 else ""
        facts.append(word + others)
    span = f"{number(abs(row.effect))} {interval(*_size_interval(row))}"
    return f"{verb} the {name} by {span} ({', '.join(facts)})"


def _undetected(row: Row) -> str:
    """Say what was measured where nothing was detected, and what could have been."""
    word = "drop" if row.section == LEAVE_ONE_OUT else "gain"
    text = f"{word} {number(row.effect)} {interval(row.effect_low, row.effect_high)}"
    if row.p < _ALPHA:
        text += (
            f", p = {row.p:.3f} before and {row.p_adjusted:.3f} after {row.correction} correction"
        )
    return f"{text}; {_detectable(row)}"


def _sizes(row: Row) -> str:
    return sizes(row.n_of, row.n_against, row.paired)


def _detectable(row: Row) -> str:
    return f"{_sizes(row)} could only have seen an effect above {number(row.visible)}"


def _size_interval(row: Row) -> tuple[float, float]:
    """Return the limits of the effect's size."""
    if row.effect >= 0:
        return row.effect_low, row.effect_high
    return -row.effect_high, -row.effect_low


def _p(row: Row) -> str:
    name = f"{row.correction} p" if row.correction != stats.NONE else "uncorrected p"
    return f"{name} < 0.001" if row.p_adjusted < 0.001 else f"{name} = {row.p_adjusted:.3f}"


def _of_comparison(row: Row) -> Sentence:
    kind = outcome(row)
    span = f"{number(abs(row.effect))} {interval(*_size_interval(row))}"
    facts = f"{_p(row)}, {_sizes(row)}"
    text = {
        "worse": f"{row.label} ends {span} below {row.reference} ({facts}).",
        # the reference has the best mean of all its runs, which need not hold over the pairs
        "better": f"{row.label} ends {span} above {row.reference} on the seeds that both ran "
        f"({facts}), though {row.reference} has the higher mean over all its runs.",
        "none": f"{row.label} is not told apart from {row.reference} (behind by "
        f"{number(row.effect)} {interval(row.effect_low, row.effect_high)}; {_detectable(row)}).",
        "unknown": f"{row.label} cannot be compared with {row.reference}: "
        f"{row.note or 'too few runs'}.",
    }[kind]
    return Sentence(row.env, row.label, kind, text)


def _leaders(ablation: pd.DataFrame) -> Iterator[Sentence]:
    """Yield who leads on each environment, where more are compared than are kept in mind."""
    rows = ablation[(ablation.metric == FINAL) & (ablation.section == COMPARISON)]
    for env, group in rows[rows.label != rows.reference].groupby("env", sort=False):
        if len(group) > _FEW:
            count = int((group.apply(outcome, axis=1) == "worse").sum())
            leader = group.reference.iloc[0]
            others = f"{count} of {len(group)} others"
            text = f"{leader} ends highest on {env}, detectably above {others}."
            yield Sentence("", leader, "better" if count else "none", text)


def _over_environments(ablation: pd.DataFrame) -> Iterator[Sentence]:
    """Yield "removing multi-step hurts on 3 and helps on 0 of 4 environments"."""
    rows = ablation[(ablation.metric == FINAL) & (ablation.component != "")]
    for (section, label), group in rows.groupby(["section", "label"], sort=False):
        if len(group) < 2:
            continue
        kinds = group.apply(outcome, axis=1)
        worse, better = int((kinds == "worse").sum()), int((kinds == "better").sum())
        action = "removing" if section == LEAVE_ONE_OUT else f"adding to {group.base.iloc[0]}"
        counts = {
            "hurts": worse,
            "helps": better,
            "makes no detectable difference": int((kinds == "none").sum()),
            "cannot be judged": int((kinds == "unknown").sum()),
        }
        first, *others = [f"{what} on {n}" for what, n in counts.items() if n]
        summary = ", ".join([f"{first} of {len(group)} environments", *others])
        wins = int((group.effect > 0).sum())  # as "the full agent beats this ablation in 53 of 57"
        winner = group.full.iloc[0] if section == LEAVE_ONE_OUT else group.label.iloc[0]
        text = (
            f"{action} {group.component.iloc[0]} {summary}; {winner} has the higher mean on {wins}."
        )
        kind = "worse" if worse > better else "better" if better > worse else "none"
        yield Sentence("", str(label), kind, text)
