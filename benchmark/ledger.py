"""The ledger of a study: what was planned (plan.json), and what of it is still to do.

All state lies in the study's folder: what was planned in plan.json, how far each run got in its
status.json.
"""

import dataclasses
import time
from pathlib import Path

from benchmark import schema, store
from benchmark.errors import ConfigError
from benchmark.job import Job, Sweep


def read_plan(study_dir: Path) -> schema.Plan:
    """Return a study's plan.

    Raises:
        ConfigError: the folder holds no plan.
    """
    plan: schema.Plan | None = store.read_json(study_dir / "plan.json")
    if plan is None:
        raise ConfigError(f"{study_dir} is not a study: it has no plan.json")
    return plan


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
            if not is_finished(folder):
                keep.append((seed, run))
            elif sweep.stale != "keep" and _made_by_other_code(folder):
                stale += 1
                keep.append((seed, run))
        if keep:
            jobs.append(part(job, keep))
    if stale and sweep.stale == "refuse":
        raise ConfigError(
            f"{stale} finished runs in {sweep.study_dir} were made by other code: say stale=rerun "
            "to make them again, stale=keep to use them as they are, or name=... for a new study"
        )
    return sorted(jobs, key=lambda job: job.config["budget"] * len(job.seeds), reverse=True)


def is_finished(folder: Path) -> bool:
    """Say whether a run folder holds a finished run."""
    status = store.read_status(folder)
    return status is not None and status["state"] == schema.FINISHED


def _made_by_other_code(folder: Path) -> bool:
    record = store.read_json(folder / "run.json")
    return record is None or record["code"] != store.code_hash()


def part(job: Job, keep: list[tuple[int, str]]) -> Job:
    """Return the job of some (seed, run_id) of a job; the whole keeps its id and checkpoint."""
    seeds, run_ids = [seed for seed, _ in keep], [run for _, run in keep]
    if seeds == job.seeds:
        return job
    job_id = store.job_id(job.config, job.algo, job.env, seeds)
    return dataclasses.replace(job, seeds=seeds, run_ids=run_ids, job_id=job_id)


def unfinished(sweep: Sweep) -> list[str]:
    """Return the planned runs of a sweep that are not finished."""
    return [
        run for job in sweep.jobs for run in job.run_ids if not is_finished(store.run_dir(job, run))
    ]


def prepare(job: Job) -> None:
    """Mark a job's runs as planned, so that what a crash leaves behind is not an older state."""
    (store.job_dir(job) / "heartbeat.json").unlink(missing_ok=True)
    for run in job.run_ids:
        folder = store.run_dir(job, run)
        status = store.read_status(folder)
        if status is not None and status["state"] == schema.FINISHED:
            _retire(folder)  # stale=rerun: the earlier generation is kept beside the runs
            status = None
        (folder / "error.txt").unlink(missing_ok=True)
        store.write_json(
            folder / "status.json", {**status_of(job, status), "state": schema.PLANNED}
        )


def _retire(folder: Path) -> None:
    code = (store.read_json(folder / "run.json") or {}).get("code", "unknown")
    old = folder.parent.parent / "old"
    old.mkdir(exist_ok=True)
    target, n = old / f"{folder.name}-{code}", 1
    while target.exists():
        n += 1
        target = old / f"{folder.name}-{code}-{n}"
    folder.rename(target)


def status_of(job: Job, before: schema.Status | None) -> schema.Status:
    """Return the status of a run that is about to change: ``before`` without how it ended."""
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
