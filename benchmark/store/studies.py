"""Operations on a whole study: extend, merge, prune, rename, delete.

Each holds the study's lock while it works, so that no job begins in the meantime, and first
completes what a killed one has left (``intents``).
"""

import os
import shutil
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

from ..util import atomic
from ..util.errors import ConfigError
from ..util.files import check_inside, check_no_link
from . import identity, intents, leases, ledger, records, schema, trust
from .checkpoint import Checkpoints


@contextmanager
def locked(study_dir: Path) -> Iterator[schema.Plan]:
    """Hold a study's lock and yield its plan, after completing what was half done.

    Raises:
        ConfigError: the folder is no study.
    """
    ledger.read_plan(study_dir)  # a folder that is none gets no lock
    with atomic.mutex(study_dir):
        intents.complete(study_dir)
        yield ledger.read_plan(study_dir)


@contextmanager
def idle(study_dir: Path) -> Iterator[schema.Plan]:
    """Hold the lock of a study, which must not be running; yield its plan.

    Raises:
        ConfigError: the folder is a link or no study, or the study is running.
    """
    check_no_link(study_dir)
    with locked(study_dir) as plan:
        _refuse_running(study_dir)
        yield plan


def _refuse_running(study_dir: Path) -> None:
    watch = leases.Watch()
    for lease in leases.of(study_dir):
        if watch.alive(lease, study_dir):
            who = f"process {lease['pid']} on {lease['host']}"
            raise ConfigError(f"{study_dir} is running ({who}): stop it first")


def extend(study_dir: Path, count: int, only: Collection[str] | None = None) -> int:
    """Plan ``count`` more seeds, the same for every cell; return the number of new runs.

    Args:
        study_dir: ``results/<study>``.
        count: seeds to add.
        only: labels of the cells that get them; None: all.

    Raises:
        ConfigError: the folder is no study, is not trusted, or holds a link that leads out of it.
    """
    check_inside(study_dir)
    with locked(study_dir) as plan:
        before = len(plan["runs"])
        first = 1 + max(run["seed"] for run in plan["runs"])
        seeds = list(range(first, first + count))
        one_of = {
            run["cell"]: run
            for run in plan["runs"]
            if only is None or run["variant"]["label"] in only
        }
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
    with ExitStack() as locks:
        plans = {}
        for path in sorted({target.resolve(), source.resolve()}):  # two merges must not deadlock
            if os.access(path, os.W_OK):
                plans[path] = locks.enter_context(idle(path))
            else:  # such as a disk that cannot be written, where nothing runs
                _refuse_running(path)
                plans[path] = ledger.read_plan(path)
        return _merge(target, source, plans[target.resolve()], plans[source.resolve()])


def _merge(
    target: Path, source: Path, plan: schema.Plan, other: schema.Plan
) -> tuple[int, int, int]:
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
        partial = intents.copy_of(ours / name)
        shutil.copytree(theirs / name, partial, ignore=_links)
        mirrored += _has_mirror(partial, plan["study"])
        intents.give_to(partial, plan["study"])
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


def _has_mirror(folder: Path, study: str) -> bool:
    """Return whether W&B may have a run under another study's name than this."""
    record, status = records.read_record(folder), records.read_status(folder)
    mirror = status["trackers"].get("wandb", "disabled") if status else "disabled"
    renamed = record is not None and record["study"] != study
    return renamed and mirror not in ("disabled", "offline")


def _rows(folder: Path) -> bytes:
    return (folder / "metrics.jsonl").read_bytes()


def checkpoints(study_dir: Path) -> list[Path]:
    """Return the checkpoint folders of a study; without them its jobs would start over."""
    return sorted(study_dir.glob("jobs/*/checkpoint"))


def prune(study_dir: Path) -> int:
    """Delete the checkpoints of a study that is not running; return the bytes freed."""
    check_inside(study_dir)
    freed = 0
    with idle(study_dir):
        for folder in checkpoints(study_dir):
            freed += sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            Checkpoints(folder).remove()
    return freed


def rename(study_dir: Path, name: str) -> tuple[Path, int]:
    """Rename a study, in its runs' records too; or complete a rename that was cut short.

    Returns:
        Its folder, and the number of runs that W&B may have under the old name; see ``merge``.

    Raises:
        ConfigError: the name is taken or not valid for a folder, or the study is running.
    """
    study_dir = study_dir.absolute()
    target = study_dir.parent / records.study_name("name", name)
    mirrored = intents.renamed(study_dir, target)
    if mirrored is not None:
        with locked(target):
            return target, mirrored
    check_inside(study_dir)
    with idle(study_dir):
        if target.exists():
            raise ConfigError(f"{target} exists: merge the two, or choose another name")
        folders = [path.parent for path in study_dir.glob("runs/*/run.json")]
        mirrored = sum(_has_mirror(folder, name) for folder in folders)
        intents.rename(study_dir, target, mirrored)
    trust.moved(study_dir, target)
    return target, mirrored


def delete(study_dir: Path) -> None:
    """Delete a study that is not running."""
    study_dir = study_dir.absolute()
    with idle(study_dir):
        intents.delete(study_dir)


def logs(study_dir: Path, words: Sequence[str]) -> list[Path]:
    """Return the logs of jobs and error files of runs whose name contains every word."""
    paths = [*study_dir.glob("jobs/*/log.txt"), *study_dir.glob("runs/*/error.txt")]
    return sorted(path for path in paths if all(word in path.parent.name for word in words))
