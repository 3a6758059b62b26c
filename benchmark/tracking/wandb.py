"""The Weights & Biases mirror of a run: a copy of the local rows whose failure harms nothing else.

A mirror that fails turns itself off, prints one line and keeps the reason in ``status``;
``benchmark/tracking/push.py`` can update W&B later. A process has several W&B runs open at once,
each with an explicit id (``reinit="create_new"``). Rows are logged to their own run, never through
``wandb.log``, whose global current run could send them to the wrong one.

A run that resumes from a checkpoint continues its W&B run: only the rows that W&B lacks are sent.
The id contains the hash of the code, so a rerun with other code is a new W&B run.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from ..store.rows import plain, timed_rows
from ..store.schema import EXIT_CODES, FINISHED, STEP, RunRecord
from ..util.secrets import clean, clean_text
from .artifacts import KEYS, attached, send
from .service import StartMode, quiet_setup, service, teardown, wanted_mode
from .tracker import why

UPLOADING = "uploading"
_FOR_FILES = 60.0  # longest wait in seconds at the end of a job that sends weights or videos

_SETTINGS: dict[str, Any] = {  # turn off what a mirror does not need and what slows its start
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "init_timeout": 15.0,  # W&B's default of 90 would delay every queued row
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 5.0,  # a killed process loses at most these seconds
}
NO_HURRY: dict[str, Any] = {"init_timeout": 90.0, "finish_timeout": 300.0}  # outside of training


class WandbMirror:
    """One W&B run: one seed of one variant on one environment. Never raises; only settle waits.

    Args:
        folder: the run folder; W&B's files go to its subfolder ``wandb/``.
        tracking: the config's ``tracking``. Its mode "auto" follows ``WANDB_MODE`` if set, else
            means online if logged in, else offline.
    """

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None:
        self._folder, self._tracking = Path(folder).absolute(), tracking
        self._run: Any = None
        self._sent: dict[int, dict[str, Any]] = {}
        self._rows = 0
        self._ended = False
        self._wanted = wanted_mode(tracking["wandb"])
        self._status = "disabled" if self._wanted == "disabled" else "starting"

    def begin(self, record: RunRecord, resume_at: int | None) -> None:
        """Queue the start; of the local rows up to ``resume_at``, those that W&B lacks are sent."""
        self._record, self._resume_at = record, resume_at
        if self._status != "disabled":
            self._service = service(os.getpid())
            self._service.call(self._begin)

    @property
    def sends_files(self) -> bool:
        """Say whether the run may send files besides its rows."""
        return bool(self._tracking.get("artifacts") or self._tracking.get("video"))

    @property
    def status(self) -> str:
        """Return "starting", "online", "offline", "uploading", "disabled" or "lost: <reason>"."""
        return self._status

    def log(self, row: Mapping[str, Any]) -> None:
        """Queue one row; missing and non-finite values are left out."""
        if self._status != "disabled":
            present = compact(row)
            self._service.call(lambda: self._send(present), hurry=False)

    def finish(self, state: str, reason: str | None = None) -> None:
        """Queue the end of the run."""
        if self._status != "disabled":
            self._service.call(lambda: self._end(state, reason))

    @staticmethod
    def settle(mirrors: Iterable["WandbMirror"]) -> None:
        """Wait until the mirrors, all told to finish, are done; turn off those that take too long.

        The wait lasts at most 60 s if files are sent, else as ``Service.wait`` limits it.
        """
        pending = [mirror for mirror in mirrors if mirror.status != "disabled"]
        if not pending:
            return
        shared = service(os.getpid())
        patience = _FOR_FILES if any(mirror.sends_files for mirror in pending) else None
        if problem := shared.wait(patience):
            for mirror in pending:
                mirror.lose(problem)
        if problem or not shared.live:
            teardown()  # also ends a ``run.finish`` that waits for a dead server

    def _begin(self) -> None:
        """Start, unless the mirror was turned off while it was queued."""
        if not self._ended:
            self._start()

    def _start(self) -> None:
        mode: StartMode = "offline"
        try:
            mode = self._service.resolve(self._wanted)
            self._open(mode)
        except Exception as error:
            if self._ended:
                return
            if self._service.live:  # a restart of the service would end these runs
                self._fail(error)
            else:
                self._restart(mode, error)

    def _restart(self, mode: StartMode, error: Exception) -> None:
        """Retry offline on a new service: the old one is dead or still holds the id "in use"."""
        teardown()
        self._run, self._rows = None, 0
        try:
            self._open("offline")
        except Exception as second:
            self._fail(second)
        else:
            if mode != "offline":
                self._service.unreachable = True
                self._service.say(f"no online start, recording offline: {why(error)}")

    def _open(self, mode: StartMode) -> None:
        for old in self._folder.glob(f"wandb/offline-run-*-{wandb_id(self._record)}"):
            shutil.rmtree(old, ignore_errors=True)  # an earlier attempt: its rows are sent again
        run = open_run(self._record, self._folder, self._tracking, mode)
        if self._ended:  # turned off in the meantime
            return _abandon(run)
        self._run = run
        self._service.live.add(self)
        # W&B moves to a temporary folder when it cannot write to ours
        if not Path(run.dir).is_relative_to(self._folder):
            raise OSError(f"cannot write to {self._folder / 'wandb'}")
        if mode == "online" and run.resumed and (before := held(run.path)):
            self._sent = before.rows
        if self._resume_at is not None:
            for row in timed_rows(self._folder):
                if row[STEP] <= self._resume_at:
                    self._send(compact(row))
        self._status = mode

    def _send(self, row: dict[str, Any]) -> None:
        self._rows += 1
        if _untimed(self._sent.get(row[STEP], {})) != _untimed(row):
            self._attempt(lambda run: run.log(row))

    def _attempt(self, call: Callable[[Any], None]) -> None:
        if self._run is not None:
            try:
                call(self._run)
            except Exception as error:
                self._fail(error)

    def _end(self, state: str, reason: str | None) -> None:
        facts, exit_code = summary(state, reason, self._rows), EXIT_CODES.get(state, 1)
        if state == FINISHED:
            facts |= attached(self._folder, self._tracking)
        if self._status == "online":
            self._status = UPLOADING
            self._service.end(lambda: self._close(facts, exit_code, "online"))
        else:
            self._close(facts, exit_code, self._status)

    def _close(self, facts: dict[str, Any], exit_code: int, status: str) -> None:
        self._attempt(lambda run: close_run(run, self._folder, facts, exit_code, self._record))
        self._service.live.discard(self)
        if self._run is not None:
            self._run, self._status, self._ended = None, status, True

    def _fail(self, error: Exception) -> None:
        run = self._run
        self.lose(why(error))
        if run is not None:
            self._service.end(lambda: _abandon(run))

    def lose(self, reason: str) -> None:
        """Turn the mirror off, unless it has ended; only the first reason is kept."""
        if not self._ended:
            self._run, self._status, self._ended = None, f"lost: {reason}", True
            self._service.live.discard(self)
            self._service.say(
                f"mirror off, training goes on: {reason}; the local rows are complete, upload them"
                f" with prism wandb-push {self._folder.parent.parent}"
            )


def _untimed(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without its times: the part that a resumed run computes again identically."""
    return {key: value for key, value in row.items() if not key.startswith("time/")}


