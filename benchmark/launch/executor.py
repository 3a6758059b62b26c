"""Executors: how a job gets a process. One protocol, so that every executor has the same ledger."""

from typing import NamedTuple, Protocol

from ..store.job import Job


class Exit(NamedTuple):
    """A job whose process is over; what it left unfinished has failed."""

    job: Job
    code: int  # as the shell would report it; a negative number is a signal
    error: str  # what it said at last
    lost: bool = False  # its node or its place in the queue is gone, not the job's own doing


class Executor(Protocol):
    """Runs jobs; knows nothing of plans and states."""

    slots: int  # jobs at once, each counted by its cpus
    running: dict[str, Job]  # by job_id
    blocking: bool  # start() runs the job to its end, in this process

    def start(self, job: Job) -> None:
        """Begin a job; a free slot is the caller's concern."""

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to ``seconds`` for jobs to end and return those that did."""

    def stop(self) -> None:
        """Ask every job to save its state and leave; no job is asked twice."""

    def kill(self, job_id: str) -> None:
        """End one job now."""

    def close(self) -> None:
        """Give back what the executor holds, once no job runs."""
