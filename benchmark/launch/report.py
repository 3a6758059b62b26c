"""What a study's folder says about its runs: the table at the end of a sweep and of ``status``."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from benchmark import schema, store
from benchmark.ledger import read_plan

_SHOWN_FAILURES = 20


def summary(study_dir: Path, only: Collection[str] | None = None) -> str:
    """Return counts by state, the table of finished and planned runs, and why others failed.

    Args:
        study_dir: ``results/<study>``.
        only: the run_ids to speak of; None = all that were ever planned.
    """
    plan = read_plan(study_dir)
    runs = [run for run in plan["runs"] if only is None or run["run_id"] in only]
    statuses = {
        run["run_id"]: store.read_status(study_dir / "runs" / run["run_id"]) for run in runs
    }
    states = {run: status["state"] if status else "planned" for run, status in statuses.items()}
    counts = Counter(states.values())
    parts = [f"{len(runs)} runs", *(f"{counts[s]} {s}" for s in schema.STATES if counts[s])]
    lines = [f"{plan['study']}: {', '.join(parts)}", "", *_matrix(runs, states)]
    wrong = [_failure(run, status) for run in runs if (status := statuses[run["run_id"]])]
    wrong = [line for line in wrong if line]
    lines += wrong[:_SHOWN_FAILURES]
    if len(wrong) > _SHOWN_FAILURES:
        lines.append(f"... and {len(wrong) - _SHOWN_FAILURES} more, each with its error.txt")
    for pair in plan["skipped"]:
        lines.append(f"skipped: {pair['label']} on {pair['env']}: {pair['reason']}")
    return "\n".join(lines)


def _failure(run: schema.PlannedRun, status: schema.Status) -> str:
    """Return why a run failed or stopped, or "" if it did not."""
    if status["state"] not in (schema.FAILED, schema.INTERRUPTED):
        return ""
    name = f"{run['variant']['label']} on {run['env']}, seed {run['seed']}"
    step = f"step {status['global_step']} of {status['budget']}"
    return f"{status['state']}: {name}, {step}: {status['reason'] or 'no reason given'}"


def _matrix(runs: list[schema.PlannedRun], states: dict[str, str]) -> list[str]:
    """Return the rows of variant x environment, each cell "finished/planned"."""
    labels = list(dict.fromkeys(run["variant"]["label"] for run in runs))
    envs = list(dict.fromkeys(run["env"] for run in runs))
    planned, finished = Counter[tuple[str, str]](), Counter[tuple[str, str]]()
    for run in runs:
        cell = run["variant"]["label"], run["env"]
        planned[cell] += 1
        finished[cell] += states[run["run_id"]] == schema.FINISHED
    rows = [["finished/planned", *envs]]
    for label in labels:
        cells = [(label, env) for env in envs]
        rows.append([label, *(f"{finished[c]}/{planned[c]}" if planned[c] else "-" for c in cells)])
    return table(rows)


def table(rows: list[list[str]]) -> list[str]:
    """Return rows of cells as lines, the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
