"""The launcher's core: submit what is not finished, watch, settle, report.

Executors differ only in how a job gets a process.
"""

import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from benchmark import schema, store
from benchmark.job import Job, Sweep
from benchmark.launch.executors import Executor, Exit, Inline, Local
from benchmark.launch.progress import Progress
from benchmark.launch.report import summary
from benchmark.launch.worker import Run
from benchmark.ledger import prepare, remaining, status_of, unfinished, write_plan
from benchmark.runner import run_job

_DONE = (schema.FINISHED, schema.FAILED, schema.INTERRUPTED)


class _Stop:
    """Counts what Ctrl-C asks for: once to stop cleanly, twice to stop now."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.requests = progress, 0

    def __call__(self, *_: Any) -> None:
        self.requests += 1
        if self.requests == 1:
            self.progress.say("stopping: jobs write a checkpoint; Ctrl-C again ends them now")

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Handle SIGINT and SIGTERM while the sweep runs."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        numbers = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def make_executor(name: str, options: Mapping[str, Any], jobs: list[Job], run: Run) -> Executor:
    """Return the executor called ``name``, ready for ``jobs``."""
    if name == "inline":
        return Inline(run)
    preload = {run.__module__} | {job.config["algo"]["agent"].partition(":")[0] for job in jobs}
    if any(job.config["tracking"]["wandb"] != "disabled" for job in jobs):
        preload.add("wandb")
    threads = max((job.config["threads"] for job in jobs), default=1)
    return Local(run, sorted(preload), threads, **options)


def launch(sweep: Sweep, executor: str, options: Mapping[str, Any], run: Run = run_job) -> bool:
    """Run what is not finished of a sweep and say whether all of it is finished now.

    Args:
        sweep: the planned jobs.
        executor: "inline" or "local"; options: the executor's own arguments.
        run: the job's function.
    """
    jobs = remaining(sweep)
    write_plan(sweep)
    runner = make_executor(executor, options, jobs, run)
    began = time.monotonic()
    with Progress(sweep, jobs, runner.running) as progress:
        stop = _Stop(progress)
        with stop.installed():
            try:
                _drive(deque(jobs), runner, progress, stop)
            finally:
                if runner.running:  # an error of our own: leave no process behind
                    runner.kill()
    print(summary(sweep.study_dir, {run for job in sweep.jobs for run in job.run_ids}))
    complete = not unfinished(sweep)
    print(f"\n{'complete' if complete else 'NOT complete'} after {time.monotonic() - began:.0f} s")
    print(f"results  {sweep.study_dir}")
    print(f"report   python -m analysis report {sweep.study_dir}")
    return complete


def _drive(queue: deque[Job], runner: Executor, progress: Progress, stop: _Stop) -> None:
    while runner.running or (queue and not stop.requests):
        while queue and len(runner.running) < runner.slots and not stop.requests:
            job = queue.popleft()
            prepare(job)
            progress.started(job)
            runner.start(job)
            if isinstance(runner, Inline):
                break
        if stop.requests:
            (runner.stop if stop.requests == 1 else runner.kill)()
        for exit in runner.poll(0.2):
            states = _settle(exit, asked=stop.requests > 0 or exit.code == -signal.SIGINT)
            progress.ended(exit.job, states)
            if isinstance(runner, Inline) and schema.INTERRUPTED in {s["state"] for s in states}:
                stop.requests += 1  # the signal was for this process, and the job has taken it


def _settle(exit: Exit, asked: bool) -> list[schema.Status]:
    """Return the states of a job's runs; one that its process left unfinished has failed."""
    states = []
    for run in exit.job.run_ids:
        folder = store.run_dir(exit.job, run)
        status = store.read_status(folder)
        if status is None or status["state"] not in _DONE:
            status = status_of(exit.job, status)
            status["state"] = schema.INTERRUPTED if asked and exit.code else schema.FAILED
            status["reason"], status["exit_code"] = reason(exit), exit.code
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "error.txt").write_text(f"{status['reason']}\n\n{exit.error}")
            store.write_json(folder / "status.json", status)
        states.append(status)
    return states


def reason(exit: Exit) -> str:
    """Return one line that says how a process ended."""
    lines = [line.strip() for line in exit.error.splitlines() if line.strip()]
    last = f": {lines[-1]}" if lines else ""
    if exit.code < 0:
        return f"killed by {signal.Signals(-exit.code).name}{last}"
    if exit.code:
        return f"exit code {exit.code}{last}"
    return f"the job returned without finishing this run{last}"
