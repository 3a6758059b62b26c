"""Brings W&B up to date with the local rows, however little of them it has.

Every run is compared with what the server holds: a row is sent if W&B lacks it or has another one
at that step, so a second push sends nothing. W&B only appends: of a row that was sent twice, the
last one counts, here and in ``analysis``.
"""

import json
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store import records
from ..store.rows import Row, timed_rows
from ..store.schema import FAILED, FINISHED, INTERRUPTED, STEP, RunRecord, Status
from ..util.errors import ConfigError
from .artifacts import attached
from .service import StartMode, logged_in, quiet_setup, service, teardown
from .study import make_report, push_study
from .wandb import NO_HURRY, UPLOADING, Held, close_run, compact, held, open_run, summary, wandb_id

PUSHED = "pushed"
_AT_THE_END = 60.0  # seconds that a sweep waits at most for the upload of its report
_ENDED = (FINISHED, FAILED, INTERRUPTED)
_DEFAULTS: dict[str, Any] = {  # of a run that does not say how it was tracked
    **{"project": "prism", "entity": None, "job_type": "train", "tags": [], "notes": None}
}


@dataclass(frozen=True)
class Outcome:
    """What became of one run; ``problem`` is empty where W&B has all of it now."""

    run_id: str
    sent: int
    rows: int
    problem: str = ""


class Pace:
    """At most so many runs a minute, evenly spaced: W&B limits the requests of a project."""

    def __init__(
        self,
        per_minute: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._gap, self._clock, self._sleep = 60.0 / per_minute, clock, sleep
        self._next = clock()

    def wait(self) -> None:
        """Wait for one's turn."""
        now = self._clock()
        if now < self._next:
            self._sleep(self._next - now)
        self._next = max(now, self._next) + self._gap


def run_folders(paths: Iterable[Path]) -> list[Path]:
    """Return the folders of the runs that have ended, of run folders and of whole studies.

    Raises:
        ConfigError: a path is neither, or names a single run that has not ended.
    """
    found = []
    for path in paths:
        if (path / "plan.json").is_file() or (path / "runs").is_dir():
            found += [x for x in sorted((path / "runs").glob("*")) if _state(x) in _ENDED]
        elif not (path / "run.json").is_file():
            raise ConfigError(f"{path} is neither a study nor a run folder: it has no run.json")
        elif (state := _state(path)) not in _ENDED:
            raise ConfigError(f"{path} is {state}: only a run that has ended can be pushed")
        else:
            found.append(path)
    return found


def _state(folder: Path) -> str:
    status = records.read_status(folder)
    return status["state"] if status else "without a status"


def push(folders: Iterable[Path], where: Mapping[str, Any], pace: Pace) -> Iterator[Outcome]:
    """Bring the W&B runs of run folders up to date, one after the other.

    Args:
        folders: of runs that have ended.
        where: ``project`` and ``entity``, if not those the run was tracked with.
        pace: how fast.

    Raises:
        ConfigError: nobody is logged in.
    """
    if not logged_in():
        raise ConfigError("not logged in to W&B: set WANDB_API_KEY or run `wandb login`")
    for folder in folders:
        try:
            outcome = _push_run(folder, where, pace)
        except Exception as error:  # the other runs are not to suffer
            outcome = Outcome(folder.name, 0, len(timed_rows(folder)), line(error))
            teardown()  # a failed start leaves the id "in use"
        if not outcome.problem:
            status = records.read_json(folder / "status.json")
            status["trackers"]["wandb"] = PUSHED
            records.write_json(folder / "status.json", status)
        yield outcome
    teardown()


def push_studies(paths: Iterable[Path], where: Mapping[str, Any]) -> Iterator[tuple[Path, str]]:
    """Send plan and report of the studies among ``paths``; yield each and what went wrong."""
    for path in paths:
        if (path / "plan.json").is_file():
            yield path, _push_study(path, where, "online")
            teardown()


def mirror_study(study_dir: Path) -> None:
    """Report a study whose sweep has ended, and give it a W&B run as its runs have theirs.

    Online where runs of it are, else offline, and none where they have none. Never raises, and
    never takes longer than a minute beside the report.
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
    wrong = "; ".join(filter(None, problems))
    again = f"prism wandb-push {study_dir}"
    if wrong:
        shared.say(f"the run of the study itself is not complete: {wrong}; {again} sends it")
    else:
        print(f"W&B      {mode}: plan and report of the study, beside its runs")


def _push_study(study_dir: Path, where: Mapping[str, Any], mode: StartMode) -> str:
    """Send what a study has of its own; return what went wrong."""
    try:
        push_study(study_dir, tracking_of(study_dir, where), mode)
    except Exception as error:  # as of a run
        return line(error)
    return ""


def tracking_of(study_dir: Path, where: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a study's runs were tracked, with what ``where`` says in its place."""
    known = sorted(study_dir.glob("runs/*/tracking.json"))
    return _tracking(known[0].parent if known else study_dir, where)


def _tracking(folder: Path, where: Mapping[str, Any]) -> dict[str, Any]:
    """Return how a run was tracked, with what ``where`` says in its place."""
    given = {key: value for key, value in where.items() if value is not None}
    return _DEFAULTS | (records.read_json(folder / "tracking.json") or {}) | given


def line(error: Exception) -> str:
    """Return an error as one line."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _push_run(folder: Path, where: Mapping[str, Any], pace: Pace) -> Outcome:
    record: RunRecord = json.loads((folder / "run.json").read_text())
    status: Status = json.loads((folder / "status.json").read_text())
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
    left = _lacking(after, rows)
    problem = f"{len(left)} of {len(rows)} rows have not arrived" if left else _surplus(after, rows)
    return Outcome(folder.name, len(missing), len(rows), problem)


def _lacking(there: Held | None, rows: list[Row]) -> list[Row]:
    """Return the rows that W&B lacks, or of which it has another version."""
    return [row for row in rows if not there or there.rows.get(row[STEP]) != row]


def _surplus(there: Held | None, rows: list[Row]) -> str:
    """Name what W&B has and the run has not: rows of another attempt that ran at other steps."""
    extra = set(there.rows if there else ()) - {row[STEP] for row in rows}
    return f"W&B holds {len(extra)} rows at steps that the run has not" if extra else ""
