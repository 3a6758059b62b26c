"""The local executor: a process per job, forked from a server that has imported everything."""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, get_context
from multiprocessing.process import BaseProcess
from types import ModuleType

from ..plan.executors import LocalOptions
from ..store.agents import agent_path
from ..store.job import Job
from ..store.records import job_dir
from ..util.errors import ConfigError
from ..util.text import tail
from . import worker
from .executor import Exit


class Local:
    """Runs each job in a process of its own.

    Args:
        run: the job's function, importable by name.
        jobs: all jobs that may be started; the server imports their modules once.
        options: the executor's options.

    Raises:
        ConfigError: a job names a GPU by number although ``options.devices`` assigns GPUs.
    """

    blocking = False

    def __init__(self, run: worker.Run, jobs: list[Job], options: LocalOptions) -> None:
        single = {d for job in jobs if (d := job.spec.device).startswith("cuda:")}
        if options.devices and single:
            raise ConfigError(
                f"device={min(single)}: hydra.launcher.devices shares out GPUs; say device=cuda"
            )
        threads = max((job.spec.threads for job in jobs), default=1)
        self.run, self.slots = run, options.slots(threads, cores())
        self.devices = [str(device) for device in options.devices]
        self.running: dict[str, Job] = {}
        self.processes: dict[str, BaseProcess] = {}
        self.device_of: dict[str, str] = {}  # job_id -> its GPU, if devices assigns them
        self.asked: set[str] = set()  # jobs that were asked to stop
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(_imports(run, jobs))
        os.environ.update(dict.fromkeys(worker.THREAD_VARIABLES, str(threads)))
        # The server inherits this: a Ctrl-C during its imports would otherwise kill it.
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
        with _without_main():
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
        """Do nothing: the server ends with this process or serves the next executor."""


@contextmanager
def _without_main() -> Iterator[None]:
    """Hide the user's script from new processes, which would import it and rerun the sweep."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _send(process: BaseProcess, number: int) -> None:
    assert process.pid is not None
    if number == signal.SIGKILL:
        with suppress(ProcessLookupError):  # it may not have created its process group yet
            os.killpg(process.pid, number)
    with suppress(ProcessLookupError):
        os.kill(process.pid, number)


def _imports(run: worker.Run, jobs: list[Job]) -> list[str]:
    """Return the modules that jobs import; the server imports them once, before it forks."""
    modules = {run.__module__, "prism.benchmark.train.runner"}
    modules |= {agent_path(job.spec.algo.agent).partition(":")[0] for job in jobs}
    if any("wandb" in job.spec.tracking.active for job in jobs):
        modules.add("wandb")
    return sorted(modules)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
