"""The Weights & Biases mirror of a run: a copy of the local rows that can fail without harm.

One thread per process talks to W&B, so that neither a slow start, an unreachable server nor a dead
service is ever in training's way; ``finish`` waits for it, up to a limit. A mirror that fails turns
itself off, says so in one line and keeps the reason in ``status``; ``push`` replays the local rows
later.

Several runs live in one process at a time, each with an explicit id (``reinit="create_new"``), and
rows go to their own run, never through ``wandb.log``: W&B's notion of a current run is how the
rows of one job end up in another.
"""

import json
import os
import re
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

from benchmark.errors import ConfigError
from benchmark.schema import PLANNED, RUNNING, STEP, RunRecord, Status
from benchmark.tracking.files import plain, read_rows

Mode = Literal["auto", "online", "offline", "disabled"]
StartMode = Literal["online", "offline"]
MODES: tuple[Mode, ...] = ("auto", "online", "offline", "disabled")

_INIT_TIMEOUT = 15.0  # seconds; W&B's own default of 90 would hold back every row behind it
_FINISH_TIMEOUT = 30.0  # seconds that W&B may upload at the end of a run
_WAIT = 60.0  # seconds after which the service is taken for stuck
_ENV_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}
_SETTINGS: dict[str, Any] = {  # what a mirror needs no more than the start-up time it costs
    "silent": True,
    "console": "off",
    "disable_git": True,
    "disable_code": True,
    "save_code": False,
    "init_timeout": _INIT_TIMEOUT,
    "finish_timeout": _FINISH_TIMEOUT,
    "x_disable_stats": True,
    "x_disable_meta": True,
    "x_disable_machine_info": True,
    "x_save_requirements": False,
    "x_transaction_log_flush_interval": 1.0,  # a killed process loses one second, not fifteen
}


class _Service:
    """The process's one thread that calls W&B, and what it has learned about W&B."""

    def __init__(self) -> None:
        self.default: Mode | None = None  # what "auto" means, once known
        self.unreachable = False  # an online start failed: go on offline
        self.live: set[WandbMirror] = set()
        self.stuck = False
        self._said: set[str] = set()
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        threading.Thread(target=self._work, name="wandb-mirror", daemon=True).start()

    def resolve(self, wanted: Mode) -> StartMode:
        """Settle "auto", and "online" where it has failed before."""
        import wandb

        if wanted == "auto" and self.default is None:
            wandb.setup(wandb.Settings(silent=True))
            self.default = "online" if wandb.login(prompt=False, verify=False) else "offline"
        mode = self.default if wanted == "auto" else wanted
        return "online" if mode == "online" and not self.unreachable else "offline"

    def call(self, function: Callable[[], None]) -> None:
        """Queue a call."""
        self._calls.put(function)

    def wait(self) -> bool:
        """Wait until all that was queued is done; return False if the service is stuck."""
        if not self.stuck:
            done = threading.Event()
            self._calls.put(done.set)
            self.stuck = not done.wait(_WAIT)
        return not self.stuck

    def say(self, what: str) -> None:
        """Print a line, once per process."""
        if what not in self._said:
            self._said.add(what)
            print(f"W&B: {what}", file=sys.stderr, flush=True)

    def _work(self) -> None:
        while True:
            self._calls.get()()


@cache
def _service(pid: int) -> _Service:
    """Return the service of process ``pid``: a forked child needs a thread of its own."""
    return _Service()


