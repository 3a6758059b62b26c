"""A list of the studies of a results folder: agents, environments, runs and the best score."""

from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import AnalysisError, count
from ..load.data import Data, load_runs
from ..questions.scores import FINAL
from ..stats import mean_interval
from .table import Table, spans

_NAMED = 3  # agents that are named


def listing(results: Path) -> Table:
    """Return a row for each study and environment below a results folder.

    Raises:
        AnalysisError: there is no study.
    """
    studies = sorted(path.parent for path in results.glob("*/plan.json"))
    if not studies:
        raise AnalysisError(f"{results}: no study below it; a study has a plan.json")
    rows: list[dict[str, Any]] = []
    for study in studies:
        try:
            rows += _rows(study.name, load_runs(study, None))
        except AnalysisError as error:
            rows.append(dict.fromkeys(_COLUMNS, "") | {"study": study.name, "note": str(error)})
    frame = pd.DataFrame(rows, columns=[*_COLUMNS, "note"])
    scores = [
        spans([row["score"]], [row["low"]], [row["high"]])[0] if row["best"] else "" for row in rows
    ]
    shown = frame[["study", "environment", "agents", "n", "best"]].assign(score=scores)
    notes = [f"{row['study']}: {row['note']}" for row in rows if row["note"]]
    return Table(
        name="studies",
        title=f"Studies in {results}",
        header=["study", "environment", "agents", "n", "best agent", "its score"],
        rows=[list(map(str, row)) for row in shown.to_numpy()],
        frame=frame,
        words=(0, 1, 2, 4, 5),
        notes=["n: scored/planned runs. Score: mean of the best agent [95% t-interval].", *notes],
    )


_COLUMNS = ("study", "environment", "agents", "n", "best", "score", "low", "high")


def _rows(study: str, data: Data) -> list[dict[str, Any]]:
    rows = []
    for env in data.envs:
        runs = data.runs[data.runs.env == env]
        scored = data.scored[data.scored.env == env]
        means = scored.groupby("label", sort=False)[FINAL].mean()
        best = str(means.idxmax()) if len(means) else ""
        found = mean_interval(scored.loc[scored.label == best, FINAL].to_numpy(float))
        row = (study, env, _agents(runs), f"{len(scored)}/{len(runs)}", best)
        rows.append(dict(zip(_COLUMNS, (*row, found.value, found.low, found.high), strict=True)))
        rows[-1]["note"] = ""
    return rows


def _agents(runs: pd.DataFrame) -> str:
    labels = list(dict.fromkeys(runs.label))
    return "; ".join(labels) if len(labels) <= _NAMED else count(len(labels), "agent")
