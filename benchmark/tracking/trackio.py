"""The Trackio mirror, a database on this machine: ``trackio show --project <project>``."""

import io
import os
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from contextvars import Context
from pathlib import Path
from typing import Any

from ..store.rows import Row, timed_rows
from ..store.schema import FINISHED, STEP, RunRecord
from .wandb import compact, group, wandb_id

_REMOTE = ("TRACKIO_SPACE_ID", "TRACKIO_SERVER_URL")


class Trackio:
    """One Trackio run, with the name and group that it has on W&B.

    Trackio cannot replace rows, so when a run resumes from a checkpoint, its Trackio run is deleted
    and sent again from the local rows. No step occurs twice.
    """

    status = "on"

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None:
        self._folder, self._project = folder, tracking["project"]

    def begin(self, record: RunRecord, resume_at: int | None) -> None:
        """Replace an earlier run of the same name and send the rows up to ``resume_at``."""
        import trackio

        if remote := [name for name in _REMOTE if os.environ.get(name)]:
            raise ValueError(f"{remote[0]} is set, and only the local database is supported")
        name = wandb_id(record)
        with suppress(ValueError):  # the project does not exist yet
            for run in trackio.Api().runs(self._project):
                if run.name == name:
                    run.delete()
        names = {"study": record["study"], "label": record["variant"]["label"]}
        # init ends the current run of its context: a fresh context keeps the other seeds' runs open
        with redirect_stdout(io.StringIO()):
            self._run: Any = Context().run(
                trackio.init,
                project=self._project,
                name=name,
                group=group(record),
                config={**record["config"], "seed": record["seed"], **names},
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        for row in timed_rows(self._folder):
            self.log(row)

    def log(self, row: Row) -> None:
        """Queue one row for Trackio's thread."""
        values = compact(row)
        self._run.log({key: x for key, x in values.items() if key != STEP}, step=values[STEP])

    def finish(self, state: str, reason: str | None) -> None:
        """Wait until the rows are in the database; send an alert unless the run finished."""
        with redirect_stdout(io.StringIO()):
            if state != FINISHED:
                self._run.alert(state, reason)
            self._run.finish()
        self.status = "complete"
