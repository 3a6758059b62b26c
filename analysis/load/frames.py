"""The two tidy frames that every source gives, and what they hold.

``runs`` has one row per run that should exist, also where it failed or is missing:

===============  =================================================================================
run_id           unique within the source
label            what tables call the agent
env              environment
seed             whole number; seeds of the same number are pairs where their scores correlate
algo, kind,      how the label belongs to a component study (``Variant``, ``schema.py``); without
base, full,      them the label is a preset of its own. ``on`` and ``overrides`` are JSON text
component, on,
overrides
study            where the run was found
budget           steps that were asked for; without it, where the run's rows end
state, reason    ``prism.benchmark.store.schema.STATES`` or "missing"; without them "finished"
fault            what is wrong with the run's data; empty where they can be trusted
protocol, code,  hashes of the evaluation side, the code and the configuration; empty where unknown
config
random,          scores of the environment for normalisation; NaN where there are none
reference
final            score at the end; NaN where the run has none
scored_at        step of that score where later ones are wanting; NaN where it is that of the end
===============  =================================================================================

``metrics`` has one row per run and step: ``run_id`` (categorical), ``global_step``, one column per
metric (NaN: no value at that step). ``time/wall`` and ``time/cpu`` are seconds since the job began.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError, nearest

MISSING = "missing"  # planned, and never begun; not a state that a run writes
WALL, CPU = "time/wall", "time/cpu"
REQUIRED = ("run_id", "label", "env", "seed")
_TEXTS = (
    *("run_id", "label", "env", "algo", "base", "full", "study", "reason", "fault"),
    *("protocol", "code", "config"),
)
_BLANK: dict[str, Any] = {
    "study": "",
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
    "final": np.nan,
    "scored_at": np.nan,
}


@dataclass
class Frames:
    """What a source found.

    Attributes:
        runs: one row per run, columns as above.
        metrics: all rows of all runs.
        records: ``run.json`` (or what stands for it) by run id; shown, never needed.
        skipped: incompatible pairs that a plan left out.
        unplanned: what was found beside the plan; it enters nothing.
        notes: what a reader of any number must know.
    """

    runs: pd.DataFrame
    metrics: pd.DataFrame
    records: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[schema.Skipped] = field(default_factory=list)
    unplanned: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def complete(frames: Frames, name: str) -> Frames:
    """Check the frames of source ``name`` and fill the columns that it does not know.

    Raises:
        AnalysisError: a required column is absent, or a run id comes twice.
    """
    runs, metrics = frames.runs, frames.metrics
    for column in REQUIRED:
        if column not in runs:
            raise AnalysisError(f"{name}: no column {column!r}; there are {names_of(runs)}")
    if runs.empty:
        raise AnalysisError(f"{name}: holds no run")
    if runs.run_id.duplicated().any():
        raise AnalysisError(
            f"{name}: two runs are called {runs.run_id[runs.run_id.duplicated()].iloc[0]!r}"
        )
    defaults = _BLANK | {key: runs.label for key in ("algo", "base", "full")}
    runs = runs.assign(**{key: value for key, value in defaults.items() if key not in runs})
    for column in _TEXTS:
        runs[column] = runs[column].fillna("").astype(str)
    seeds = pd.to_numeric(runs.seed, errors="coerce").astype(float)
    for run_id, seed in zip(runs.run_id[seeds % 1 != 0], runs.seed[seeds % 1 != 0], strict=True):
        raise AnalysisError(f"{name}: seed {seed!r} of {run_id} is no whole number")
    runs["seed"] = seeds.astype(np.int64)
    ends = metrics.groupby("run_id", observed=True)[schema.STEP].agg(["last", "size"])
    ends = ends.reindex(runs.run_id).fillna(0).astype(np.int64)
    runs["global_step"], runs["rows"] = ends["last"].to_numpy(), ends["size"].to_numpy()
    budget = runs.get("budget", pd.Series(np.nan, runs.index)).astype(float)
    runs["budget"] = budget.fillna(runs.global_step).astype(np.int64)
    frames.runs = runs.reset_index(drop=True)
    return frames


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


def unknown_path(path: str, names: list[str]) -> AnalysisError:
    """Return the error for something that no source can read."""
    hint = f"; nearest: {nearest(path, names)}" if names else ""
    return AnalysisError(f"{path}: no such file or folder{hint}")
