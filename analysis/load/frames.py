"""The two tidy frames that every source returns.

``runs`` has one row per planned run, also if the run failed or is missing:

===============  =================================================================================
run_id           unique within the source
label            name of the agent in tables and figures
env              environment
seed             integer; runs of equal seed can be paired
algo, kind,      the role of the label in an ablation (``Variant``, ``schema.py``); without them
base, full,      the label is a preset of its own. ``on`` and ``overrides`` are JSON text
component, on,
overrides
study            name of the study, or of the file
budget           steps to train for; by default the last step of the run
state, reason    ``prism.benchmark.store.schema.STATES`` or "missing"; by default "finished"
fault            what is wrong with the run's data; empty if nothing is
protocol, code,  hashes of evaluation protocol, code and configuration; empty if unknown
config
random,          scores of the environment for normalisation; NaN if there are none
reference
lowest, highest  bounds of the mean score, which intervals keep to; NaN if there are none
final            final score; NaN if the run has none
scored_at        step of the final score if later ones are missing; NaN if none is missing
===============  =================================================================================

``metrics`` has one row per run and step: ``run_id`` (categorical), ``global_step``, one column per
metric (NaN: no value at that step). ``time/wall`` and ``time/cpu`` are seconds since the job
started.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema
from prism.benchmark.util.text import shown

from ..errors import AnalysisError

MISSING = "missing"  # planned and never started; not a state that a run writes
WALL, CPU = "time/wall", "time/cpu"
REQUIRED = ("run_id", "label", "env", "seed")
_TEXTS = (
    *("run_id", "label", "env", "algo", "base", "full", "study", "reason", "fault"),
    *("protocol", "code", "config"),
)
_BLANK: dict[str, Any] = {
    "study": "",
    "lanes": 1,
    "kind": schema.PRESET,
    "component": None,
    "on": "[]",
    "overrides": "{}",
    "state": schema.FINISHED,
    "reason": "",
    "fault": "",
    "protocol": "",
    "code": "",
    "config": "",
    "random": np.nan,
    "reference": np.nan,
    "lowest": np.nan,
    "highest": np.nan,
    "final": np.nan,
    "scored_at": np.nan,
}


@dataclass
class Frames:
    """What a source returns.

    Attributes:
        runs: one row per run, columns as above.
        metrics: all rows of all runs.
        records: ``run.json`` (or its equivalent) by run id; optional.
        skipped: incompatible pairs of algorithm and environment that a plan skipped.
        unplanned: run folders that are not in the plan; they are ignored.
        notes: remarks that qualify the numbers.
        planned: whether the source knows every planned run, also those that failed or never began.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[schema.Skipped] = field(default_factory=list)
    unplanned: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    planned: bool = False


def complete(frames: Frames, name: str) -> Frames:
    """Check the frames of source ``name`` and fill its missing columns with defaults.

    Raises:
        AnalysisError: a required column is missing, or a run id occurs twice.
    """
    runs, metrics = frames.runs, frames.metrics
    for column in REQUIRED:
        if column not in runs:
            raise AnalysisError(f"{name}: no column {column!r}; columns: {names_of(runs)}")
    if runs.empty:
        raise AnalysisError(f"{name}: contains no run")
    if runs.run_id.duplicated().any():
        raise AnalysisError(
            f"{name}: two runs are called {runs.run_id[runs.run_id.duplicated()].iloc[0]!r}"
        )
    defaults = _BLANK | {key: runs.label for key in ("algo", "base", "full")}
    runs = runs.assign(**{key: value for key, value in defaults.items() if key not in runs})
    for column in _TEXTS:
        runs[column] = runs[column].astype(object).fillna("").astype(str)
        if column != "run_id":  # it is a key
            runs[column] = runs[column].map(shown)
    runs["seed"] = _seeds(runs, name)
    ends = metrics.groupby("run_id", observed=True)[schema.STEP].agg(["last", "size"])
    ends = ends.reindex(runs.run_id).fillna(0).astype(np.int64)
    runs["updates"] = runs.get("updates", np.nan)
    if schema.UPDATES in metrics:
        made = metrics.groupby("run_id", observed=True)[schema.UPDATES].last()
        runs["updates"] = made.reindex(runs.run_id).to_numpy(float)
    runs["global_step"], runs["rows"] = ends["last"].to_numpy(), ends["size"].to_numpy()
    budget = runs.get("budget", pd.Series(np.nan, runs.index)).astype(float)
    runs["budget"] = budget.fillna(runs.global_step).astype(np.int64)
    runs["fault"] = _not_finite(runs, metrics)
    frames.runs = runs.reset_index(drop=True)
    return frames


def _seeds(runs: pd.DataFrame, name: str) -> pd.Series:
    """Return the seeds as integers, also those that no column of 64 bits holds."""
    seeds = []
    for run_id, seed in zip(runs.run_id, runs.seed, strict=True):
        try:
            whole = int(seed)
        except (TypeError, ValueError, OverflowError):
            whole = None
        if whole is None or (not isinstance(seed, str) and whole != seed):
            raise AnalysisError(f"{name}: seed {seed!r} of {run_id} is not an integer")
        seeds.append(whole)
    fits = all(-(2**63) <= seed < 2**63 for seed in seeds)
    return pd.Series(seeds, runs.index, dtype=np.int64 if fits else object)


def _not_finite(runs: pd.DataFrame, metrics: pd.DataFrame) -> pd.Series:
    """Return the faults of the runs, and of a return that is infinite: it would rank first."""
    faults = runs.fault.copy()
    for name in (schema.FINAL_RETURN, schema.EVAL_RETURN, schema.TRAIN_RETURN):
        if name not in metrics:
            continue
        odd = metrics.loc[np.isinf(metrics[name].astype(float)), ["run_id", schema.STEP]]
        for run_id, step in odd.drop_duplicates("run_id").itertuples(index=False):
            mine = (runs.run_id == str(run_id)) & (faults == "")
            faults[mine] = f"{name} is not finite at step {step}"
    return faults


def stack(runs: Mapping[str, Mapping[str, Any]]) -> pd.DataFrame:
    """Concatenate the columns of all runs under one categorical ``run_id``."""
    lengths = [len(columns[schema.STEP]) for columns in runs.values()]
    names = dict.fromkeys(name for columns in runs.values() for name in columns)
    arrays = {
        name: np.concatenate(
            [
                columns.get(name, np.full(length, np.nan))
                for columns, length in zip(runs.values(), lengths, strict=True)
            ]
        )
        for name in names
    }
    owners = pd.Categorical.from_codes(
        np.repeat(np.arange(len(runs)), lengths), pd.Index(list(runs))
    )
    return pd.DataFrame({"run_id": owners} | arrays)


def names_of(frame: pd.DataFrame) -> str:
    """Return the names of the columns, for a message."""
    return ", ".join(map(str, frame))


def first_line(error: Exception) -> str:
    """Return what an error says in one line, for a message."""
    return next(iter(str(error).splitlines()), "") or type(error).__name__
