"""TensorBoard event files, written during training to the folder of ``prism tensorboard``."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..store.events import EventWriter, path_of, settings
from ..store.rows import Row, timed_rows
from ..store.schema import STEP, RunRecord

_WALL = "time/wall"


class TensorBoard:
    """One event file: ``<study>/tensorboard/<environment>/<label>/<run id>``.

    A run that resumes from a checkpoint reuses its file: the kept rows overwrite it in place, so
    each step occurs once, and an open TensorBoard can keep reading.
    """

    status = "on"

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None:
        self._folder = folder

    def begin(self, record: RunRecord, resume_at: int | None) -> None:
        """Write the settings and the rows up to ``resume_at``."""
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
        """Write one row and flush it, so that a killed process loses none."""
        self._write(row)
        self._file.flush()

    def _write(self, row: Row) -> None:
        values = {name: x for name, x in row.items() if name != STEP and x is not None}
        self._events.row(row[STEP], row.get(_WALL) or 0.0, values)

    def finish(self, state: str, reason: str | None) -> None:
        """Write the final state and close the file."""
        self._events.end(state)
        self._file.close()
        self.status = "complete"
