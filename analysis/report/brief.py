"""The scores of a study in a few lines: what a sweep prints at its end, and ``prism status``."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import AnalysisError
from ..load.data import load_runs
from ..questions.sameness import merged, merged_notes
from .table import spans
from .tables import score_tables


def brief(folder: Path, only: Collection[str] | None = None) -> str:
    """Return mean, interval and number of runs per label and environment, as the report has them.

    Args:
        folder: ``results/<study>``.
        only: ids of the runs that count; None: all.

    Returns:
        A line for a single cell, else a table; one line that says why if the runs cannot be read
        together; "" if nothing is scored.
    """
    try:
        data = load_runs(folder, only)
    except AnalysisError as error:
        return f"score    none: {error}"
    if data.scored.empty:
        return ""
    data = merged(data)
    lines = []
    for table in score_tables(data, data.scored):
        single = len(table.frame) == 1
        lines.append(
            _line(table.title, table.frame.to_dict("records")[0]) if single else table.text()
        )
    lines += merged_notes(data)
    counts = data.counts()
    finished, scored = counts["finished"], counts["scored"]
    if scored < finished:
        lines.append(f"{finished - scored} finished runs are not scored: see prism table {folder}")
    return "\n".join(lines)


def _line(title: str, cell: dict[Any, Any]) -> str:
    """Return the score of a single cell in one line."""
    value, interval = spans([cell["mean"]], [cell["low"]], [cell["high"]])[0].split(" ", 1)
    spread = "no interval" if np.isnan(cell["low"]) else interval
    name = title.partition(", not normalised")[0].lower()
    return f"score    {cell['label']} on {cell['env']}: {name} {value} {spread}, n = {cell['n']}"
