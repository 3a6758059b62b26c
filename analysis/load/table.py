"""Source: CSV or Parquet of other people's runs.

One row per run and step, or one row per run. Columns:

=================  ===============================================================================
env, seed          required
label              what tables call the agent; ``algo`` is taken where it is absent
global_step        steps of the environment; without it each row is a whole run
<metric>           any other number, such as ``train/return``, ``eval/return``, ``time/wall``
final              score at the end; without it ``final/return``, else a run's last ``eval/return``
                   or ``train/return``, which is noted. A run whose last one lies before the budget,
                   so that more should have followed, is unfinished
budget             steps that were asked for; without it the most that a run of the environment has
run_id, state, kind, base, full, component, on, overrides, random, reference, protocol, code
                   as in ``prism.analysis.load.frames``; constant within a run
=================  ===============================================================================
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from prism.benchmark.store import schema

from ..errors import AnalysisError
from .frames import Frames, names_of, unknown_path

_ENDINGS = (".csv", ".parquet", ".csv.gz")
_OF_RUN = [
    *("run_id", "study", "label", "algo", "env", "seed", "kind", "base", "full", "component", "on"),
    *("overrides", "budget", "state", "reason", "protocol", "code", "random", "reference", "final"),
]


def accepts(where: str) -> bool:
    """Take what is called like a table."""
    return where.endswith(_ENDINGS)


def read(where: str) -> Frames:
    """Read one table."""
    path = Path(where)
    if not path.is_file():
        candidates = [str(p) for p in path.parent.glob("*") if p.name.endswith(_ENDINGS)]
        raise unknown_path(where, candidates)
    try:
        frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except (OSError, ValueError, pa.ArrowException) as error:
        raise AnalysisError(f"{where}: unreadable ({str(error).splitlines()[0]})") from None
    return from_frame(frame, where, path.stem)


def from_frame(frame: pd.DataFrame, where: str, study: str) -> Frames:
    """Return the frames of a table as described above.

    Raises:
        AnalysisError: a column is absent, is no number, or changes within a run.
    """
    if "label" not in frame and "algo" in frame:
        frame = frame.assign(label=frame.algo)
    for column in ("label", "env", "seed"):
        if column not in frame:
            raise AnalysisError(f"{where}: no column {column!r}; there are {names_of(frame)}")
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
                f"{where}: column {column!r} holds something that is no number"
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
    """Raise where a run is not one: two rows of one step, a step or a fact that is none."""
    twice = metrics.run_id[metrics.duplicated(["run_id", schema.STEP])]
    if len(twice):
        raise AnalysisError(f"{where}: {twice.iloc[0]} has two rows of one {schema.STEP}")
    for column in runs.columns.difference(["run_id"]):
        if (runs.groupby("run_id")[column].nunique() > 1).any():
            hint = f"; name a curve {schema.EVAL_RETURN}" if column == "final" else ""
            raise AnalysisError(f"{where}: {column} changes within a run{hint}")
    steps = metrics[schema.STEP]
    broken = ~np.isfinite(steps) | (steps % 1 != 0)
    if broken.any():
        row, step = broken.argmax() + 2, steps[broken].iloc[0]
        raise AnalysisError(f"{where}: row {row}: {schema.STEP} {step:g} is no whole number")


def _finish(frames: Frames, where: str) -> None:
    """Fill the score at the end and the budget where the table does not name them."""
    runs, metrics = frames.runs, frames.metrics
    at = due = pd.Series(np.nan, runs.run_id)
    for metric in (schema.FINAL_RETURN, schema.EVAL_RETURN, schema.TRAIN_RETURN):
        if "final" not in runs and metric in metrics:
            rows = metrics.dropna(subset=[metric])
            by_run = rows.groupby("run_id", observed=True)
            runs["final"] = by_run[metric].last().reindex(runs.run_id).to_numpy()
            at = due = by_run[schema.STEP].last().reindex(runs.run_id)
            if metric != schema.FINAL_RETURN:
                frames.notes.append(f"{where}: the score at the end is a run's last {metric}")
                gaps = by_run[schema.STEP].diff().fillna(rows[schema.STEP])
                due = at + gaps.groupby(rows.run_id, observed=True).max()
    if "final" not in runs:
        raise AnalysisError(
            f"{where}: no score; name a column final, {schema.FINAL_RETURN}, {schema.EVAL_RETURN} "
            f"or {schema.TRAIN_RETURN}; there are {names_of(metrics)}"
        )
    if "budget" not in runs:
        ends = metrics.groupby("run_id", observed=True)[schema.STEP].max().reindex(runs.run_id)
        runs["budget"] = ends.to_numpy()
        runs["budget"] = runs.groupby("env").budget.transform("max")
    early = (at.to_numpy() < runs.budget) & (due.reindex(runs.run_id).to_numpy() <= runs.budget)
    runs["scored_at"] = np.where(early, at, np.nan)
