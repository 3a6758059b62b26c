"""Leases: they record which process executes which runs, so that no run is executed twice.

A lease is a file that its owner's watchdog renews. For an owner on this machine, the system knows
whether its process is alive. An owner on another machine counts as alive while its beat changes,
timed by our own clock because clocks differ between machines. Who has just begun to look cannot
have seen it change: to him, an owner is dead whose lease is older than ``SILENCE`` by the clock of
the file system.

A suspended machine or a stalled network disk can wake an owner whose runs another has taken over.
Such an owner must change nothing any more. No clock tells it, as that may have stood still too, but
the mark in its lease does, which ``take`` draws anew:

- What it puts in place by name (statuses, weights, checkpoints, the copy of the rows) it writes
  inside ``held``: it looks at the mark and writes under the study's lock, which a new owner needs.
- Rows are appended without a lock. Each owner appends to a file of its own: it begins by replacing
  the row file with a copy (``rows.Rows``, inside ``held``). A late row of an old owner goes to the
  file that was replaced, which has no name. At the end a file must hold the rows of its writer.
- It looks at the mark before each row (``check``), and its watchdog does every two seconds.

What stays: an owner that sleeps inside ``held`` keeps the lock, and nobody takes its runs over
until it wakes or dies. A file server that takes the lock of a silent machine away can let one such
write through. A late row may still reach a tracker, and a late heartbeat a progress display.
"""

import math
import os
import secrets
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..util import atomic, squeue
from . import records
from .job import Job
from .schema import Lease

_QUEUE_PERIOD = 2.0  # seconds between two looks at a cluster's queue
TOKEN_VARIABLE = "PRISM_STOP_TOKEN"  # what stop_token was when a launch was submitted
EXPIRY = 60.0  # seconds without a beat after which an owner on another machine is dead
SILENCE = 3 * EXPIRY  # the same for who has just begun to look; file systems show some times late


class Lost(Exception):
    """Another process has taken over the runs of this one, which must not write into them."""


def path_of(job: Job) -> Path:
    """Return the file of a job's lease."""
    return Path(job.study_dir) / "leases" / f"{job.job_id}.json"


def of(study_dir: Path) -> list[Lease]:
    """Return every lease of a study, dead ones too."""
    contents = (records.read_passing(path) for path in (study_dir / "leases").glob("*.json"))
    return [lease for lease in contents if lease is not None]


class Watch:
    """Tells live owners from dead ones; remembers when each remote owner's beat last changed."""

    def __init__(self) -> None:
        self._queue: tuple[frozenset[str] | None, float] = (None, -math.inf)
        self._seen: dict[str, tuple[int, float]] = {}

    def alive(self, lease: Lease, study_dir: Path) -> bool:
        """Return whether the owner of a study's lease is still running."""
        if lease["engine"] is not None and self._waits(lease["engine"]):
            return True
        if lease["host"] == socket.gethostname():
            return born(lease["pid"]) == lease["born"]
        if not lease["runs"]:  # a launch has no beat; its jobs have
            return False
        beat, since = self._seen.get(lease["mark"], (-1, 0.0))
        if beat == -1 and _age(study_dir, lease) > SILENCE:
            return False
        if beat != lease["beat"]:
            self._seen[lease["mark"]] = lease["beat"], time.monotonic()
            return True
        return time.monotonic() - since < EXPIRY

    def _waits(self, name: str) -> bool:
        """Return whether a job is in the cluster's queue; True if squeue fails."""
        names, time_of_query = self._queue
        if time.monotonic() - time_of_query > _QUEUE_PERIOD:
            names = squeue.names()
            self._queue = names, time.monotonic()
        return names is None or name in names

    def take(self, job: Job) -> Job | None:
        """Lease a job's runs for this process; return it with its mark, or None if one is leased.

        A dead owner's lease is taken over.
        """
        with atomic.mutex(Path(job.study_dir)):
            for lease in of(Path(job.study_dir)):
                if set(lease["runs"]) & set(job.run_ids):
                    if self.alive(lease, Path(job.study_dir)):
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


@contextmanager
def held(job: Job) -> Iterator[None]:
    """Lock the study while its job's owner writes into the runs; not to be nested.

    A job without a mark has no lease: it is the only one in its folder.

    Raises:
        Lost: another process has taken the runs over.
    """
    if not job.mark:
        yield
        return
    with atomic.mutex(Path(job.study_dir)):
        if not _is_ours(job):
            raise Lost
        yield


def check(job: Job) -> None:
    """Look without a lock whether a job still has its lease.

    Raises:
        Lost: another process has taken the runs over.
    """
    with suppress(OSError):  # the next beat, or ``held``, will tell
        if job.mark and not _is_ours(job):
            raise Lost


def taken(job: Job) -> bool:
    """Return whether a lease of another owner covers any of a job's runs."""
    runs = set(job.run_ids)
    others = of(Path(job.study_dir))
    return any(runs & set(lease["runs"]) and lease["mark"] != job.mark for lease in others)


def adopt(job: Job) -> bool:
    """Make this process the owner of a job's lease; False if the job has lost the lease."""
    return _renew(job, **_owner(), engine=None)


def beat(job: Job) -> bool:
    """Renew a job's lease; False if the job has lost the lease."""
    return _renew(job)


def queued_as(job: Job, engine: str) -> bool:
    """Record a job's name in the cluster's queue."""
    return _renew(job, engine=engine)


def hold(study_dir: Path, pid: int) -> Path:
    """Record that a process launches a study's jobs, even while none runs; return the file.

    The files of finished launches are removed.
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
    with atomic.mutex(study_dir):
        records.write_json(path, lease)
    return path


def stop_token(study_dir: Path) -> str:
    """Return the token of the last stop request; running jobs stop when it changes."""
    try:
        return (study_dir / "stop").read_text()
    except OSError:
        return ""


def ask_to_stop(study_dir: Path) -> int:
    """Ask a study's jobs on every machine to save and stop; return how many are running."""
    atomic.write(study_dir / "stop", secrets.token_hex(8).encode())
    watch = Watch()
    return sum(watch.alive(lease, study_dir) for lease in of(study_dir) if lease["runs"])


def release(job: Job) -> None:
    """Release a job's lease, unless it has another mark by now."""
    with atomic.mutex(Path(job.study_dir)):
        lease: Lease | None = records.read_passing(path_of(job))
        if lease is not None and lease["mark"] == job.mark:
            path_of(job).unlink(missing_ok=True)


def _age(study_dir: Path, lease: Lease) -> float:
    """Return for how many seconds a lease has not been renewed, by the file system's clock."""
    clock = study_dir / ".mutex"
    with suppress(OSError):
        last = (study_dir / "leases" / f"{lease['job_id']}.json").stat().st_mtime
        try:
            os.utime(clock)
            return clock.stat().st_mtime - last
        except OSError:  # a folder that is only read
            return time.time() - last
    return 0.0


def _is_ours(job: Job) -> bool:
    lease: Lease | None = records.read_passing(path_of(job))
    return lease is not None and lease["mark"] == job.mark


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
    """Return the start time of a local process in the system's unit; "" if it has ended."""
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
