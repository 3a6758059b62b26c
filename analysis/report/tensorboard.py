"""Event files for TensorBoard of runs from any source; what is in one: ``store/events.py``."""

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema
from prism.benchmark.store.events import FILE, EventWriter, path_of, settings

from ..errors import AnalysisError
from ..load.data import Data
from ..load.frames import WALL

_METRICS = (schema.FINAL_RETURN, schema.EVAL_RETURN, schema.TRAIN_RETURN)  # of the table of runs


def write(data: Data, out: Path) -> int:
    """Write the event files of every run that has rows; return how many there are.

    Args:
        data: runs, scored or not.
        out: folder; a run's file goes to ``<out>/<environment>/<label>/<run id>``.

    Raises:
        AnalysisError: TensorBoard's package is missing.
    """
    try:
        import_module("tensorboard.plugins.hparams.summary_v2")
    except ImportError:
        raise AnalysisError("tensorboard is missing: pip install 'prism-rl[tensorboard]'") from None
    rows = dict(iter(data.metrics.groupby("run_id", observed=True)))
    names: set[str] = set()
    for run in data.runs.to_dict("records"):
        if run["run_id"] not in rows:
            continue
        config = data.records.get(run["run_id"], {}).get("config", {})
        values = settings(run, config.get("algo", {}))
        names |= set(values)
        with _whole(path_of(out, run["env"], run["label"], run["run_id"])) as events:
            events.begin(run["run_id"], values)
            _write_rows(events, rows[run["run_id"]])
            events.end(run["state"])
    with _whole(out / FILE) as events:
        events.tell(_overview(sorted(names)))
    return len(rows)


def _write_rows(events: EventWriter, rows: pd.DataFrame) -> None:
    clock = rows[WALL].fillna(0.0).to_numpy() if WALL in rows else np.zeros(len(rows))
    table = rows.drop(columns=["run_id", schema.STEP]).dropna(axis="columns", how="all")
    names, values = [str(name) for name in table], table.to_numpy(np.float64).tolist()
    for step, time, row in zip(rows[schema.STEP].tolist(), clock.tolist(), values, strict=True):
        pairs = zip(names, row, strict=True)
        events.row(step, time, {name: value for name, value in pairs if not np.isnan(value)})


def _overview(names: list[str]) -> Any:
    """Return the summary that tells which settings and results the table of runs has."""
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

    metrics = [Metric(name) for name in _METRICS]
    return hparams_config_pb(list(map(HParam, names)), metrics, time_created_secs=0.0)


@contextmanager
def _whole(path: Path) -> Iterator[EventWriter]:
    """Give what writes an event file that a reader sees whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("partial")
    with partial.open("wb") as file:
        yield EventWriter(file)
    partial.replace(path)
