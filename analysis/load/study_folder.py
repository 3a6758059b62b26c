"""Source: a study folder ``results/<study>``; every planned run is in it, also where it is missing.

It comes last in the list of sources: what no other source accepts is taken for a folder.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError, nearest
from .frames import Frames, stack
from .run_folder import Run, read_json, read_run

_PLANNED = ("run_id", "algo", "variant", "env", "seed", "budget", "protocol")


def accepts(where: str) -> bool:
    """Take everything: other sources were asked before."""
    return True


def read(where: str) -> Frames:
    """Read ``plan.json`` and every run folder that it names."""
    folder = Path(where)
    plan = _read_plan(folder)
    runs = {entry["run_id"]: read_run(folder / "runs" / entry["run_id"]) for entry in plan["runs"]}
    rows = [row(plan["study"], entry, runs[entry["run_id"]]) for entry in plan["runs"]]
    on_disk = sorted(path.name for path in (folder / "runs").glob("*") if path.is_dir())
    unplanned = [f"{folder.name}/{name}" for name in on_disk if name not in runs]
    notes = [f"{run_id}: {note}" for run_id, run in runs.items() for note in run.notes]
    if unplanned:
        notes.append(f"{len(unplanned)} run folders are not in the plan and enter nothing")
    return Frames(
        runs=pd.DataFrame(rows),
        metrics=stack({run_id: run.columns for run_id, run in runs.items()}),
        records={run_id: run.record for run_id, run in runs.items() if run.record},
        skipped=plan["skipped"],
        unplanned=unplanned,
        notes=notes,
    )


def _read_plan(folder: Path) -> dict[str, Any]:
    if not (folder / "plan.json").is_file():
        studies = sorted(path.parent.name for path in folder.parent.glob("*/plan.json"))
        hint = f"; studies there: {nearest(folder.name, studies)}" if studies else ""
        what = "holds no plan.json" if folder.is_dir() else "no such study folder"
        raise AnalysisError(f"{folder}: {what}{hint}")
    plan = read_json(folder / "plan.json")
    if plan.get("schema") != schema.SCHEMA_VERSION:
        raise AnalysisError(
            f"{folder}/plan.json has schema {plan.get('schema')!r}, "
            f"this version reads {schema.SCHEMA_VERSION}"
        )
    if not plan.get("runs"):
        raise AnalysisError(f"{folder}/plan.json plans no run")
    for number, run in enumerate(plan["runs"], 1):
        for key in _PLANNED:
            if key not in run:
                raise AnalysisError(f"{folder}/plan.json: run {number} has no {key}")
    return {"study": folder.name, "skipped": []} | plan


def row(study: str, entry: dict[str, Any], run: Run) -> dict[str, Any]:
    """Return the row of ``runs`` for one planned run of a study."""
    variant, record = entry["variant"], run.record
    scores, config = record.get("scores") or {}, record.get("config") or {}
    parts = json.dumps([config.get("algo"), config.get("env")], sort_keys=True)
    finals = run.columns.get(schema.FINAL_RETURN, np.array([]))
    finals = finals[~np.isnan(finals)]
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
        "protocol": record.get("protocol", entry["protocol"]),
        "code": record.get("code", ""),
        "config": hashlib.sha256(parts.encode()).hexdigest()[:10] if record else "",
        "state": run.state,
        "reason": run.reason,
        "fault": run.fault or _contradiction(entry, run),
        "random": _number(scores.get("random")),
        "reference": _number(scores.get("reference")),
        "final": float(finals[-1]) if len(finals) else np.nan,
    }


def _contradiction(entry: dict[str, Any], run: Run) -> str:
    """Say where the record of a run that wrote one is not what was planned."""
    if run.state == schema.FINISHED:
        for key in ("run_id", "algo", "env", "seed", "budget", "variant"):
            if run.record.get(key) != entry[key]:
                return f"run.json and plan.json differ in {key}"
    return ""


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)