class WandbMirror:
    """One W&B run: one seed of one variant on one environment.

    Nothing here raises or blocks, except that ``finish`` waits up to a minute.

    Args:
        record: the run's ``run.json``.
        folder: its run folder; W&B's files go to ``wandb/`` in it.
        mode: "auto" means ``WANDB_MODE``, else online if logged in, else offline.
        project: W&B project. entity: W&B user or team; None is the account's default.
    """

    def __init__(
        self,
        record: RunRecord,
        folder: Path,
        mode: Mode = "auto",
        project: str = "prism",
        entity: str | None = None,
    ) -> None:
        self._record, self._folder = record, Path(folder).absolute()
        self._project, self._entity = project, entity
        self._run: Any = None
        if mode == "auto":
            mode = _ENV_MODES.get(os.environ.get("WANDB_MODE", ""), "auto")
        self._wanted, self._status = mode, "disabled" if mode == "disabled" else "starting"
        if mode != "disabled":
            os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
            self._service = _service(os.getpid())
            self._service.call(self._start)

    @property
    def status(self) -> str:
        """Return "starting", "online", "offline", "disabled" or "lost: <reason>"."""
        return self._status

    def log(self, row: dict[str, Any]) -> None:
        """Queue one row; missing and non-finite values are left out."""
        if self._status != "disabled":
            present = {key: value for key, value in plain(row).items() if value is not None}
            self._service.call(lambda: self._attempt(lambda run: run.log(present)))

    def finish(self, state: str, exit_code: int) -> None:
        """Queue the end of the run and wait for it. ``state`` is the one of ``status.json``."""
        if self._status == "disabled":
            return
        self._service.call(lambda: self._end(state, exit_code))
        if not self._service.wait():
            self._lose("the service does not answer")

    def _start(self) -> None:
        mode = self._wanted
        try:
            mode = self._service.resolve(mode)
            self._open(mode)
        except Exception as error:
            if self._service.live:  # a new service would end their runs
                self._fail(error)
            else:
                self._restart(mode, error)

    def _restart(self, mode: Mode, error: Exception) -> None:
        """Try again offline on a new service: the old one is dead or holds the id as "in use"."""
        _teardown()
        try:
            self._open("offline")
        except Exception as second:
            self._fail(second)
        else:
            if mode != "offline":
                self._service.unreachable = True
                self._service.say(f"no online start, recording offline: {_line(error)}")

    def _open(self, mode: StartMode) -> None:
        import wandb

        record = self._record
        known = wandb.Settings.model_fields  # settings with x_ come and go between versions
        label, study = record["variant"]["label"], record["study"]
        run = wandb.init(
            project=self._project,
            entity=self._entity,
            id=safe_id(f"{study}-{record['run_id']}"),
            name=f"{label} {record['env']} seed {record['seed']}",
            group=f"{study}/{record['env']}/{label}"[:128],
            job_type="train",
            tags=sorted({tag[:64] for tag in (study, record["algo"], record["env"])}),
            config=_config(record),
            dir=str(self._folder),
            mode=mode,
            reinit="create_new",
            resume="allow" if mode == "online" else None,
            settings=wandb.Settings(**{k: v for k, v in _SETTINGS.items() if k in known}),
        )
        self._run, self._status = run, mode
        self._service.live.add(self)
        if not Path(run.dir).is_relative_to(self._folder):  # W&B's way with an unwritable folder
            raise OSError(f"cannot write to {self._folder / 'wandb'}")
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)

    def _attempt(self, call: Callable[[Any], None]) -> None:
        if self._run is not None:
            try:
                call(self._run)
            except Exception as error:
                self._fail(error)

    def _end(self, state: str, exit_code: int) -> None:
        if self._run is not None:
            self._attempt(lambda run: run.summary.update({"state": state}))
            self._attempt(lambda run: run.finish(exit_code=exit_code))
        self._service.live.discard(self)
        self._run = None
        if not self._service.live:
            _teardown()

    def _fail(self, error: Exception) -> None:
        run, self._run = self._run, None
        self._service.live.discard(self)
        with suppress(Exception):  # as far as it can still be told
            run.finish(exit_code=1)
        self._lose(_line(error))

    def _lose(self, reason: str) -> None:
        self._status = f"lost: {reason}"
        self._service.say(
            f"mirror off, training goes on: {reason}; the local rows are complete, replay them with"
            " python -m benchmark wandb-push <run folder>"
        )


def push(
    run_dir: Path, mode: Mode = "auto", project: str = "prism", entity: str | None = None
) -> str:
    """Replay the local rows of a run that has ended into W&B; return the mirror's last status.

    W&B appends: readers of a run that was pushed twice keep the last row of each ``global_step``.

    Raises:
        ConfigError: ``run_dir`` is no run folder, or the run has not ended.
    """
    run_dir = Path(run_dir)
    try:
        record: RunRecord = json.loads((run_dir / "run.json").read_text())
        status: Status = json.loads((run_dir / "status.json").read_text())
        rows = read_rows(run_dir / "metrics.jsonl")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ConfigError(
            f"{run_dir} is not a run folder: it has no {Path(error.filename).name}"
        ) from None
    if status["state"] in (PLANNED, RUNNING):
        raise ConfigError(
            f"{run_dir} is {status['state']}: only a run that has ended can be pushed"
        )
    mirror = WandbMirror(record, run_dir, mode, project, entity)
    for row in rows:
        mirror.log(row)
    mirror.finish(status["state"], status["exit_code"] or 0)
    return mirror.status


def safe_id(text: str) -> str:
    """Return ``text`` as a W&B run id: its last 128 characters, odd ones replaced."""
    return re.sub(r"[^\w.-]", "-", text, flags=re.ASCII)[-128:]


def _teardown() -> None:
    """End W&B's service process and wait for it: only then is every finished run on the disk.

    ``run.finish`` returns before that, and a worker process that leaves without exit handlers, as
    those of ``multiprocessing`` do, would take the unwritten rows with it.
    """
    import wandb

    with suppress(Exception):  # raised by a dead service
        wandb.teardown()


def _line(error: Exception) -> str:
    words = f"{type(error).__name__}: {error}".strip(": ").split()
    return " ".join(words)[:200]


def _config(record: RunRecord) -> dict[str, Any]:
    """Return the resolved config, nested, with the rest of ``run.json`` under ``record``."""
    rest = {key: value for key, value in record.items() if key != "config"}
    return {**record["config"], "seed": record["seed"], "record": rest}
