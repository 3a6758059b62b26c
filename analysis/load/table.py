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
budget             steps to train for; by default the last step of the environment's longest run. A
                   run that ends within 5% of it, or before its next value was due, is whole
run_id, state, kind, base, full, component, on, overrides, random, reference, lowest,
highest, protocol, code  as in ``prism.analysis.load.frames``; constant within a run
=================  ===============================================================================

Columns of text that are none of these are left out, with a note. What ``prism export`` writes, the
folder or its ``runs.csv``, is read back whole: runs that are not scored and, from
``metrics.parquet`` beside it, all rows.
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from prism.benchmark.store import schema

from ..errors import AnalysisError
from .cells import layout, read_csv
from .frames import Frames, first_line, names_of

ENDINGS = (".csv", ".csv.gz", ".tsv", ".parquet")
EXPORT = ("runs.csv", "metrics.parquet")  # of ``prism export``
_OWN = {"label", "algo", "env", "seed"}  # a CSV file with none of them is foreign
_NEAR = 0.05  # of the budget
_OF_RUN = [
    *("run_id", "study", "label", "algo", "env", "seed", "kind", "base", "full", "component", "on"),
    *("overrides", "budget", "state", "reason", "protocol", "code", "random", "reference"),
    *("lowest", "highest", "final"),
]
_OF_EXPORT = ["lanes", "fault", "config", "scored_at", "updates"]
_DERIVED = ["excluded", "flag", "included", "partial", "rows"]  # are found anew
_SCORES = (schema.FINAL_RETURN, schema.EVAL_RETURN, schema.TRAIN_RETURN)


def accepts(where: str) -> bool:
    """Accept tables with a column of their own, and folders of ``prism export``."""
    path = Path(where)
    if path.is_dir():
        return all((path / name).is_file() for name in EXPORT)
    if not path.is_file() or not path.name.lower().endswith(ENDINGS):
        return False
    try:
        names = [] if path.suffix.lower() == ".parquet" else list(filter(None, layout(path)[2]))
    except (OSError, ValueError, EOFError):
        names = []
    return not names or not _OWN.isdisjoint(names)


def read(where: str) -> Frames:
    """Read one table."""
    path = Path(where)
    path = path / EXPORT[0] if path.is_dir() else path
    notes: list[str] = []
    try:
        if path.suffix.lower() == ".parquet":
            frame = pd.read_parquet(path)
        else:
            frame, notes = read_csv(path)
        rows = path.with_name(EXPORT[1])
        exported = {*_DERIVED} <= {*frame, "included"}
        curves = pd.read_parquet(rows) if exported and rows.is_file() else None
    except (OSError, ValueError, EOFError, pa.ArrowException) as error:
        raise AnalysisError(f"{where}: cannot be read ({first_line(error)})") from None
    frames = from_frame(frame, where, path.name.partition(".")[0], exported)
    if curves is not None and {"run_id", schema.STEP} <= set(curves):
        extra = [name for name in _OF_RUN if name in curves and name != "run_id"]
        order = list(frames.runs.run_id)
        curves = curves.drop(columns=extra)[curves.run_id.isin(order)]
        frames.metrics = curves.assign(run_id=pd.Categorical(curves.run_id, order))
    frames.notes[:0] = [f"{where}: {note}" for note in notes]
    return frames


