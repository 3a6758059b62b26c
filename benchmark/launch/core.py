"""The launcher's core: plan, skip what is finished, submit, watch, settle, report.

Executors differ only in how a job gets a process. All state lies in the study's folder: what was
planned in plan.json, how far each run got in its status.json.
"""

import dataclasses
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmark import schema, store
from benchmark.errors import ConfigError
from benchmark.grid import Sweep
from benchmark.job import Job
from benchmark.launch.executors import Executor, Exit, Inline, Local
from benchmark.launch.progress import Progress
from benchmark.launch.report import summary
from benchmark.launch.worker import Run
from benchmark.runner import run_job

_DONE = (schema.FINISHED, schema.FAILED, schema.INTERRUPTED)


def remaining(sweep: Sweep) -> list[Job]:
    """Return the jobs of what is not finished, the longest first.

    Raises:
        ConfigError: finished runs were made by other code and ``stale=refuse``.
    """
    jobs, stale = [], 0
    for job in sweep.jobs:
        keep = []
        for seed, run in zip(job.seeds, job.run_ids, strict=True):
            folder = store.run_dir(job, run)
            if not _finished(folder):
                keep.append((seed, run))
            elif sweep.stale != "keep" and _made_by_other_code(folder):
                stale += 1
                keep.append((seed, run))
        if keep:
            jobs.append(_part(job, keep))
    if stale and sweep.stale == "refuse":
        raise ConfigError(
            f"{stale} finished runs in {sweep.study_dir} were made by other code: say stale=rerun "
            "to make them again, stale=keep to use them as they are, or name=... for a new study"
        )
    return sorted(jobs, key=lambda job: job.config["budget"] * len(job.seeds), reverse=True)


def _finished(folder: Path) -> bool:
    status = store.read_status(folder)
    return status is not None and status["state"] == schema.FINISHED


def _made_by_other_code(folder: Path) -> bool:
    record = store.read_json(folder / "run.json")
    return record is None or record["code"] != store.code_hash()


def _part(job: Job, keep: list[tuple[int, str]]) -> Job:
    """Return the job of some of a job's runs; the whole job keeps its id and so its checkpoint."""
    seeds, run_ids = [seed for seed, _ in keep], [run for _, run in keep]
    if seeds == job.seeds:
        return job
    job_id = store.job_id(job.config, job.algo, job.env, seeds)
    return dataclasses.replace(job, seeds=seeds, run_ids=run_ids, job_id=job_id)


def write_plan(sweep: Sweep) -> None:
    """Add the sweep's cells to the study's plan.json; what stands there stays."""
    path = sweep.study_dir / "plan.json"
    plan: schema.Plan = store.read_json(path) or schema.Plan(
        schema=schema.SCHEMA_VERSION, study=sweep.study, runs=[], skipped=[]
    )
    runs = {run["run_id"]: run for run in plan["runs"]}
    for job in sweep.jobs:
        protocol, _ = store.protocol(job.config)
        for seed, run in zip(job.seeds, job.run_ids, strict=True):
            planned = schema.PlannedRun(
                run_id=run,
                job_id=job.job_id,
                variant=job.variant,
                algo=job.algo,
                env=job.env,
                seed=seed,
                budget=job.config["budget"],
                protocol=protocol,
            )
            runs.setdefault(run, planned)
    plan["runs"] = list(runs.values())
    plan["skipped"] += [pair for pair in sweep.skipped if pair not in plan["skipped"]]
    store.write_json(path, plan)


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


def unfinished(sweep: Sweep) -> list[str]:
    """Return the planned runs of a sweep that are not finished."""
    return [
        run for job in sweep.jobs for run in job.run_ids if not _finished(store.run_dir(job, run))
    ]


def _drive(queue: deque[Job], runner: Executor, progress: Progress, stop: _Stop) -> None:
    while runner.running or (queue and not stop.requests):
        while queue and len(runner.running) < runner.slots and not stop.requests:
            job = queue.popleft()
            _prepare(job)
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


def _prepare(job: Job) -> None:
    """Mark a job's runs as planned, so that what a crash leaves behind is not an older state."""
    (store.job_dir(job) / "heartbeat.json").unlink(missing_ok=True)
    for run in job.run_ids:
        folder = store.run_dir(job, run)
        status = store.read_status(folder)
        if status is not None and status["state"] == schema.FINISHED:
            _retire(folder)  # stale=rerun: the earlier generation is kept beside the runs
            status = None
        blank = _status(job, status)
        (folder / "error.txt").unlink(missing_ok=True)
        store.write_json(folder / "status.json", {**blank, "state": schema.PLANNED})


def _retire(folder: Path) -> None:
    code = (store.read_json(folder / "run.json") or {}).get("code", "unknown")
    old = folder.parent.parent / "old"
    old.mkdir(exist_ok=True)
    target, n = old / f"{folder.name}-{code}", 1
    while target.exists():
        n += 1
        target = old / f"{folder.name}-{code}-{n}"
    folder.rename(target)


def _status(job: Job, before: schema.Status | None) -> schema.Status:
    blank = schema.Status(
        state=schema.PLANNED,
        reason=None,
        global_step=0,
        budget=job.config["budget"],
        attempts=0,
        exit_code=None,
        wandb=None,
        updated=time.time(),
    )
    return {**blank, **(before or {}), "reason": None, "exit_code": None, "updated": time.time()}  # type: ignore[typeddict-item]


def _settle(exit: Exit, asked: bool) -> list[schema.Status]:
    """Return the states of a job's runs; one that its process left unfinished has failed."""
    states = []
    for run in exit.job.run_ids:
        folder = store.run_dir(exit.job, run)
        status = store.read_status(folder)
        if status is None or status["state"] not in _DONE:
            status = _status(exit.job, status)
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
