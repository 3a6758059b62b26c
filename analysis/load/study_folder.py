"""Source: a study folder ``results/<study>``. A planned run has a row, also if it is missing."""

import hashlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import digests, schema

from ..errors import AnalysisError, count
from . import evaluation
from .frames import Frames, stack
from .run_folder import Run, read_json, read_run


def accepts(where: str) -> bool:
    """Accept folders with a ``plan.json``."""
    return (Path(where) / "plan.json").is_file()


def read(where: str, only: Collection[str] | None = None, scores: str | None = None) -> Frames:
    """Read ``plan.json`` and the run folders that it names.

    Args:
        where: the folder.
        only: ids of the runs to read; None: all.
        scores: "evaluations/<name>", a later evaluation whose scores take the place of the final
            ones; a run without it is not scored.

    Raises:
        AnalysisError: it is no study.
    """
    folder = Path(where)
    plan = _read_plan(folder)
    planned = {entry["run_id"] for entry in plan["runs"]}
    if only is not None:
        plan["runs"] = [entry for entry in plan["runs"] if entry["run_id"] in only]
    runs = {entry["run_id"]: read_run(folder / "runs" / entry["run_id"]) for entry in plan["runs"]}
    rows = [row(plan["study"], entry, runs[entry["run_id"]]) for entry in plan["runs"]]
    if scores is not None:
        for found in rows:
            found |= evaluation.score(folder / "runs" / found["run_id"], found, scores)
    on_disk = sorted(path.name for path in (folder / "runs").glob("*") if path.is_dir())
    unplanned = [f"{folder.name}/{name}" for name in on_disk if name not in planned]
    notes = [f"{run_id}: {note}" for run_id, run in runs.items() for note in run.notes]
    finished = [run for run in runs.values() if run.state == schema.FINISHED]
    if unknown := sum(not digests.known(run.status) for run in finished):
        notes.append(
            f"no digests: {count(unknown, 'finished run')}; changes of their files are not seen"
        )
    if unplanned:
        notes.append(f"not in the plan and ignored: {count(len(unplanned), 'run folder')}")
    return Frames(
        runs=pd.DataFrame(rows),
        metrics=stack({run_id: run.columns for run_id, run in runs.items()}),
        records={run_id: run.record for run_id, run in runs.items() if run.record},
        skipped=plan["skipped"],
        unplanned=unplanned,
        notes=notes,
        planned=True,
    )


def _read_plan(folder: Path) -> dict[str, Any]:
    if not (folder / "plan.json").is_file():
        raise AnalysisError(f"{folder}: contains no plan.json")
    return read_json(folder / "plan.json")


def row(study: str, entry: dict[str, Any], run: Run) -> dict[str, Any]:
    """Return the row of ``runs`` for one planned run of a study."""
    variant, record = entry["variant"], run.record
    scores, config = record.get("scores") or {}, record.get("config") or {}
    parts = json.dumps([config.get("algo"), config.get("env")], sort_keys=True)
    steps, lanes = run.columns[schema.STEP], (config.get("algo") or {}).get("lanes", 1)
    finals = run.columns.get(schema.FINAL_RETURN, np.full(len(steps), np.nan))
    steps, finals, end = steps[~np.isnan(finals)], finals[~np.isnan(finals)], steps[-1:]
    return {
        "run_id": entry["run_id"],
        "study": study,
        "algo": entry["algo"],
        **{key: variant.get(key) for key in ("label", "kind", "base", "full", "component")},
        "on": json.dumps(variant.get("on") or []),
        "overrides": json.dumps(variant.get("overrides") or {}, sort_keys=True),
        "env": entry["env"],
        "seed": entry["seed"],
        "budget": entry["budget"],
        "lanes": lanes if isinstance(lanes, int) else 1,
        "protocol": record.get("protocol", entry["protocol"]),
        "code": record.get("code", ""),
        "config": hashlib.sha256(parts.encode()).hexdigest()[:10] if record else "",
        "state": run.state,
        "reason": run.reason,
        "fault": run.fault or _contradiction(entry, run),
        "random": _number(scores.get("random")),
        "reference": _number(scores.get("reference")),
        "lowest": _number(scores.get("lowest")),
        "highest": _number(scores.get("highest")),
        "final": float(finals[-1]) if len(finals) else np.nan,
        "scored_at": float(steps[-1]) if len(finals) and steps[-1] < end else np.nan,
    }


def _contradiction(entry: dict[str, Any], run: Run) -> str:
    """Return how the record of a finished run differs from its plan."""
    if run.state == schema.FINISHED:
        for key in ("run_id", "algo", "env", "seed", "budget", "variant"):
            if run.record.get(key) != entry[key]:
                return f"run.json and plan.json differ in {key}"
    return ""


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
