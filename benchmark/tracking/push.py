"""Updates W&B from the local rows.

Each run is compared with the server: a row is sent if W&B lacks it or has a different one at that
step, so a second push sends nothing. W&B only appends: if a step has several rows, the last one
counts, here and in ``analysis``.
"""

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store import digests, records
from ..store.rows import Row, timed_rows
from ..store.schema import FAILED, FINISHED, INTERRUPTED, STEP, RunRecord, Status
from ..util.errors import ConfigError
from ..util.files import check_inside
from .artifacts import attached
from .service import StartMode, logged_in, quiet_setup, service, teardown
from .study import make_report, push_study
from .wandb import NO_HURRY, UPLOADING, Held, close_run, compact, held, open_run, summary, wandb_id

PUSHED = "pushed"
_AT_THE_END = 60.0  # longest wait in seconds for the upload of a sweep's report
_ENDED = (FINISHED, FAILED, INTERRUPTED)
_DEFAULTS: dict[str, Any] = {  # for a run without a tracking.json
    **{"project": "prism", "entity": None, "job_type": "train", "tags": [], "notes": None}
}


@dataclass(frozen=True)
class Outcome:
    """The result of pushing one run.

    Attributes:
        run_id: the run.
        sent: rows sent by this push.
        rows: rows in the run folder.
        problem: why W&B is not complete; "" if it is.
    """

    run_id: str
    sent: int
    rows: int
    problem: str = ""


class Pace:
    """Limits the runs per minute, evenly spaced, because W&B limits the requests of a project."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap, self._clock, self._sleep = 60.0 / per_minute, clock, sleep
        self._next = clock()

    def wait(self) -> None:
        """Wait until the next run may be sent."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._gap


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Return the folders of all ended runs among studies and run folders.

    Raises:
        ConfigError: a path is neither, holds a link that leads out of it, or is a run folder whose
            run has not ended.
    """
    folders = []
    for path in paths:
        check_inside(path)
        if (path / "plan.json").is_file() or (path / "runs").is_dir():
            folders += [x for x in sorted((path / "runs").glob("*")) if _state(x) in _ENDED]
        elif not (path / "run.json").is_file():
            raise ConfigError(f"{path} is neither a study nor a run folder: it has no run.json")
        elif (state := _state(path)) not in _ENDED:
            raise ConfigError(f"{path} is {state}: only a run that has ended can be pushed")
        else:
            folders.append(path)
    return folders


def _state(folder: Path) -> str:
    status = records.read_status(folder)
    return status["state"] if status else "without a status"


def push(folders: Iterable[Path], where: Mapping[str, Any], pace: Pace) -> Iterator[Outcome]:
    """Update the W&B runs of run folders, one after another.

    Args:
        folders: folders of ended runs.
        where: ``project`` and ``entity``; None for those the run was tracked with.
        pace: the limit of runs per minute.

    Yields:
        The outcome of each run.

    Raises:
        ConfigError: not logged in to W&B.
    """
    if not logged_in():
        raise ConfigError("not logged in to W&B: set WANDB_API_KEY or run `wandb login`")
    for folder in folders:
        try:
            outcome = _push_run(folder, where, pace)
        except Exception as error:  # continue with the other runs
            outcome = Outcome(folder.name, 0, len(timed_rows(folder)), line(error))
            teardown()  # a failed start keeps the id "in use"
        status = records.read_status(folder)
        if not outcome.problem and status is not None:
            status["trackers"]["wandb"] = PUSHED
            records.write_json(folder / "status.json", status)
        yield outcome
    teardown()


def push_studies(paths: Iterable[Path], where: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Send the plan and report of each study among ``paths``; yield it with an error or ""."""
    for path in paths:
        if (path / "plan.json").is_file():
            yield path, _push_study(path, where, "online")
            teardown()


def mirror_study(study_dir: Path) -> None:
    """Write the report of a study whose sweep has ended, and create the study's own W&B run.

    The W&B run is online if any of the study's runs is, else offline. Does nothing if no run was
    mirrored to W&B. Never raises, and waits at most 60 s for the upload.
    """
    statuses = [records.read_status(path) for path in study_dir.glob("runs/*")]
    mirrored = {status["trackers"].get("wandb") for status in statuses if status}
    mode: StartMode = "online" if mirrored & {"online", UPLOADING, PUSHED} else "offline"
    if mode == "offline" and mode not in mirrored:
        return
    shared, problems = service(os.getpid()), [make_report(study_dir)]
    shared.call(lambda: problems.append(_push_study(study_dir, {}, mode)))
    problems.append(shared.wait(_AT_THE_END) or "")
    teardown()
    errors = "; ".join(filter(None, problems))
    if errors:
        retry = f"send it with prism wandb-push {study_dir}"
        shared.say(f"the study's own run is not complete: {errors}; {retry}")
    else:
        print(f"W&B      {mode}: the study's plan and report")


def _push_study(study_dir: Path, where: Mapping[str, Any], mode: StartMode) -> str:
    """Send the study's own W&B run; return an error message, "" if it succeeded."""
    try:
        push_study(study_dir, tracking_of(study_dir, where), mode)
    except Exception as error:  # continue with the other studies
        return line(error)
    return ""


def tracking_of(study_dir: Path, where: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tracking settings of a study's runs; ``where`` overrides them, except its None."""
    files = sorted(study_dir.glob("runs/*/tracking.json"))
    return _tracking(files[0].parent if files else study_dir, where)


def _tracking(folder: Path, where: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tracking settings of a run; ``where`` overrides them, except its None."""
    overrides = {key: value for key, value in where.items() if value is not None}
    return _DEFAULTS | (records.read_json(folder / "tracking.json") or {}) | overrides


def line(error: Exception) -> str:
    """Return an error as one line of at most 300 characters."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _push_run(folder: Path, where: Mapping[str, Any], pace: Pace) -> Outcome:
    record: RunRecord = records.read_json(folder / "run.json")
    status: Status = records.read_json(folder / "status.json")
    if status["state"] == FINISHED and (why := digests.fault(folder, status)):
        raise ConfigError(f"{why}; {digests.REMEDY}")
    tracking = _tracking(folder, where)
    rows = [compact(row) for row in timed_rows(folder)]
    facts = summary(status["state"], status["reason"], len(rows))
    if status["state"] == FINISHED:
        facts |= attached(folder, tracking)
    pace.wait()
    quiet_setup()
    path = "/".join(filter(None, [tracking["entity"], tracking["project"], wandb_id(record)]))
    before = held(path)
    missing = _lacking(before, rows)
    if before and not missing and facts.items() <= before.summary.items():
        return Outcome(folder.name, 0, len(rows), _surplus(before, rows))
    run = open_run(record, folder, tracking, "online", **NO_HURRY)
    for row in missing:
        run.log(row)
    close_run(run, folder, facts, status["exit_code"] or 0, record)
    after = held(run.path)
    lost = _lacking(after, rows)
    problem = f"{len(lost)} of {len(rows)} rows have not arrived" if lost else _surplus(after, rows)
    return Outcome(folder.name, len(missing), len(rows), problem)


def _lacking(remote: Held | None, rows: list[Row]) -> list[Row]:
    """Return the rows that W&B lacks or has in a different version."""
    return [row for row in rows if not remote or remote.rows.get(row[STEP]) != row]


def _surplus(remote: Held | None, rows: list[Row]) -> str:
    """Describe rows that only W&B has: another attempt logged them at other steps."""
    extra = set(remote.rows if remote else ()) - {row[STEP] for row in rows}
    return f"W&B has {len(extra)} rows at steps that the run does not have" if extra else ""