def from_frame(frame: pd.DataFrame, where: str, study: str, exported: bool = False) -> Frames:
    """Return the frames of a table.

    Args:
        frame: the table.
        where: the place, for messages.
        study: the name of the study, if the table has none.
        exported: whether ``prism export`` wrote it.

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
    if "state" in frame:
        frame = frame.assign(state=frame.state.str.lower() if frame.state.notna().any() else "")
    if schema.STEP not in frame:
        frame = frame.assign(**{schema.STEP: frame.get("budget", 0)})
    of_run = [key for key in _OF_RUN + _OF_EXPORT * exported if key in frame]
    metrics = frame.drop(columns=[key for key in of_run if key != "run_id"])
    metrics = metrics.drop(columns=_DERIVED if exported else [], errors="ignore")
    metrics, texts = _numeric(metrics, where)
    runs = frame[of_run]
    firsts = runs.groupby("run_id", sort=False).first()
    _check(runs, metrics, where)
    if exported:
        metrics = metrics[frame["rows"] > 0]
    metrics = metrics.assign(run_id=pd.Categorical(metrics.run_id, list(firsts.index)))
    metrics = metrics.sort_values(["run_id", schema.STEP], kind="stable", ignore_index=True)
    metrics[schema.STEP] = metrics[schema.STEP].astype(np.int64)
    firsts = firsts.reset_index()
    frames = Frames(firsts.assign(study=firsts.get("study", study)), metrics, planned=exported)
    if texts:
        frames.notes.append(f"{where}: columns of text are left out: {', '.join(texts)}")
    _finish(frames, where)
    return frames


def _numeric(metrics: pd.DataFrame, where: str) -> tuple[pd.DataFrame, list[str]]:
    """Return the columns of numbers, as floats, and the names of the others.

    Raises:
        AnalysisError: a score or a step is not a number.
    """
    numbers, texts = {"run_id": metrics.run_id}, []
    for column in metrics.columns.drop("run_id"):
        try:
            numbers[column] = metrics[column].astype(float)
        except (TypeError, ValueError):
            if column in (*_SCORES, schema.STEP):
                raise AnalysisError(
                    f"{where}: column {column!r} holds a value that is not a number"
                ) from None
            texts.append(str(column))
    return pd.DataFrame(numbers), texts


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
    at = pd.Series(np.nan, runs.run_id)
    for metric in _SCORES:
        if "final" not in runs and metric in metrics:
            rows = metrics.dropna(subset=[metric])
            by_run = rows.groupby("run_id", observed=True)
            runs["final"] = by_run[metric].last().reindex(runs.run_id).to_numpy()
            at = by_run[schema.STEP].last().reindex(runs.run_id)
            due = at
            if metric != schema.FINAL_RETURN:
                frames.notes.append(f"{where}: the final score of a run is its last {metric}")
                due = at + _largest_gap(rows).reindex(runs.run_id)
    if "final" not in runs:
        raise AnalysisError(
            f"{where}: no score: one column must be called final, {schema.FINAL_RETURN}, "
            f"{schema.EVAL_RETURN} or {schema.TRAIN_RETURN}; columns: {names_of(metrics)}"
        )
    try:
        runs["final"] = runs.final.astype(float)
    except (TypeError, ValueError):
        raise AnalysisError(f"{where}: column 'final' holds a value that is not a number") from None
    if "budget" not in runs:
        _end_together(frames, where)
    if at.notna().any():
        early = (at < runs.budget.to_numpy()) & (due <= runs.budget.to_numpy())
        near = (due == at) | (at < (1 - _NEAR) * runs.budget.to_numpy())
        runs["scored_at"] = np.where(early & near, at, np.nan)


def _largest_gap(rows: pd.DataFrame) -> pd.Series:
    """Return the most steps between two rows of each run, the first from step 0."""
    gaps = rows.groupby("run_id", observed=True)[schema.STEP].diff().fillna(rows[schema.STEP])
    return gaps.groupby(rows.run_id, observed=True).max()


def _end_together(frames: Frames, where: str) -> None:
    """Set the budgets, and let runs end there that end within 5% or before their next row."""
    runs = frames.runs
    ends = frames.metrics.groupby("run_id", observed=True)[schema.STEP].max().reindex(runs.run_id)
    runs["budget"] = ends.to_numpy()
    runs["budget"] = runs.groupby("env").budget.transform("max")
    gaps = _largest_gap(frames.metrics).reindex(runs.run_id).to_numpy()
    due = np.maximum(ends.to_numpy() + gaps, ends.to_numpy() + _NEAR * runs.budget)
    whole = runs[(ends.to_numpy() < runs.budget) & (due >= runs.budget)]
    if whole.empty:
        return
    frames.notes.append(
        f"{where}: runs that end less than {_NEAR:.0%} of the steps, or one row, "
        f"before the longest of the environment count as whole: {len(whole)}"
    )
    order = frames.metrics.run_id.cat.categories
    metrics = pd.concat(
        [
            frames.metrics.astype({"run_id": str}),
            whole[["run_id", "budget"]].rename(columns={"budget": schema.STEP}),
        ]
    )
    metrics["run_id"] = pd.Categorical(metrics.run_id, order)
    metrics[schema.STEP] = metrics[schema.STEP].astype(np.int64)
    frames.metrics = metrics.sort_values(["run_id", schema.STEP], kind="stable", ignore_index=True)
