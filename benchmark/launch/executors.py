"""Executors: how a job gets a process. One protocol, so that every executor has the same ledger."""

import os
import signal
import traceback
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import connection, forkserver, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import NamedTuple, Protocol

from benchmark.job import Job
from benchmark.launch import worker
from benchmark.store import job_dir


class Exit(NamedTuple):
    """A job whose process is over; what it left unfinished has failed."""

    job: Job
    code: int  # as the shell would report it; a negative number is a signal
    error: str  # what it said at last


class Executor(Protocol):
    """Runs jobs; knows nothing of plans and states."""

    slots: int  # jobs at once
    running: dict[str, Job]  # by job_id

    def start(self, job: Job) -> None:
        """Begin a job; a free slot is the caller's concern."""

    def poll(self, seconds: float) -> list[Exit]:
        """Wait up to ``seconds`` for jobs to end and return those that did."""

    def stop(self) -> None:
        """Ask every job to save its state and leave; no job is asked twice."""

    def kill(self) -> None:
        """End every job now."""


class Inline:
    """Runs each job in this process, to its end, as soon as it starts: for a debugger."""

    slots = 1

    def __init__(self, run: worker.Run) -> None:
        self.run = run
        self.running: dict[str, Job] = {}
        self.exits: list[Exit] = []

    def start(self, job: Job) -> None:
        """Run a job; whatever it raises ends this job only."""
        self.running[job.job_id] = job
        code, error = 0, ""
        try:
            worker.limit_threads(job.config["threads"])
            self.run(job)
        except SystemExit as exit:
            code, error = exit.code if isinstance(exit.code, int) else 1, f"SystemExit: {exit.code}"
        except KeyboardInterrupt:
            code, error = -signal.SIGINT, "KeyboardInterrupt"
        except Exception:
            code, error = 1, traceback.format_exc()
        self.exits.append(Exit(self.running.pop(job.job_id), code, error))

    def poll(self, seconds: float) -> list[Exit]:
        """Return the jobs that ended."""
        exits, self.exits = self.exits, []
        return exits

    def stop(self) -> None:
        """The job itself has received the signal."""

    def kill(self) -> None:
        """The job itself has received the second signal."""


class Local:
    """Runs each job in a process of its own, forked from a server that has the imports done.

    Args:
        run: the job's function, importable by name.
        preload: modules that the server imports once for all jobs.
        threads: threads per job, for the libraries that read it when they are imported.
        n_jobs: jobs at once; None = the cores that this process may use.
    """

    def __init__(
        self, run: worker.Run, preload: Iterable[str], threads: int = 1, n_jobs: int | None = None
    ) -> None:
        self.run = run
        self.slots = n_jobs or max(1, _cores() // threads)
        self.running: dict[str, Job] = {}
        self.processes: dict[str, BaseProcess] = {}
        self.asked: set[str] = set()  # jobs that were asked to stop
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(list(preload))
        os.environ.update(dict.fromkeys(worker.THREAD_VARIABLES, str(threads)))
        # The server inherits this: a Ctrl-C while it imports would otherwise be its end.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, handler)

    def start(self, job: Job) -> None:
        """Fork a process for a job; its output goes to ``jobs/<job_id>/log.txt``."""
        log = job_dir(job) / "log.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self.context.Process(target=worker.work, args=(self.run, job, log), daemon=False)
        process.start()
        self.running[job.job_id], self.processes[job.job_id] = job, process

    def poll(self, seconds: float) -> list[Exit]:
        """Wait for processes to end."""
        if not self.processes:
            return []
        connection.wait([p.sentinel for p in self.processes.values()], seconds)
        exits = []
        for job_id, process in list(self.processes.items()):
            if process.exitcode is None:
                continue
            process.join()
            del self.processes[job_id]
            job = self.running.pop(job_id)
            exits.append(Exit(job, process.exitcode, tail(job_dir(job) / "log.txt")))
        return exits

    def stop(self) -> None:
        """Send SIGTERM to every job; the runner then writes a checkpoint."""
        for job_id, process in self.processes.items():
            if job_id not in self.asked:
                self.asked.add(job_id)
                _send(process, signal.SIGTERM)

    def kill(self) -> None:
        """Send SIGKILL to every job and what it started."""
        for process in self.processes.values():
            _send(process, signal.SIGKILL)


def _send(process: BaseProcess, number: int) -> None:
    assert process.pid is not None
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)
    if number == signal.SIGKILL:
        with suppress(ProcessLookupError):  # it may not have made a group of its own yet
            os.killpg(process.pid, number)


def tail(path: Path, size: int = 4000) -> str:
    """Return the end of a text file, or "" if there is none."""
    with suppress(FileNotFoundError), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")
    return ""


def _cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
