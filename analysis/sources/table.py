"""Source: CSV or Parquet of other people's runs.

One row per run and step, or one row per run. Columns:

=================  ===============================================================================
env, seed          required
label              what tables call the agent; ``algo`` is taken where it is absent
global_step        steps of the environment; without it each row is a whole run
<metric>           any other number, such as ``train/return``, ``eval/return``, ``time/wall``
final              score at the end; without it ``final/return``, else a run's last ``eval/return``
                   or ``train/return``, which is noted
budget             steps that were asked for; without it the most that a run of the environment has
run_id, state, kind, base, full, component, on, overrides, random, reference, protocol, code
                   as in ``analysis.sources.frames``; constant within a run
=================  ===============================================================================
"""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from analysis.errors import AnalysisError
from analysis.sources.frames import Frames, names_of, unknown_path
from benchmark import schema

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
        near = [str(p) for p in path.parent.glob("*") if p.name.endswith(_ENDINGS)]
        raise unknown_path(where, near)
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
    for column in firsts.columns.difference(["final"]):
        if (runs.groupby("run_id")[column].nunique() > 1).any():
            raise AnalysisError(f"{where}: {column} changes within a run")
    if metrics.duplicated(["run_id", schema.STEP]).any():
        twice = metrics.run_id[metrics.duplicated(["run_id", schema.STEP])].iloc[0]
        raise AnalysisError(f"{where}: {twice} has two rows of one {schema.STEP}")
    metrics = metrics.assign(run_id=pd.Categorical(metrics.run_id, list(firsts.index)))
    metrics = metrics.sort_values(["run_id", schema.STEP], kind="stable", ignore_index=True)
    metrics[schema.STEP] = metrics[schema.STEP].astype(np.int64)
    found = Frames(firsts.reset_index().assign(study=study), metrics)
    _finish(found, where)
    return found


def _finish(frames: Frames, where: str) -> None:
    """Fill the score at the end and the budget where the table does not name them."""
    runs, metrics = frames.runs, frames.metrics
    for metric in (schema.FINAL_RETURN, schema.EVAL_RETURN, schema.TRAIN_RETURN):
        if "final" not in runs and metric in metrics:
            last = metrics.dropna(subset=[metric]).groupby("run_id", observed=True)[metric].last()
            runs["final"] = last.reindex(runs.run_id).to_numpy()
            if metric != schema.FINAL_RETURN:
                frames.notes.append(f"{where}: the score at the end is a run's last {metric}")
    if "final" not in runs:
        raise AnalysisError(
            f"{where}: no score; name a column final, {schema.FINAL_RETURN}, {schema.EVAL_RETURN} "
            f"or {schema.TRAIN_RETURN}; there are {names_of(metrics)}"
        )
    if "budget" not in runs:
        ends = metrics.groupby("run_id", observed=True)[schema.STEP].max().reindex(runs.run_id)
        runs["budget"] = ends.to_numpy()
        runs["budget"] = runs.groupby("env").budget.transform("max")
