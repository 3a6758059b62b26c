"""The local executor: a process per job, forked from a server that has the imports done."""

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress
from multiprocessing import connection, forkserver, get_context
from multiprocessing.process import BaseProcess

from ..plan.executors import LocalOptions, Options
from ..store.job import Job
from ..store.records import job_dir
from . import worker
from .executor import Exit, tail


class Local:
    """Runs each job in a process of its own.

    Args:
        run: the job's function, importable by name.
        preload: modules that the server imports once for all jobs.
        threads: threads per job, for the libraries that read it when they are imported.
        options: what it is told.
    """

    def __init__(
        self,
        run: worker.Run,
        preload: Iterable[str],
        threads: int,
        options: LocalOptions,
    ) -> None:
        self.run, self.slots = run, slots(options, threads)
        self.devices = [str(device) for device in options.devices]
        self.running: dict[str, Job] = {}
        self.processes: dict[str, BaseProcess] = {}
        self.device_of: dict[str, str] = {}  # job_id -> its GPU, where they are shared out
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
        if self.devices:
            busy = list(self.device_of.values())
            self.device_of[job.job_id] = min(self.devices, key=busy.count)
        log = job_dir(job) / "log.txt"
        log.parent.mkdir(parents=True, exist_ok=True)
        process = self.context.Process(
            target=worker.work,
            args=(self.run, job, log, self.device_of.get(job.job_id)),
            daemon=False,
        )
        self.asked.discard(job.job_id)
        process.start()
        self.running[job.job_id], self.processes[job.job_id] = job, process

    def poll(self, seconds: float) -> list[Exit]:
        """Wait for processes to end."""
        if not self.processes:
            time.sleep(seconds)
            return []
        connection.wait([p.sentinel for p in self.processes.values()], seconds)
        exits = []
        for job_id, process in list(self.processes.items()):
            if process.exitcode is None:
                continue
            process.join()
            del self.processes[job_id]
            self.device_of.pop(job_id, None)
            job = self.running.pop(job_id)
            exits.append(Exit(job, process.exitcode, tail(job_dir(job) / "log.txt")))
        return exits

    def stop(self) -> None:
        """Send SIGTERM to every job; the runner then writes a checkpoint."""
        for job_id, process in self.processes.items():
            if job_id not in self.asked:
                self.asked.add(job_id)
                _send(process, signal.SIGTERM)

    def kill(self, job_id: str) -> None:
        """Send SIGKILL to a job and what it started."""
        _send(self.processes[job_id], signal.SIGKILL)

    def close(self) -> None:
        """The server ends with this process, or serves the next executor."""


def _send(process: BaseProcess, number: int) -> None:
    assert process.pid is not None
    if number == signal.SIGKILL:
        with suppress(ProcessLookupError):  # it may not have made a group of its own yet
            os.killpg(process.pid, number)
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def slots(options: Options, threads: int) -> int:
    """Return how many jobs run at once: on this machine, no more than have a place on a device."""
    if not isinstance(options, LocalOptions):
        return getattr(options, "n_jobs", 1) or max(1, cores() // threads)
    places = len(options.devices) * options.jobs_per_device
    wanted = options.n_jobs or places or max(1, cores() // threads)
    return min(wanted, places) if places else wanted


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
