"""Source: a CSV or Parquet table of runs from any program.

The table has one row per run and step, or one row per run. Columns:

=================  ===============================================================================
env, seed          required
label              name of the agent in tables and figures; by default the column ``algo``
global_step        environment steps; without it, each row is a whole run
<metric>           any other numeric column: ``train/return``, ``eval/return``, ``time/wall``, ...
final              final score; by default ``final/return``, or else the last ``eval/return`` or
                   ``train/return`` of the run, with a note. A run is unfinished if its last value
                   comes so long before the budget that another one should have followed
budget             steps to train for; by default the last step of the environment's longest run
run_id, state, kind, base, full, component, on, overrides, random, reference, lowest,
highest, protocol, code  as in ``prism.analysis.load.frames``; constant within a run
=================  ===============================================================================
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from prism.benchmark.store import schema

from ..errors import AnalysisError
from .cells import read_csv
from .frames import Frames, names_of, unknown_path

_ENDINGS = (".csv", ".parquet", ".csv.gz")
_OF_RUN = [
    *("run_id", "study", "label", "algo", "env", "seed", "kind", "base", "full", "component", "on"),
    *("overrides", "budget", "state", "reason", "protocol", "code", "random", "reference"),
    *("lowest", "highest", "final"),
]


def accepts(where: str) -> bool:
    """Accept file names that end like a table's."""
    return where.endswith(_ENDINGS)


def read(where: str) -> Frames:
    """Read one table."""
    path = Path(where)
    if not path.is_file():
        candidates = [str(p) for p in path.parent.glob("*") if p.name.endswith(_ENDINGS)]
        raise unknown_path(where, candidates)
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else read_csv(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise AnalysisError(f"{where}: cannot be read ({str(error).splitlines()[0]})") from None
    return from_frame(frame, where, path.stem)


def from_frame(frame: pd.DataFrame, where: str, study: str) -> Frames:
    """Return the frames of a table.

    Raises:
        AnalysisError: a column is missing, not numeric, or changes within a run.
    """
    if "label" not in frame and "algo" in frame:
        frame = frame.assign(label=frame.algo)
    for column in ("label", "env", "seed"):
        if column not in frame:
            raise AnalysisError(f"{where}: no column {column!r}; columns: {names_of(frame)}")
        if frame[column].isna().any():
            raise AnalysisError(f"{where}: row {frame[column].isna().argmax() + 2} has no {column}")
    if "run_id" not in frame:
        keys = [frame[key].astype(str) for key in ("label", "env", "seed")]
        frame = frame.assign(run_id=keys[0] + "/" + keys[1] + "/" + keys[2])
    if schema.STEP not in frame:
        frame = frame.assign(**{schema.STEP: frame.get("budget", 0)})
    metrics = frame.drop(columns=[key for key in _OF_RUN if key in frame and key != "run_id"])
    for column in metrics.columns.difference(["run_id"]):
        try:
            metrics[column] = metrics[column].astype(float)
        except (TypeError, ValueError):
            raise AnalysisError(
                f"{where}: column {column!r} holds a value that is not a number"
            ) from None
    runs = frame[[key for key in _OF_RUN if key in frame]]
    firsts = runs.groupby("run_id", sort=False).first()
    _check(runs, metrics, where)
    metrics = metrics.assign(run_id=pd.Categorical(metrics.run_id, list(firsts.index)))
    metrics = metrics.sort_values(["run_id", schema.STEP], kind="stable", ignore_index=True)
    metrics[schema.STEP] = metrics[schema.STEP].astype(np.int64)
    frames = Frames(firsts.reset_index().assign(study=study), metrics)
    _finish(frames, where)
    return frames


def _check(runs: pd.DataFrame, metrics: pd.DataFrame, where: str) -> None:
    """Check that each step of a run has one row, and that facts of a run are constant."""
    twice = metrics.run_id[metrics.duplicated(["run_id", schema.STEP])]
    if len(twice):
        raise AnalysisError(
            f"{where}: run {twice.iloc[0]} has two rows with the same {schema.STEP}"
        )
    for column in runs.columns.difference(["run_id"]):
        if (runs.groupby("run_id")[column].nunique() > 1).any():
            hint = f"; rename a curve to {schema.EVAL_RETURN}" if column == "final" else ""
            raise AnalysisError(f"{where}: {column} changes within a run{hint}")
    steps = metrics[schema.STEP]
    broken = ~np.isfinite(steps) | (steps % 1 != 0)
    if broken.any():
        row, step = broken.argmax() + 2, steps[broken].iloc[0]
        raise AnalysisError(f"{where}: row {row}: {schema.STEP} {step:g} is not an integer")


def _finish(frames: Frames, where: str) -> None:
    """Fill in the final score and the budget if the table has no such columns."""
    runs, metrics = frames.runs, frames.metrics
    at = due = pd.Series(np.nan, runs.run_id)
    for metric in (schema.FINAL_RETURN, schema.EVAL_RETURN, schema.TRAIN_RETURN):
        if "final" not in runs and metric in metrics:
            rows = metrics.dropna(subset=[metric])
            by_run = rows.groupby("run_id", observed=True)
            runs["final"] = by_run[metric].last().reindex(runs.run_id).to_numpy()
            at = due = by_run[schema.STEP].last().reindex(runs.run_id)
            if metric != schema.FINAL_RETURN:
                frames.notes.append(f"{where}: the final score of a run is its last {metric}")
                gaps = by_run[schema.STEP].diff().fillna(rows[schema.STEP])
                due = at + gaps.groupby(rows.run_id, observed=True).max()
    if "final" not in runs:
        raise AnalysisError(
            f"{where}: no score: one column must be called final, {schema.FINAL_RETURN}, "
            f"{schema.EVAL_RETURN} or {schema.TRAIN_RETURN}; columns: {names_of(metrics)}"
        )
    if "budget" not in runs:
        ends = metrics.groupby("run_id", observed=True)[schema.STEP].max().reindex(runs.run_id)
        runs["budget"] = ends.to_numpy()
        runs["budget"] = runs.groupby("env").budget.transform("max")
    early = (at.to_numpy() < runs.budget) & (due.reindex(runs.run_id).to_numpy() <= runs.budget)
    runs["scored_at"] = np.where(early, at, np.nan)
