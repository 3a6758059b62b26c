"""The ledger of a study: which runs were planned, and which are still to do.

All state is in the study's folder: the planned runs in plan.json, the progress of each run in its
status.json, and the process that runs it in leases/.
"""

import dataclasses
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..util import atomic
from ..util.errors import ConfigError
from ..util.files import check_inside
from . import digests, identity, intents, leases, provenance, records, schema, trust
from .job import Job, Sweep

ENDED = (schema.FINISHED, schema.FAILED, schema.INTERRUPTED)


def read_plan(study_dir: Path) -> schema.Plan:
    """Return a study's plan.

    Raises:
        ConfigError: the folder holds no plan, or one of another schema.
    """
    plan: schema.Plan | None = records.read_json(study_dir / "plan.json")
    if plan is None:
        raise ConfigError(f"{study_dir} is not a study: it has no plan.json")
    return plan


def planned_ids(study_dir: Path) -> set[str]:
    """Return the ids of the runs that a study's plan holds; none without a plan."""
    if not (study_dir / "plan.json").exists():
        return set()
    return {run["run_id"] for run in read_plan(study_dir)["runs"]}


def write_plan(sweep: Sweep) -> None:
    """Add the sweep's cells to the study's plan.json; runs that are already there stay.

    Raises:
        ConfigError: the folder holds a link that leads out of it, or a plan of another schema; or,
            with ``stale=refuse``, a cell of the same id has other defaults now.
        OSError: the folder cannot be written.
    """
    path = sweep.study_dir / "plan.json"
    if sweep.study_dir.exists():
        check_inside(sweep.study_dir)
    with atomic.mutex(sweep.study_dir):
        intents.complete(sweep.study_dir)
        plan = (
            read_plan(sweep.study_dir)
            if path.exists()
            else schema.Plan(
                schema=schema.SCHEMA_VERSION, study=sweep.study, runs=[], cells={}, skipped=[]
            )
        )
        if sweep.stale == "refuse":
            _refuse_changed(sweep, plan)
        add(plan, sweep.jobs)
        plan["skipped"] += [pair for pair in sweep.skipped if pair not in plan["skipped"]]
        records.write_json(path, plan)


def _refuse_changed(sweep: Sweep, plan: schema.Plan) -> None:
    for job in sweep.jobs:
        planned = plan["cells"].get(cell_id(job))
        for what in changed(planned["config"], job.spec.record) if planned else ():
            raise ConfigError(
                f"{what}, for {job.variant['label']} on {job.env} in {sweep.study_dir}: a default "
                "has changed; set stale=rerun to repeat its runs, stale=keep to use the finished "
                "ones as they are, or name=... for a new study"
            )


def cell_id(job: Job) -> str:
    """Return the key of a job's cell in its plan."""
    return identity.job_id(job.spec, job.algo, job.env, [])


