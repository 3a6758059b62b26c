"""Scores from a later evaluation, which ``prism evaluate`` keeps beside each run."""

import hashlib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prism.benchmark.store import schema

from ..errors import AnalysisError
from .run_folder import read_json

_PLACE = re.compile(rf"{schema.EVALUATIONS}/([\w-][\w.-]*?)(\.json)?")


def score(run: Path, row: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return what a later evaluation changes in the row of a run: its score, or why it has none.

    Args:
        run: the run's folder.
        row: its row, with its final score.
        place: "evaluations/<name>".

    Raises:
        AnalysisError: ``place`` is not of that form.
    """
    match = _PLACE.fullmatch(place)
    if match is None:
        raise AnalysisError(f"scores: {place!r}; write {schema.EVALUATIONS}/<name>")
    if row["fault"] or row["state"] != schema.FINISHED:
        return {}
    path = run / schema.evaluation_file(match[1])
    if not path.is_file():
        return {"fault": f"has no {place}; prism evaluate makes it", "final": math.nan}
    try:
        found = read_json(path)
    except AnalysisError as error:
        return {"fault": str(error).removeprefix(f"{run}/"), "final": math.nan}
    fault = _fault(found, run)
    if fault:
        return {"fault": f"{place}: {fault}", "final": math.nan}
    return {"final": float(found["mean"]), "protocol": str(found["protocol"])}


def _fault(found: Mapping[str, Any], run: Path) -> str:
    """Return why an evaluation does not score a run, or ""."""
    returns = found.get("returns")
    if found.get("run_id") != run.name:
        return "is of another run"
    if not isinstance(returns, list) or not returns or not isinstance(found.get("protocol"), str):
        return "is not an evaluation"
    if not all(isinstance(x, int | float) and math.isfinite(x) for x in (*returns, found["mean"])):
        return "holds a return that is not a finite number"
    if not math.isclose(
        math.fsum(returns) / len(returns), found["mean"], rel_tol=1e-9, abs_tol=1e-9
    ):
        return "has a mean that is not that of its returns"
    try:
        weights = hashlib.sha256((run / schema.WEIGHTS).read_bytes()).hexdigest()
    except OSError as error:
        return f"the weights cannot be read ({error.strerror})"
    return "" if found.get("weights") == weights else "is of other weights: evaluate again"
