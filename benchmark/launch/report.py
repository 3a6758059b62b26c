"""The summary of a study's runs, printed at the end of a sweep and by ``prism status``."""

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from ..store import digests, leases, records, schema
from ..store.ledger import read_plan
from ..util.text import plain, plural, table

_SHOWN_FAILURES = 20


def summary(study_dir: Path, only: Collection[str] | None = None) -> str:
    """Return the counts by state, a table of finished and planned runs, and the failures.

    Args:
        study_dir: ``results/<study>``.
        only: the run_ids to include; None for all planned runs.
    """
    plan = read_plan(study_dir)
    runs = [run for run in plan["runs"] if only is None or run["run_id"] in only]
    statuses = _statuses(study_dir, runs)
    states = {run: status["state"] if status else "planned" for run, status in statuses.items()}
    counts = Counter(states.values())
    parts = [plural(len(runs), "run"), *(f"{counts[s]} {s}" for s in schema.STATES if counts[s])]
    idle = {run for run, status in statuses.items() if status and _never_learned(status)}
    if idle:
        parts.append(f"{len(idle)} never learned")
    lines = [f"{plan['study']}: {', '.join(parts)}", "", *_matrix(runs, states, idle)]
    wrong = [_failure(run, status) for run in runs if (status := statuses[run["run_id"]])]
    wrong = [line for line in wrong if line]
    lines += wrong[:_SHOWN_FAILURES]
    if len(wrong) > _SHOWN_FAILURES:
        lines.append(f"... and {len(wrong) - _SHOWN_FAILURES} more, each with its error.txt")
    lines += _remarks(runs, statuses)
    for pair in plan["skipped"]:
        lines.append(f"skipped: {pair['label']} on {pair['env']}: {pair['reason']}")
    return plain("\n".join(lines))


def extent(runs: Sequence[str], before: Collection[str], planned: str = "") -> str:
    """Return how many runs a command plans, and how many its study has.

    Args:
        runs: ids of the runs of the command.
        before: ids of the runs that the study's plan held before it.
        planned: what follows the number, unless runs are added.
    """
    new = sum(run not in before for run in runs)
    if before and new:
        again = f" ({len(runs) - new} of the command there before)" if new < len(runs) else ""
        return f"{plural(new, 'run')} added to {len(before)}{again}"
    if new < len(runs) < len(before):
        return f"{len(runs)} of {plural(len(before), 'run')}{planned}"
    return f"{plural(len(runs), 'run')}{planned}"


def _statuses(study_dir: Path, runs: list[schema.PlannedRun]) -> dict[str, schema.Status | None]:
    """Return each run's status, as it is now.

    A "running" run that no live process holds is "interrupted". A "finished" one with a file of
    another size than it ended with is "failed": what has changed within a file is found by whoever
    reads it, and by ``prism resume``.
    """
    watch = leases.Watch()
    live = (lease for lease in leases.of(study_dir) if watch.alive(lease, study_dir))
    leased = {run for lease in live for run in lease["runs"]}
    statuses: dict[str, schema.Status | None] = {}
    for run in runs:
        name = run["run_id"]
        status = records.read_status(study_dir / "runs" / name)
        if status is not None and status["state"] == schema.RUNNING and name not in leased:
            status["state"], status["reason"] = schema.INTERRUPTED, "its process is gone"
        elif (
            status is not None
            and status["state"] == schema.FINISHED
            and (why := digests.fault(study_dir / "runs" / name, status, deep=False))
        ):
            status["state"], status["reason"] = schema.FAILED, f"{why}; {digests.REMEDY}"
        statuses[name] = status
    return statuses


def _failure(run: schema.PlannedRun, status: schema.Status) -> str:
    """Return why a run failed or stopped, or "" if it did not."""
    if status["state"] not in (schema.FAILED, schema.INTERRUPTED):
        return ""
    name = f"{run['variant']['label']} on {run['env']}, seed {run['seed']}"
    step = f"step {status['global_step']} of {status['budget']}"
    return f"{status['state']}: {name}, {step}: {status['reason'] or 'no reason given'}"


def _remarks(
    runs: list[schema.PlannedRun], statuses: dict[str, schema.Status | None]
) -> Iterator[str]:
    """Yield what the finished runs of a variant on an environment remark: the first one's words."""
    cells: dict[str, list[str]] = {}
    for run in runs:
        status = statuses[run["run_id"]]
        if status and status["state"] == schema.FINISHED and status["reason"]:
            cell = f"{run['variant']['label']} on {run['env']}"
            cells.setdefault(cell, []).append(status["reason"])
    for cell, remarks in cells.items():
        yield f"finished: {cell}, {plural(len(remarks), 'run')}: {remarks[0]}"


def _never_learned(status: schema.Status) -> bool:
    """Say whether a run has finished without an update."""
    return status["state"] == schema.FINISHED and status.get("updates") == 0


def _matrix(
    runs: list[schema.PlannedRun], states: dict[str, str], idle: Collection[str]
) -> list[str]:
    """Return the table variant x environment: finished/planned, and counts of other states."""
    labels = list(dict.fromkeys(run["variant"]["label"] for run in runs))
    envs = list(dict.fromkeys(run["env"] for run in runs))
    counts: dict[tuple[str, str], Counter[str]] = {}
    idles: Counter[tuple[str, str]] = Counter()
    for run in runs:
        cell = run["variant"]["label"], run["env"]
        count = counts.setdefault(cell, Counter())
        count[states[run["run_id"]]] += 1
        idles[cell] += run["run_id"] in idle
    rows = [["finished/planned", *envs]]
    for label in labels:
        rows.append([label, *(_cell(counts.get((label, env)), idles[label, env]) for env in envs)])
    return table(rows)


def _cell(count: Counter[str] | None, idle: int) -> str:
    if count is None:
        return "-"
    others = (schema.RUNNING, schema.FAILED, schema.INTERRUPTED)
    rest = [f"{count[state]} {state}" for state in others if count[state]]
    rest += [f"{idle} never learned"] * (idle > 0)
    return f"{count[schema.FINISHED]}/{count.total()}" + (f" ({', '.join(rest)})" if rest else "")
