"""Claims: which process runs which runs of a study, so that no two run one.

A claim is a file that its owner's pulse renews. Whether an owner lives is asked of the system where
it runs on this machine; of another machine's owner one sees only whether its beat goes on, counted
by one's own clock, since clocks of two machines differ.
"""

import math
import os
import secrets
import socket
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, TypedDict

from ..util import atomic, squeue
from . import records
from .job import Job

_QUEUE_PERIOD = 2.0  # seconds between two looks at a cluster's queue
TOKEN_VARIABLE = "PRISM_STOP_TOKEN"  # what stop_token was when a launch was submitted
LEASE = 60.0  # seconds without a beat after which an owner on another machine is dead


class Claim(TypedDict):
    """The content of ``claims/<job_id>.json``."""

    mark: str
    job_id: str  # or what tells a launch
    runs: list[str]  # none: of a launch
    host: str
    pid: int
    born: str  # when the process began: process ids are used again
    beat: int
    engine: str | None  # a job's name in a cluster's queue, until it starts


def path_of(job: Job) -> Path:
    """Return the file of a job's claim."""
    return Path(job.study_dir) / "claims" / f"{job.job_id}.json"


def of(study_dir: Path) -> list[Claim]:
    """Return every claim of a study, dead ones too."""
    found = (records.read_passing(path) for path in (study_dir / "claims").glob("*.json"))
    return [claim for claim in found if claim is not None]


class Watch:
    """Tells living owners from dead ones; remembers when a foreign one was last seen to move."""

    def __init__(self) -> None:
        self._queue: tuple[frozenset[str] | None, float] = (None, -math.inf)
        self._seen: dict[str, tuple[int, float]] = {}

    def alive(self, claim: Claim) -> bool:
        """Say whether a claim's owner still runs."""
        if claim["engine"] is not None and self._waits(claim["engine"]):
            return True
        if claim["host"] == socket.gethostname():
            return born(claim["pid"]) == claim["born"]
        if not claim["runs"]:  # a launch shows no beat; its jobs do
            return False
        beat, since = self._seen.get(claim["mark"], (-1, 0.0))
        if beat != claim["beat"]:
            self._seen[claim["mark"]] = claim["beat"], time.monotonic()
            return True
        return time.monotonic() - since < LEASE

    def _waits(self, name: str) -> bool:
        """Say whether a job is in the cluster's queue; it is if nobody can tell."""
        names, asked = self._queue
        if time.monotonic() - asked > _QUEUE_PERIOD:
            names = squeue.names()
            self._queue = names, time.monotonic()
        return names is None or name in names

    def take(self, job: Job) -> Job | None:
        """Claim a job's runs for this process; return the job with its mark, None if one is taken.

        A dead owner's claim is taken over.
        """
        with atomic.mutex(Path(job.study_dir)):
            for claim in of(Path(job.study_dir)):
                if set(claim["runs"]) & set(job.run_ids):
                    if self.alive(claim):
                        return None
                    path_of(replace(job, job_id=claim["job_id"])).unlink(missing_ok=True)
            claimed = replace(job, mark=secrets.token_hex(8))
            claim = Claim(
                mark=claimed.mark,
                job_id=job.job_id,
                runs=job.run_ids,
                beat=0,
                engine=None,
                **_owner(),  # type: ignore[typeddict-item]
            )
            records.write_json(path_of(job), claim)
        return claimed


def adopt(job: Job) -> bool:
    """Put this process into a job's claim; False if the claim is no longer the job's."""
    return _renew(job, **_owner(), engine=None)


def beat(job: Job) -> bool:
    """Show that the owner lives; False if the claim is no longer the job's."""
    return _renew(job)


def queued_as(job: Job, engine: str) -> bool:
    """Note what a job is called in a cluster's queue."""
    return _renew(job, engine=engine)


def hold(study_dir: Path, pid: int) -> Path:
    """Note that a process launches a study's jobs, also while none of them runs; return the file.

    Those of launches that are over are cleared away.
    """
    here = socket.gethostname()
    for claim in of(study_dir):
        if not claim["runs"] and claim["host"] == here and born(claim["pid"]) != claim["born"]:
            (study_dir / "claims" / f"{claim['job_id']}.json").unlink(missing_ok=True)
    name = f"launch-{pid}"
    claim = Claim(
        mark="", job_id=name, runs=[], host=here, pid=pid, born=born(pid), beat=0, engine=None
    )
    path = study_dir / "claims" / f"{name}.json"
    records.write_json(path, claim)
    return path


def stop_token(study_dir: Path) -> str:
    """Return what stands for the last request to stop a study: all that runs watches it change."""
    try:
        return (study_dir / "stop").read_text()
    except OSError:
        return ""


def ask_to_stop(study_dir: Path) -> int:
    """Ask all that runs in a study, on any machine, to save and stop; return how many jobs run."""
    atomic.write(study_dir / "stop", secrets.token_hex(8).encode())
    watch = Watch()
    return sum(watch.alive(claim) for claim in of(study_dir) if claim["runs"])


def release(job: Job) -> None:
    """Give a job's claim back; a claim of another mark is left alone."""
    with atomic.mutex(Path(job.study_dir)):
        claim: Claim | None = records.read_passing(path_of(job))
        if claim is not None and claim["mark"] == job.mark:
            path_of(job).unlink(missing_ok=True)


def _owner() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid())}


def _renew(job: Job, **changes: Any) -> bool:
    with atomic.mutex(Path(job.study_dir)):
        claim: Claim | None = records.read_passing(path_of(job))
        if claim is None or claim["mark"] != job.mark:
            return False
        records.write_json(path_of(job), {**claim, "beat": claim["beat"] + 1, **changes})
    return True


def born(pid: int) -> str:
    """Return when a process of this machine began, in the system's own unit; "" if it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if fields[0] in "ZX" else fields[19]
    except OSError:
        if Path("/proc/self/stat").exists():
            return ""
    try:  # a system without /proc
        os.kill(pid, 0)
    except OSError:
        return ""
    return "unknown"
