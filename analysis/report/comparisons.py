"""Tables that compare new runs with old ones, and our runs with published numbers."""

import pandas as pd

from .. import stats
from ..errors import count
from ..questions.compare import IDENTICAL, NOT_WORSE
from . import table


def against_table(frame: pd.DataFrame, margin: float) -> table.Table:
    """Return the table of ``against``."""
    columns = {
        "agent": list(frame.label),
        "environment": list(frame.env),
        "n new": table.counts(frame.n_new, frame.planned_new),
        "n old": table.counts(frame.n_old, frame.planned_old),
        "new": table.numbers(frame.new),
        "old": table.numbers(frame.old),
        "new - old": table.spans(frame.difference, frame.low, frame.high),
        "margin": table.numbers(frame.margin),
        "p of 0": list(map(table.p_value, frame.p_adjusted)),
        "p of margin": list(map(table.p_value, frame.p_margin_adjusted)),
        "verdict": list(frame.verdict),
        "note": list(frame.note),
    }
    family = int(frame.p.notna().sum())
    tests = [name for name in dict.fromkeys(frame.test) if name]
    note = (
        f"n: {table.counted([*frame.planned_new, *frame.planned_old])}. "
        f"new, old: means. new - old: {stats.LEVEL:.0%} interval, not "
        "corrected. p of 0: of no difference; p of margin: of a loss of the margin; "
        f"{' and '.join(tests) or 'no'} test, Holm correction over {count(family, 'cell')}. "
        f"Verdict, the first that holds: {IDENTICAL}: equal to the bit, seed by seed, not tested; "
        "better: p of 0 < 0.05 and the difference is above 0; worse: p of margin < 0.05 and the "
        f"loss is beyond the margin; {NOT_WORSE}: p of margin < 0.05 and it is not. Margin: "
        f"{margin:.0%} of the distance from random to reference score, or of the old mean where "
        "there are none."
    )
    title = f"New minus old, margin {margin:.0%}"
    return _table("compare", title, columns, frame, (0, 1, 10, 11), note)


def published_table(frame: pd.DataFrame, path: str, margin: float) -> table.Table:
    """Return the table of ``with_published``."""
    columns = {
        "agent": list(frame.label),
        "environment": list(frame.env),
        "n": table.counts(frame.n, frame.planned),
        "ours": table.numbers(frame.ours),
        "published": table.numbers(frame.published),
        "ours - published": table.spans(frame.difference, frame.low, frame.high),
        "margin": table.numbers(frame.margin),
        "Holm p": list(map(table.p_value, frame.p_adjusted)),
        "verdict": list(frame.verdict),
        "method": list(frame.method),
        "source": list(map(str, frame.source)),
        "note": list(frame.note),
    }
    note = (
        f"n: our {table.counted(frame.planned)}. "
        f"ours: mean. ours - published: {stats.LEVEL:.0%} interval, "
        "not corrected (Welch's; a t-interval if the published number is treated as exact). "
        f"agrees: the interval lies inside the margin, {margin:.0%} of the distance from random to "
        "reference score, or of the published number where there are none. differs: p < 0.05, "
        f"Holm correction over {count(int(frame.p.notna().sum()), 'number')}. not told apart: "
        "neither."
    )
    title = f"Our runs and the published numbers of {path}"
    return _table("published", title, columns, frame, (0, 1, 8, 9, 10, 11), note)


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
