"""Event files for TensorBoard: one folder per run, with its curves, its settings and how it ended.

Numbers are rounded to 32 bits, because TensorBoard's reader ignores doubles. The time of an event
is the run's own clock, in seconds since its job started, so equal runs give equal files;
TensorBoard's "relative" axis shows it. The files contain nothing beyond ``run.json`` and the rows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError
from ..load.data import Data
from ..load.frames import WALL

FILE = "events.out.tfevents.0.prism"  # TensorBoard looks for "tfevents"
_METRICS = (
    schema.FINAL_RETURN,
    schema.EVAL_RETURN,
    schema.TRAIN_RETURN,
)  # columns of the table of runs
_ENDS = {schema.FINISHED: "STATUS_SUCCESS", schema.RUNNING: "STATUS_RUNNING"}


def write(data: Data, out: Path) -> int:
    """Write the event files of every run that has rows; return their number.

    Args:
        data: runs, scored or not.
        out: folder to write to; the file of a run is in ``<out>/<environment>/<label>/<run id>``.

    Raises:
        AnalysisError: the package tensorboard is missing.
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
        settings = _settings(run, data.records.get(run["run_id"], {}))
        names |= set(settings)
        folder = out / _name(run["env"]) / _name(run["label"]) / _name(run["run_id"])
        _write(folder / FILE, _events(run, settings, rows[run["run_id"]]))
    _write(out / FILE, iter([_overview(sorted(names))]))
    return len(rows)


def _name(text: str) -> str:
    return re.sub(r"[^\w .=+-]", "-", text)


def _settings(run: Mapping[Any, Any], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run for the table of runs, without nesting."""
    config = record.get("config", {})
    facts = {key: run[key] for key in ("study", "label", "env", "seed", "budget")}
    return facts | dict(_flat({"algo": config.get("algo", {})}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            is_scalar = isinstance(value, bool | int | float | str)
            yield f"{prefix}{key}", value if is_scalar else json.dumps(value)


def _events(run: Mapping[Any, Any], settings: Mapping[str, Any], rows: pd.DataFrame) -> Any:
    """Yield the events of one run: its settings, its rows, and how it ended."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2, summary_v2

    yield Event(
        summary=summary_v2.hparams_pb(dict(settings), trial_id=run["run_id"], start_time_secs=0.0)
    )
    clock = rows[WALL].fillna(0.0).to_numpy() if WALL in rows else np.zeros(len(rows))
    table = rows.drop(columns=["run_id", schema.STEP]).dropna(axis="columns", how="all")
    new = set(table)
    values = table.to_numpy(np.float64)
    for step, time, row in zip(rows[schema.STEP].tolist(), clock.tolist(), values, strict=True):
        event = Event(wall_time=time, step=step)
        for name, value in zip(table, row.tolist(), strict=True):
            if not np.isnan(value):
                _add(event, str(name), value, name in new)
                new.discard(name)
        yield event
    last = clock.max(initial=0.0)
    status = api_pb2.Status.Value(_ENDS.get(run["state"], "STATUS_FAILURE"))
    end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=last)
    event = Event(wall_time=last)
    about = metadata.create_summary_metadata(
        plugin_data_pb2.HParamsPluginData(session_end_info=end)
    )
    event.summary.value.add(
        tag=metadata.SESSION_END_INFO_TAG, metadata=about, tensor=metadata.NULL_TENSOR
    )
    yield event


def _add(event: Any, name: str, value: float, first: bool) -> None:
    """Add a scalar to an event; the first of each name declares its type."""
    from tensorboard.compat.proto import types_pb2
    from tensorboard.plugins.scalar.metadata import create_summary_metadata

    added = event.summary.value.add(tag=name)
    added.tensor.dtype = types_pb2.DT_FLOAT
    added.tensor.float_val.append(value)
    added.tensor.tensor_shape.SetInParent()
    if first:
        added.metadata.CopyFrom(create_summary_metadata(display_name=name, description=""))


def _overview(names: list[str]) -> Any:
    """Return the event that declares the settings and results of the table of runs."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.summary_v2 import HParam, Metric, hparams_config_pb

    metrics = [Metric(name) for name in _METRICS]
    config = hparams_config_pb(list(map(HParam, names)), metrics, time_created_secs=0.0)
    return Event(summary=config)


def _write(path: Path, events: Iterator[Any]) -> None:
    """Write an event file; equal events give equal bytes."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData
    from tensorboard.summary.writer.record_writer import RecordWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name("partial")
    with partial.open("wb") as file:
        writer = RecordWriter(file)
        for event in [Event(file_version="brain.Event:2"), *events]:
            for value in event.summary.value:
                about = value.metadata.plugin_data
                if about.plugin_name == "hparams":  # contains a map, whose order is not fixed
                    content = HParamsPluginData.FromString(about.content)
                    about.content = content.SerializeToString(deterministic=True)
            writer.write(event.SerializeToString(deterministic=True))
    partial.replace(path)