def _abandon(run: Any) -> None:
    """Finish a run as failed; errors are ignored."""
    with suppress(Exception):
        run.finish(exit_code=1)


def open_run(
    record: RunRecord,
    folder: Path,
    tracking: Mapping[str, Any],
    mode: StartMode,
    **changes: Any,
) -> Any:
    """Start or continue the W&B run of a run folder.

    Args:
        record: the contents of ``run.json``.
        folder: where ``wandb/`` is created.
        tracking: project, entity, tags, notes and job type.
        mode: online or offline.
        changes: ``wandb.Settings`` fields that replace the mirror's own.
    """
    import wandb

    quiet_setup()
    record, tracking = clean(record), clean(tracking)
    label, study = record["variant"]["label"], record["study"]
    run = wandb.init(
        project=tracking["project"],
        entity=tracking["entity"],
        id=wandb_id(record),
        name=f"{label} {record['env']} seed {record['seed']}",
        group=group(record),
        job_type=tracking["job_type"],
        notes=tracking["notes"],
        tags=sorted(
            {tag[:64] for tag in (study, record["algo"], record["env"], *tracking["tags"])}
        ),
        config=_config(record),
        allow_val_change=True,
        dir=str(folder),
        mode=mode,
        reinit="create_new",
        resume="allow" if mode == "online" else None,
        settings=settings(**changes),
    )
    run.define_metric(STEP)
    run.define_metric("*", step_metric=STEP)
    return run


