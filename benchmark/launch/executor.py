"""The protocol of executors, which give each job a process."""

from typing import NamedTuple, Protocol

from ..store.job import Job


class Exit(NamedTuple):
    """A job whose process has ended; its unfinished runs have failed."""

    job: Job
    code: int  # exit code; -n if signal n killed the process
    error: str  # the end of its output
    lost: bool = False  # the node or the queue entry is gone; the job itself did not fail


class Executor(Protocol):
    """Runs jobs; independent of plans and run states."""

    slots: int  # concurrent jobs, each counted by its cpus
    running: dict[str, Job]  # by job_id
    blocking: bool  # start() runs the whole job in this process

    def start(self, job: Job) -> None:
        """Start a job. The caller checks that a slot is free."""

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to ``seconds`` for jobs to end and return those that did."""

    def stop(self) -> None:
        """Ask every job to save its state and exit; ask each only once."""

    def kill(self, job_id: str) -> None:
        """End one job now."""

    def close(self) -> None:
        """Release the executor's resources once no job runs."""
