"""Operations on a whole study: extend, merge, prune, rename, delete."""

import secrets
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..util import atomic
from ..util.errors import ConfigError
from ..util.files import check_inside, check_no_link
from . import identity, leases, ledger, records, schema, trust
from .checkpoint import Checkpoints


def idle(study_dir: Path) -> schema.Plan:
    """Return the plan of a study, which must not be running.

    Raises:
        ConfigError: the folder is a link or no study, or the study is running.
    """
    check_no_link(study_dir)
    plan, watch = ledger.read_plan(study_dir), leases.Watch()
    for lease in leases.of(study_dir):
        if watch.alive(lease):
            who = f"process {lease['pid']} on {lease['host']}"
            raise ConfigError(f"{study_dir} is running ({who}): stop it first")
    return plan


def extend(study_dir: Path, count: int) -> int:
    """Plan ``count`` more seeds, the same for every cell; return the number of new runs.

    Raises:
        ConfigError: the folder is no study, is not trusted, or holds a link that leads out of it.
    """
    check_inside(study_dir)
    with atomic.mutex(study_dir):
        plan = ledger.read_plan(study_dir)
        before = len(plan["runs"])
        first = 1 + max(run["seed"] for run in plan["runs"])
        seeds = list(range(first, first + count))
        one_of = {run["cell"]: run for run in plan["runs"]}
        for job in ledger.planned_jobs(study_dir, {**plan, "runs": list(one_of.values())}):
            size = job.spec.agent.max_seeds or count
            for start in range(0, count, size):
                part = seeds[start : start + size]
                ids = [identity.run_id(job.spec, job.algo, job.env, seed) for seed in part]
                job_id = identity.job_id(job.spec, job.algo, job.env, part)
                ledger.add(plan, [replace(job, job_id=job_id, seeds=part, run_ids=ids)])
        records.write_json(study_dir / "plan.json", plan)
    return len(plan["runs"]) - before


def merge(target: Path, source: Path) -> tuple[int, int, int]:
    """Copy into a study the runs that only the other folder has.

    A run that is finished in both must be equal in both. Copied runs carry the target's name in
    their records. W&B cannot rename its runs: it keeps them under the old name, and a push sends
    them again under the new one.

    Returns:
        The numbers of runs copied, of runs planned only in ``source``, and of copied runs that
        W&B may have under the old name.

    Raises:
        ConfigError: a folder is no study, is running or holds a link that leads out of it; or the
            two differ in a run.
    """
    for study in (target, source):
        check_inside(study)
    plan, other = idle(target), idle(source)
    for cell in sorted(plan["cells"].keys() & other["cells"].keys()):
        configs = (plan["cells"][cell]["config"], other["cells"][cell]["config"])
        for what in ledger.changed(*configs):
            raise ConfigError(
                f"{what} in {source}, though both call it {cell}: keep the folders apart"
            )
    ours, theirs = target / "runs", source / "runs"
    names = [run["run_id"] for run in other["runs"]]
    finished = [name for name in names if ledger.is_finished(theirs / name)]  # names damaged ones
    both = [name for name in finished if ledger.is_finished(ours / name)]
    unequal = [n for n in both if _rows(ours / n) != _rows(theirs / n)]
    if unequal:
        raise ConfigError(
            f"{len(unequal)} runs are finished in both folders with different rows, first "
            f"{unequal[0]}: delete one of them, or keep the folders apart"
        )
    copied, mirrored = [name for name in finished if name not in both], 0
    for name in copied:
        partial = ours / f".{name}"
        shutil.rmtree(partial, ignore_errors=True)
        shutil.copytree(theirs / name, partial, ignore=_links)
        mirrored += _give_to(partial, plan["study"])
        shutil.rmtree(ours / name, ignore_errors=True)
        partial.rename(ours / name)
    planned = {run["run_id"] for run in plan["runs"]}
    new = [run for run in other["runs"] if run["run_id"] not in planned]
    plan["runs"] += new
    plan["cells"] = {**other["cells"], **plan["cells"]}
    plan["skipped"] += [pair for pair in other["skipped"] if pair not in plan["skipped"]]
    records.write_json(target / "plan.json", plan)
    return len(copied), len(new), mirrored


def _links(folder: str, names: list[str]) -> set[str]:
    """Return what a copy leaves out: links, such as those of W&B."""
    return {name for name in names if (Path(folder) / name).is_symlink()}


def _give_to(folder: Path, study: str) -> bool:
    """Write a study's name into a run's record; return whether W&B may have another."""
    record = records.read_json(folder / "run.json")
    if record["study"] == study:
        return False
    records.write_json(folder / "run.json", {**record, "study": study})
    status = records.read_status(folder)
    mirror = status["trackers"].get("wandb", "disabled") if status else "disabled"
    return mirror not in ("disabled", "offline")


def _rows(folder: Path) -> bytes:
    return (folder / "metrics.jsonl").read_bytes()


def checkpoints(study_dir: Path) -> list[Path]:
    """Return the checkpoint folders of a study; without them its jobs would start over."""
    return sorted(study_dir.glob("jobs/*/checkpoint"))


def prune(study_dir: Path) -> int:
    """Delete the checkpoints of a study that is not running; return the bytes freed."""
    check_inside(study_dir)
    idle(study_dir)
    freed = 0
    for folder in checkpoints(study_dir):
        freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
        Checkpoints(folder).remove()
    return freed


def rename(study_dir: Path, name: str) -> tuple[Path, int]:
    """Rename a study, in its runs' records too.

    Returns:
        Its folder, and the number of runs that W&B may have under the old name; see ``merge``.

    Raises:
        ConfigError: the name is taken or not valid for a folder, or the study is running.
    """
    study_dir = study_dir.absolute()
    check_inside(study_dir)
    plan, target = idle(study_dir), study_dir.parent / records.study_name("name", name)
    if target.exists():
        raise ConfigError(f"{target} exists: merge the two, or choose another name")
    study_dir.rename(target)
    mirrored = sum(_give_to(path.parent, name) for path in target.glob("runs/*/run.json"))
    records.write_json(target / "plan.json", {**plan, "study": name})
    trust.moved(study_dir, target)
    return target, mirrored


def delete(study_dir: Path) -> None:
    """Delete a study that is not running; other processes see it disappear at once."""
    study_dir = study_dir.absolute()
    idle(study_dir)
    trash = study_dir.with_name(f".{study_dir.name}.{secrets.token_hex(4)}")
    study_dir.rename(trash)
    shutil.rmtree(trash)


def logs(study_dir: Path, words: Sequence[str]) -> list[Path]:
    """Return the logs of jobs and error files of runs whose name contains every word."""
    paths = [*study_dir.glob("jobs/*/log.txt"), *study_dir.glob("runs/*/error.txt")]
    return sorted(path for path in paths if all(word in path.parent.name for word in words))
