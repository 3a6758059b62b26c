"""Tables that compare new runs with old ones, and our runs with published numbers."""

import pandas as pd

from .. import stats
from ..errors import count
from ..questions.compare import NOT_WORSE
from . import table


def against_table(frame: pd.DataFrame, margin: float) -> table.Table:
    """Return the table of ``against``."""
    columns = {
        "agent": list(frame.label),
        "environment": list(frame.env),
        "n new": _counts(frame.n_new, frame.planned_new),
        "n old": _counts(frame.n_old, frame.planned_old),
        "new": table.numbers(frame.new),
        "old": table.numbers(frame.old),
        "new - old": table.spans(frame.difference, frame.low, frame.high),
        "margin": table.numbers(frame.margin),
        "Holm p": list(map(table.p_value, frame.p_adjusted)),
        "verdict": list(frame.verdict),
        "note": list(frame.note),
    }
    family = int(frame.p.notna().sum())
    note = (
        f"n: scored/planned runs. new, old: means. new - old: {stats.LEVEL:.0%} Welch interval, "
        "not corrected. p: Welch's test, Holm correction over "
        f"{count(family, 'cell')}. Verdict, the first that holds: worse: the difference is "
        f"negative and p < 0.05; better: the interval is above 0; {NOT_WORSE}: the interval is "
        f"above minus the margin. Margin: {margin:.0%} of the old mean, or of the distance from "
        "random to reference score."
    )
    title = f"New minus old, margin {margin:.0%}"
    return _table("compare", title, columns, frame, (0, 1, 9, 10), note)


def published_table(frame: pd.DataFrame, path: str) -> table.Table:
    """Return the table of ``with_published``."""
    columns = {
        "agent": list(frame.label),
        "environment": list(frame.env),
        "n": _counts(frame.n, frame.planned),
        "ours": table.numbers(frame.ours),
        "published": table.numbers(frame.published),
        "ours - published": table.spans(frame.difference, frame.low, frame.high),
        "verdict": list(frame.verdict),
        "method": list(frame.method),
        "source": list(map(str, frame.source)),
        "note": list(frame.note),
    }
    note = (
        f"n: our scored/planned runs. ours: mean. ours - published: {stats.LEVEL:.0%} interval, "
        "not corrected (Welch's; a t-interval if the published number is treated as exact). "
        "agrees: the interval contains 0."
    )
    title = f"Our runs and the published numbers of {path}"
    return _table("published", title, columns, frame, (0, 1, 6, 7, 8, 9), note)


def _table(
    name: str,
    title: str,
    columns: dict[str, list[str]],
    frame: pd.DataFrame,
    words: tuple[int, ...],
    note: str,
) -> table.Table:
    rows = [list(row) for row in zip(*columns.values(), strict=True)]
    return table.Table(name, title, list(columns), rows, frame, words=words, notes=[note])


def _counts(scored: pd.Series, planned: pd.Series) -> list[str]:
    return [f"{n}/{total}" for n, total in zip(scored, planned, strict=True)]
