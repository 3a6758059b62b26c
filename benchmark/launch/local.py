"""The local executor: a process per job, forked from a server that has imported everything.

If the server dies, its jobs work on as orphans, and this executor waits for them: how they end says
their status. A job that was about to begin is lost, and the launcher tries it again under another
lease, with which an orphan of the first attempt cannot begin.
"""

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import connection, forkserver, get_context
from multiprocessing.process import BaseProcess
from types import ModuleType
from typing import NamedTuple

from ..plan.executors import LocalOptions
from ..store import leases
from ..store.agents import agent_path
from ..store.job import Job
from ..store.records import job_dir
from ..util.errors import ConfigError, one_line
from ..util.text import tail
from . import worker
from .executor import Exit

_UNKNOWN = 255  # what multiprocessing returns for a process whose server has died
_ENDING = 1.0  # seconds that a server may take to end after its pipes are closed


class _Identity(NamedTuple):
    """A process; its number alone may be another's one day."""

    pid: int
    born: str

    def lives(self) -> bool:
        return bool(self.born) and leases.born(self.pid) == self.born


class _Child(NamedTuple):
    process: BaseProcess
    itself: _Identity
    server: _Identity


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
        self.children: dict[str, _Child] = {}
        self.unborn: dict[str, Exit] = {}  # jobs whose process could not be made
        self.device_of: dict[str, str] = {}  # job_id -> its GPU, if devices assigns them
        self.asked: set[str] = set()  # jobs that were asked to stop
        self.context = get_context("forkserver")
        self.context.set_forkserver_preload(_imports(run, jobs))
        os.environ.update(dict.fromkeys(worker.THREAD_VARIABLES, str(threads)))
        _server()

    def start(self, job: Job) -> None:
        """Fork a process for a job; its output goes to ``jobs/<job_id>/log.txt``.

        If that fails, the next poll returns the job as lost.
        """
        self.running[job.job_id] = job
        try:
            self.children[job.job_id] = self._begin(job)
        except (OSError, EOFError) as error:  # the server has died, or the system has run out
            reason = f"no process could be made for it: {one_line(error)}"
            self.unborn[job.job_id] = Exit(job, 1, reason, lost=True)

    def _begin(self, job: Job) -> _Child:
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
        server = _server()
        with _without_main():
            process.start()
        assert process.pid is not None
        return _Child(process, _Identity(process.pid, leases.born(process.pid)), server)

    def poll(self, seconds: float) -> list[Exit]:
        """Wait for processes to end."""
        waiting = [c.process.sentinel for c in self.children.values() if c.process.exitcode is None]
        if waiting:
            connection.wait(waiting, seconds)
        else:
            time.sleep(seconds)
        exits, self.unborn = list(self.unborn.values()), {}
        exits += [self._exit(job_id, c) for job_id, c in self.children.items() if _has_ended(c)]
        for exit in exits:
            self.children.pop(exit.job.job_id, None)
            self.device_of.pop(exit.job.job_id, None)
            del self.running[exit.job.job_id]
        return exits

    def _exit(self, job_id: str, child: _Child) -> Exit:
        child.process.join()
        job, code = self.running[job_id], child.process.exitcode
        assert code is not None
        if code == _UNKNOWN and _is_gone(child.server):
            return Exit(job, 1, "the server that it was forked from has died", lost=True)
        return Exit(job, code, tail(job_dir(job) / "log.txt"))

    def stop(self) -> None:
        """Send SIGTERM to every job; the runner then writes a checkpoint."""
        for job_id, child in self.children.items():
            if job_id not in self.asked:
                self.asked.add(job_id)
                _send(child.itself.pid, signal.SIGTERM)

    def kill(self, job_id: str) -> None:
        """Send SIGKILL to a job and what it started."""
        if job_id in self.children:
            _send(self.children[job_id].itself.pid, signal.SIGKILL)

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


def _server() -> _Identity:
    """Return the fork server, after starting it if it does not run."""
    if not _known_server().lives():
        # The server inherits this: a Ctrl-C during its imports would otherwise kill it.
        handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
        try:
            forkserver.ensure_running()
        finally:
            signal.signal(signal.SIGINT, handler)
    return _known_server()


def _known_server() -> _Identity:
    pid: int = forkserver._forkserver._forkserver_pid or 0  # type: ignore[attr-defined]
    return _Identity(pid, leases.born(pid) if pid else "")


def _is_gone(server: _Identity) -> bool:
    """Return whether a server has ended; one that is just ending first closes its pipes."""
    end = time.monotonic() + _ENDING
    while server.lives() and time.monotonic() < end:
        time.sleep(0.01)
    return not server.lives()


def _has_ended(child: _Child) -> bool:
    """Return whether a process has ended; an orphan that works on has not."""
    code = child.process.exitcode
    return code is not None and not (code == _UNKNOWN and child.itself.lives())


def _send(pid: int, number: int) -> None:
    if number == signal.SIGKILL:
        with suppress(ProcessLookupError):  # it may not have created its process group yet
            os.killpg(pid, number)
    with suppress(ProcessLookupError):
        os.kill(pid, number)


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