def close_run(
    run: Any,
    folder: Path,
    facts: Mapping[str, Any],
    exit_code: int,
    record: RunRecord,
) -> None:
    """Finish a W&B run: send missing files, update the summary, set the exit code.

    Args:
        run: the open W&B run.
        folder: the run folder.
        facts: entries for the summary, among them the hashes of ``attached``.
        exit_code: 0 for a finished run.
        record: the contents of ``run.json``.
    """
    files = {key: value for key, value in facts.items() if key in KEYS}
    if files:  # do not read the summary needlessly: that waits for all earlier rows
        remote = run.summary
        send(run, folder, {k: v for k, v in files.items() if remote.get(k) != v}, record)
    run.summary.update(facts)
    run.finish(exit_code=exit_code)


def settings(**changes: Any) -> Any:
    """Return the mirror's ``wandb.Settings`` with ``changes``; skip fields this version lacks."""
    import wandb

    fields = wandb.Settings.model_fields  # fields with the prefix x_ differ between versions
    return wandb.Settings(**{k: v for k, v in (_SETTINGS | changes).items() if k in fields})


def group(record: RunRecord) -> str:
    """Return the W&B group of a run, which all seeds of its cell share."""
    return f"{record['study']}/{record['env']}/{record['variant']['label']}"[:128]


def summary(state: str, reason: str | None, rows: int) -> dict[str, Any]:
    """Return a run's entries for the W&B summary: its state, the reason, and its count of rows."""
    return {"state": state, "reason": clean_text(reason or ""), "rows": rows}


class Held(NamedTuple):
    """What W&B has of a run: the last row logged at each step, and the summary."""

    rows: dict[int, dict[str, Any]]
    summary: dict[str, Any]


def held(path: str) -> Held | None:
    """Return what W&B has of the run ``[entity/]project/id``, None if there is no such run."""
    import wandb
    from wandb.errors import CommError

    try:
        run = wandb.Api(timeout=30).run(path)
    except CommError as error:
        if isinstance(error.exc, ValueError):  # the SDK's "could not find run"
            return None
        raise
    rows = {
        row[STEP]: {key: x for key, x in row.items() if not key.startswith("_")}
        for row in run.scan_history(page_size=10_000, use_cache=False)
        if STEP in row
    }
    return Held(rows, dict(run.summary))


def compact(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row without missing and non-finite values."""
    return {key: value for key, value in plain(row).items() if value is not None}


def wandb_id(record: RunRecord) -> str:
    """Return the W&B id of a run."""
    return safe_id(f"{record['study']}-{record['run_id']}-{record['code']}")


def safe_id(text: str) -> str:
    """Return ``text`` as a W&B run id: its last 128 characters, invalid ones replaced by "-"."""
    return re.sub(r"[^\w.-]", "-", text, flags=re.ASCII)[-128:]


def _config(record: RunRecord) -> dict[str, Any]:
    """Return the nested resolved config, for W&B's tables and filters, and ``record`` as JSON.

    Readers use the JSON record because the config does not survive the round trip: W&B drops empty
    dictionaries, and its client unwraps a top-level entry with the key "value", which DQN's config
    has.
    """
    return {**record["config"], "seed": record["seed"], "record": json.dumps(record)}
