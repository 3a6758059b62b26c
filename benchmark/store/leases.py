"""Leases: they record which process executes which runs, so that no run is executed twice.

A lease is a file that its owner's watchdog renews. On this machine the system tells whether the
owner lives. An owner on another machine is alive while its beat changes. We time that with our
own clock, because clocks differ between machines.
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
EXPIRY = 60.0  # seconds without a beat after which an owner on another machine is dead


class Lease(TypedDict):
    """The content of ``leases/<job_id>.json``."""

    mark: str
    job_id: str  # or what tells a launch
    runs: list[str]  # empty for a launch
    host: str
    pid: int
    born: str  # when the process began: process ids are used again
    beat: int
    engine: str | None  # a job's name in a cluster's queue, until it starts


def path_of(job: Job) -> Path:
    """Return the file of a job's lease."""
    return Path(job.study_dir) / "leases" / f"{job.job_id}.json"


def of(study_dir: Path) -> list[Lease]:
    """Return every lease of a study, dead ones too."""
    contents = (records.read_passing(path) for path in (study_dir / "leases").glob("*.json"))
    return [lease for lease in contents if lease is not None]


class Watch:
    """Tells living owners from dead ones; remembers when a foreign one was last seen to move."""

    def __init__(self) -> None:
        self._queue: tuple[frozenset[str] | None, float] = (None, -math.inf)
        self._seen: dict[str, tuple[int, float]] = {}

    def alive(self, lease: Lease) -> bool:
        """Say whether a lease's owner still runs."""
        if lease["engine"] is not None and self._waits(lease["engine"]):
            return True
        if lease["host"] == socket.gethostname():
            return born(lease["pid"]) == lease["born"]
        if not lease["runs"]:  # a launch shows no beat; its jobs do
            return False
        beat, since = self._seen.get(lease["mark"], (-1, 0.0))
        if beat != lease["beat"]:
            self._seen[lease["mark"]] = lease["beat"], time.monotonic()
            return True
        return time.monotonic() - since < EXPIRY

    def _waits(self, name: str) -> bool:
        """Say whether a job is in the cluster's queue; it is if nobody can tell."""
        names, time_of_query = self._queue
        if time.monotonic() - time_of_query > _QUEUE_PERIOD:
            names = squeue.names()
            self._queue = names, time.monotonic()
        return names is None or name in names

    def take(self, job: Job) -> Job | None:
        """Lease a job's runs for this process; return the job with its mark, None if one is taken.

        A dead owner's lease is taken over.
        """
        with atomic.mutex(Path(job.study_dir)):
            for lease in of(Path(job.study_dir)):
                if set(lease["runs"]) & set(job.run_ids):
                    if self.alive(lease):
                        return None
                    path_of(replace(job, job_id=lease["job_id"])).unlink(missing_ok=True)
            leased = replace(job, mark=secrets.token_hex(8))
            lease = Lease(
                mark=leased.mark,
                job_id=job.job_id,
                runs=job.run_ids,
                beat=0,
                engine=None,
                **_owner(),  # type: ignore[typeddict-item]
            )
            records.write_json(path_of(job), lease)
        return leased


def adopt(job: Job) -> bool:
    """Put this process into a job's lease; False if the lease is no longer the job's."""
    return _renew(job, **_owner(), engine=None)


def beat(job: Job) -> bool:
    """Show that the owner lives; False if the lease is no longer the job's."""
    return _renew(job)


def queued_as(job: Job, engine: str) -> bool:
    """Note what a job is called in a cluster's queue."""
    return _renew(job, engine=engine)


def hold(study_dir: Path, pid: int) -> Path:
    """Note that a process launches a study's jobs, also while none of them runs; return the file.

    Those of launches that are over are cleared away.
    """
    here = socket.gethostname()
    for lease in of(study_dir):
        if not lease["runs"] and lease["host"] == here and born(lease["pid"]) != lease["born"]:
            (study_dir / "leases" / f"{lease['job_id']}.json").unlink(missing_ok=True)
    name = f"launch-{pid}"
    lease = Lease(
        mark="", job_id=name, runs=[], host=here, pid=pid, born=born(pid), beat=0, engine=None
    )
    path = study_dir / "leases" / f"{name}.json"
    records.write_json(path, lease)
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
    return sum(watch.alive(lease) for lease in of(study_dir) if lease["runs"])


def release(job: Job) -> None:
    """Give a job's lease back; a lease of another mark is left alone."""
    with atomic.mutex(Path(job.study_dir)):
        lease: Lease | None = records.read_passing(path_of(job))
        if lease is not None and lease["mark"] == job.mark:
            path_of(job).unlink(missing_ok=True)


def _owner() -> dict[str, Any]:
    return {"host": socket.gethostname(), "pid": os.getpid(), "born": born(os.getpid())}


def _renew(job: Job, **changes: Any) -> bool:
    with atomic.mutex(Path(job.study_dir)):
        lease: Lease | None = records.read_passing(path_of(job))
        if lease is None or lease["mark"] != job.mark:
            return False
        records.write_json(path_of(job), {**lease, "beat": lease["beat"] + 1, **changes})
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