def changed(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Yield the values that differ between two configs of a cell with the same id.

    Since the ids are equal, a difference is a changed default. A key that only one has is new.
    """
    for part in ("algo", "env", "evaluation"):
        yield from _changed(before[part], now[part], part)


def _changed(before: Mapping[str, Any], now: Mapping[str, Any], key: str) -> Iterator[str]:
    for name in sorted(before.keys() & now.keys() - identity.NOT_IDENTITY):
        old, new = before[name], now[name]
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            yield from _changed(old, new, f"{key}.{name}")
        elif old != new:
            yield f"{key}.{name} was {old} and is {new}"


def add(plan: schema.Plan, jobs: Collection[Job]) -> None:
    """Add the runs of jobs to a plan; a run that is already there keeps its entry."""
    runs = {run["run_id"]: run for run in plan["runs"]}
    for job in jobs:
        protocol, _ = identity.protocol(job.spec)
        cell = cell_id(job)
        plan["cells"][cell] = schema.PlannedCell(config=job.spec.record, tuned=job.tuned)  # type: ignore[typeddict-item]
        for seed, run in zip(job.seeds, job.run_ids, strict=True):
            planned = schema.PlannedRun(
                run_id=run,
                job_id=job.job_id,
                variant=job.variant,
                algo=job.algo,
                env=job.env,
                seed=seed,
                budget=job.spec.budget,
                protocol=protocol,
                cell=cell,
            )
            runs[run] = {**planned, **runs.get(run, {})}  # type: ignore[typeddict-item]
    plan["runs"] = list(runs.values())


def planned_jobs(study_dir: Path, plan: schema.Plan) -> list[Job]:
    """Return the jobs of a plan, each with the seeds that were planned together.

    Two commands may have planned different seeds of one job, so the job id is computed from the
    seeds that the job has here.

    Raises:
        ConfigError: a cell that cannot be read here, for instance since its agent is not installed
            or its folder is not trusted.
    """
    packs: dict[str, list[schema.PlannedRun]] = {}
    for run in plan["runs"]:
        packs.setdefault(run["job_id"], []).append(run)
    jobs, cells = [], plan["cells"]
    specs = {key: trust.spec(cell["config"], study_dir) for key, cell in cells.items()}
    for runs in packs.values():
        first = runs[0]
        spec, tuned = specs[first["cell"]], cells[first["cell"]]["tuned"]
        seeds, run_ids = [run["seed"] for run in runs], [run["run_id"] for run in runs]
        job_id = identity.job_id(spec, first["algo"], first["env"], seeds)
        job = Job(
            plan["study"], str(study_dir.absolute()), job_id, first["algo"], first["env"],
            first["variant"], spec, tuned, seeds, run_ids,
        )  # fmt: skip
        jobs.append(job)
    return jobs


def remaining(sweep: Sweep) -> list[Job]:
    """Return the jobs of the unfinished runs, longest first.

    Seeds of a planned job that were saved by different jobs stay different jobs.

    Raises:
        ConfigError: results were made by other code and ``stale=refuse``.
    """
    jobs, stale, begun = [], 0, 0
    for job in sweep.jobs:
        keep = []
        for seed, run in zip(job.seeds, job.run_ids, strict=True):
            folder = records.run_dir(job, run)
            status = records.read_status(folder)
            done = finished(folder, status)
            other = status is not None and sweep.stale != "keep" and _made_by_other_code(job, run)
            stale += done and other
            if not done or other:
                keep.append((seed, run))
        if keep:
            rest = part(job, keep)
            jobs += by_checkpoint(rest)
            begun += sweep.stale == "refuse" and _saved_by_other_code(rest)
    if sweep.stale == "refuse" and (stale or begun):
        what = f"{stale} finished runs" if stale else f"the checkpoints of {begun} jobs"
        raise ConfigError(
            f"{what} in {sweep.study_dir} were made by other code: set stale=rerun to repeat "
            "them, stale=keep to use the finished ones as they are, or name=... for a new study"
        )
    return longest_first(jobs)


def longest_first(jobs: Iterable[Job]) -> list[Job]:
    """Return jobs in the order in which they start."""
    return sorted(jobs, key=lambda job: job.spec.budget * len(job.seeds), reverse=True)


def unfinished_part(job: Job) -> Job | None:
    """Return the unfinished runs of a job as a job, whatever code began them."""
    runs = zip(job.seeds, job.run_ids, strict=True)
    keep = [(seed, run) for seed, run in runs if not is_finished(records.run_dir(job, run))]
    return part(job, keep) if keep else None


def due(job: Job) -> Job | None:
    """Return the runs of a job that this version of the code has not finished, as a job."""
    keep = []
    for seed, run in zip(job.seeds, job.run_ids, strict=True):
        folder = records.run_dir(job, run)
        if not is_finished(folder) or _made_by_other_code(job, run):
            keep.append((seed, run))
    return part(job, keep) if keep else None


def is_finished(folder: Path) -> bool:
    """Return whether a run folder holds a finished run."""
    return finished(folder, records.read_status(folder))


def finished(folder: Path, status: schema.Status | None) -> bool:
    """Return whether a run is finished and its files are those that it ended with.

    One that is damaged is reported once per process.
    """
    if status is None or status["state"] != schema.FINISHED:
        return False
    why = damage(folder, status)
    if why:
        records.say_once(f"{folder}: {why}: it does not count as finished")
    return not why


def damage(folder: Path, status: schema.Status) -> str:
    """Return what is wrong with a finished run's files; "" if nothing is."""
    why = digests.fault(folder, status)
    if not why and not digests.known(status) and records.read_record(folder) is None:
        why = "run.json is missing or broken"
    return why


def _made_by_other_code(job: Job, run: str) -> bool:
    record = records.read_record(records.run_dir(job, run))
    return record is None or record["code"] != provenance.code_hash(job.spec)


def by_checkpoint(job: Job) -> list[Job]:
    """Split a job by checkpoint: one part for each, and one for the runs without any."""
    parts: dict[str | None, list[tuple[int, str]]] = {}
    for seed, run in zip(job.seeds, job.run_ids, strict=True):
        job_id, code = _saved(job, run)
        usable = job_id if code == provenance.code_hash(job.spec) else None
        parts.setdefault(usable, []).append((seed, run))
    return [part(job, keep) for keep in parts.values()]


def _saved_by_other_code(job: Job) -> bool:
    codes = {code for _, code in (_saved(job, run) for run in job.run_ids)}
    return bool(codes - {None, provenance.code_hash(job.spec)})


def _saved(job: Job, run: str) -> tuple[str | None, str | None]:
    """Return the id and code hash of the job that saved a run; (None, None) if none did.

    A run that is finished and damaged begins anew: its rows are no longer those of a checkpoint.
    """
    folder = records.run_dir(job, run)
    record, status = records.read_record(folder), records.read_status(folder)
    damaged = status is not None and status["state"] == schema.FINISHED
    if record is not None and not damaged:
        other = dataclasses.replace(job, job_id=record["job_id"])
        if any((records.job_dir(other) / "checkpoint").glob("*.pt")):
            return record["job_id"], record["code"]
    return None, None


def part(job: Job, keep: list[tuple[int, str]]) -> Job:
    """Return some (seed, run_id) of a job as a job; all of them keep its id and checkpoint."""
    seeds, run_ids = [seed for seed, _ in keep], [run for _, run in keep]
    if seeds == job.seeds:
        return job
    job_id = identity.job_id(job.spec, job.algo, job.env, seeds)
    return dataclasses.replace(job, seeds=seeds, run_ids=run_ids, job_id=job_id)


def unfinished(sweep: Sweep) -> list[str]:
    """Return the planned runs of a sweep that are not finished."""
    return [
        run
        for job in sweep.jobs
        for run in job.run_ids
        if not is_finished(records.run_dir(job, run))
    ]


def prepare(job: Job) -> None:
    """Mark a job's runs as planned, so that a crash leaves no older state behind.

    Raises:
        leases.Lost: another process has taken the runs over.
    """
    with leases.held(job):
        (records.job_dir(job) / "heartbeat.json").unlink(missing_ok=True)
        for run in job.run_ids:
            folder = records.run_dir(job, run)
            status = records.read_status(folder)
            if status is not None and status["state"] == schema.FINISHED:
                _retire(folder)  # of other code, or damaged: what was there is kept beside the runs
                status = None
            (folder / "error.txt").unlink(missing_ok=True)
            records.write_json(folder / "status.json", status_of(job, status))


def _retire(folder: Path) -> None:
    record = records.read_record(folder)
    code = record["code"] if record is not None else "unknown"
    old = folder.parent.parent / "old"
    old.mkdir(exist_ok=True)
    target, n = old / f"{folder.name}-{code}", 1
    while target.exists():
        n += 1
        target = old / f"{folder.name}-{code}-{n}"
    folder.rename(target)


def status_of(job: Job, before: schema.Status | None) -> schema.Status:
    """Return the status of a planned run; it keeps the step and the attempts of ``before``."""
    return schema.Status(
        state=schema.PLANNED,
        reason=None,
        failure=None,
        global_step=before["global_step"] if before else 0,
        budget=job.spec.budget,
        updates=before.get("updates") if before else None,
        attempts=before["attempts"] if before else 0,
        exit_code=None,
        trackers=before["trackers"] if before else {},
        digests=None,
        updated=time.time(),
    )


def statuses(job: Job) -> list[schema.Status]:
    """Return the status of every run of a job; planned if it has none."""
    written = (records.read_status(records.run_dir(job, run)) for run in job.run_ids)
    return [status or status_of(job, None) for status in written]


def end(
    job: Job,
    state: str,
    reason: str,
    details: str,
    failure: str | None = None,
    code: int | None = None,
) -> None:
    """Write how the unended runs of a job ended: status.json, then error.txt.

    Nothing is written if another process has taken the runs over. A job that has released its
    lease may still be ended: whoever took it since has ended its runs.
    """
    with atomic.mutex(Path(job.study_dir)):
        for run in job.run_ids if not leases.taken(job) else ():
            folder = records.run_dir(job, run)
            before = records.read_status(folder)
            if before is None or before["state"] not in ENDED:
                status = status_of(job, before)
                status |= {"state": state, "reason": reason, "failure": failure, "exit_code": code}
                records.write_json(folder / "status.json", status)
                records.write_text(folder / "error.txt", f"{reason}\n\n{details}".strip() + "\n")
