"""Event files for TensorBoard while a run trains, where ``analysis tensorboard`` puts its own."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..store.events import EventWriter, path_of, settings
from ..store.rows import Row, timed_rows
from ..store.schema import STEP, RunRecord

_WALL = "time/wall"


class TensorBoard:
    """One event file: ``<study>/tensorboard/<environment>/<label>/<run id>``.

    A run that goes on from a checkpoint goes on in its file: what the file holds is written again
    in its place, so that a step stands there once, and TensorBoard may look on meanwhile.
    """

    status = "on"

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None:
        self._folder = folder

    def begin(self, record: RunRecord, resume_at: int | None) -> None:
        """Write the settings and the rows that are kept."""
        label = record["variant"]["label"]
        out = self._folder.parent.parent / "tensorboard"
        path = path_of(out, record["env"], label, record["run_id"])
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        self._file = path.open("r+b")
        self._events = EventWriter(self._file)
        self._events.begin(
            record["run_id"], settings({**record, "label": label}, record["config"]["algo"])
        )
        for row in timed_rows(self._folder):
            self._write(row)
        self._file.truncate()

    def log(self, row: Row) -> None:
        """Write one row; a killed process loses none."""
        self._write(row)
        self._file.flush()

    def _write(self, row: Row) -> None:
        values = {name: x for name, x in row.items() if name != STEP and x is not None}
        self._events.row(row[STEP], row.get(_WALL) or 0.0, values)

    def finish(self, state: str, reason: str | None) -> None:
        """Write how the run ended."""
        self._events.end(state)
        self._file.close()
        self.status = "complete"
