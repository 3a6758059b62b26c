"""Trackio, which keeps runs in a database of this machine: ``trackio show --project <project>``."""

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
    """One Trackio run, called and grouped as on W&B.

    Trackio keeps every row that it gets, so a run that goes on from a checkpoint is deleted there
    and sent again from the local rows: no step is there twice.
    """

    status = "on"

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None:
        self._folder, self._project = folder, tracking["project"]

    def begin(self, record: RunRecord, resume_at: int | None) -> None:
        """Start the run in place of an earlier one, with the rows that are kept."""
        import trackio

        if remote := [name for name in _REMOTE if os.environ.get(name)]:
            raise ValueError(f"{remote[0]} is set, and only the local database is supported")
        name = wandb_id(record)
        with suppress(ValueError):  # there is no such project yet
            for run in trackio.Api().runs(self._project):
                if run.name == name:
                    run.delete()
        told = {"study": record["study"], "label": record["variant"]["label"]}
        # the current run of a context is ended by the next one: those of other seeds go on
        with redirect_stdout(io.StringIO()):
            self._run: Any = Context().run(
                trackio.init,
                project=self._project,
                name=name,
                group=group(record),
                config={**record["config"], "seed": record["seed"], **told},
                embed=False,
                auto_log_cpu=False,
                auto_log_gpu=False,
            )
        for row in timed_rows(self._folder):
            self.log(row)

    def log(self, row: Row) -> None:
        """Hand one row to Trackio's thread."""
        values = compact(row)
        self._run.log({key: x for key, x in values.items() if key != STEP}, step=values[STEP])

    def finish(self, state: str, reason: str | None) -> None:
        """Wait until the rows are in the database; an alert tells any end but the usual one."""
        with redirect_stdout(io.StringIO()):
            if state != FINISHED:
                self._run.alert(state, reason)
            self._run.finish()
        self.status = "complete"
