"""TensorBoard's event files: a folder a run with its curves, settings and how it ended.

Numbers are rounded to 32 bits: TensorBoard's reader silently drops doubles. An
event's time is in seconds since its job began, so that equal runs give equal files; the "relative"
axis shows it. A file contains only what is in ``run.json`` and the rows.
"""

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from . import schema

FILE = "events.out.tfevents.0.prism"  # TensorBoard looks for "tfevents"
_ENDS = {schema.FINISHED: "STATUS_SUCCESS", schema.RUNNING: "STATUS_RUNNING"}


def path_of(out: Path, env: str, label: str, run_id: str) -> Path:
    """Return where a run's file lies below ``out``: ``<environment>/<label>/<run id>``."""
    return out / _name(env) / _name(label) / _name(run_id) / FILE


def _name(text: str) -> str:
    return re.sub(r"^\.|[^\w .=+-]", "-", text) or "-"


def settings(run: Mapping[Any, Any], algo: Mapping[str, Any]) -> dict[str, Any]:
    """Return what TensorBoard's table of runs shows of one, flat.

    Args:
        run: has ``study``, ``label``, ``env``, ``seed`` and ``budget``; algo: its agent's settings.
    """
    values = {key: run[key] for key in ("study", "label", "env", "seed", "budget")}
    return values | dict(_flat({"algo": algo}))


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            kept = isinstance(value, bool | int | float | str)
            yield f"{prefix}{key}", value if kept else json.dumps(value)


class EventWriter:
    """Writes the events of one file, the same bytes for the same events.

    Args:
        file: open for writing; closed by the caller.
    """

    def __init__(self, file: BinaryIO) -> None:
        from tensorboard.compat.proto import types_pb2
        from tensorboard.compat.proto.event_pb2 import Event
        from tensorboard.plugins.scalar.metadata import create_summary_metadata
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._float, self._about = Event, types_pb2.DT_FLOAT, create_summary_metadata
        self._records, self._known = RecordWriter(file), set[str]()
        self._last = 0.0  # time of the latest row
        self._write(Event(file_version="brain.Event:2"))

    def begin(self, run_id: str, values: Mapping[str, Any]) -> None:
        """Write a run's settings."""
        from tensorboard.plugins.hparams import summary_v2

        self.tell(summary_v2.hparams_pb(dict(values), trial_id=run_id, start_time_secs=0.0))

    def row(self, step: int, time: float, values: Mapping[str, float]) -> None:
        """Write the metrics of a step; the first of a name says that it is a scalar."""
        event = self._event(wall_time=time, step=step)
        for name in sorted(values):
            added = event.summary.value.add(tag=name)
            added.tensor.dtype = self._float
            added.tensor.float_val.append(values[name])
            added.tensor.tensor_shape.SetInParent()
            if name not in self._known:
                self._known.add(name)
                added.metadata.CopyFrom(self._about(display_name=name, description=""))
        self._last = max(self._last, time)
        self._write(event)

    def end(self, state: str) -> None:
        """Write how a run ended."""
        from tensorboard.plugins.hparams import api_pb2, metadata, plugin_data_pb2

        status = api_pb2.Status.Value(_ENDS.get(state, "STATUS_FAILURE"))
        end = plugin_data_pb2.SessionEndInfo(status=status, end_time_secs=self._last)
        event = self._event(wall_time=self._last)
        event.summary.value.add(
            tag=metadata.SESSION_END_INFO_TAG,
            metadata=metadata.create_summary_metadata(
                plugin_data_pb2.HParamsPluginData(session_end_info=end)
            ),
            tensor=metadata.NULL_TENSOR,
        )
        self._write(event)

    def tell(self, summary: Any) -> None:
        """Write a summary of the plug-in for settings."""
        self._write(self._event(summary=summary))

    def _write(self, event: Any) -> None:
        for value in event.summary.value:
            about = value.metadata.plugin_data
            if about.plugin_name == "hparams":  # holds a map, whose order is not fixed
                from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

                content = HParamsPluginData.FromString(about.content)
                about.content = content.SerializeToString(deterministic=True)
        self._records.write(event.SerializeToString(deterministic=True))
