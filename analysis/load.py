"""Study folders -> two tidy frames: every planned run is in them, none is dropped in silence."""

import difflib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from analysis.files import MISSING, AnalysisError, Columns, Run, read_json, read_run
from benchmark import schema

STATES = (schema.FINISHED, schema.FAILED, schema.INTERRUPTED, schema.RUNNING, MISSING)


@dataclass(frozen=True)
class Data:
    """What one or several studies hold.

    Attributes:
        studies: their names.
        folders: where they lie.
        runs: one row per planned run. ``excluded`` says why a run does not enter the scores, and is
            empty where it does; ``partial`` marks the runs that enter curves up to where they got.
        metrics: all rows of all runs, wide; keys ``run_id`` and ``global_step``.
        records: ``run.json`` by run id.
        skipped: incompatible pairs that the plan left out.
        unplanned: run folders that the plan does not name; they enter nothing.
        notes: what a reader of any number must know.
    """

    studies: tuple[str, ...]
    folders: tuple[Path, ...]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    records: dict[str, dict[str, Any]]
    skipped: list[schema.Skipped]
    unplanned: list[str]
    notes: list[str]

    @property
    def scored(self) -> pd.DataFrame:
        """The runs that enter the scores."""
        return self.runs[self.runs.excluded == ""]

    @property
    def envs(self) -> list[str]:
        """Environments in the order of the plan."""
        return list(dict.fromkeys(self.runs.env))

    @property
    def labels(self) -> list[str]:
        """Labels in the order of every table and figure: full, base, other presets, variants."""
        rank = {schema.PRESET: 2, schema.LEAVE_ONE_OUT: 3, schema.ADD_ONE_IN: 4, schema.SWEEP: 5}
        full, base = ({pair[i] for pair in self.families} for i in (1, 0))

        def key(row: Any) -> int:
            return 0 if row.label in full else 1 if row.label in base else rank.get(row.kind, 6)

        rows = self.runs.drop_duplicates("label").itertuples()
        return [str(row.label) for row in sorted(rows, key=key)]

    @property
    def families(self) -> list[tuple[str, str]]:
        """The (base, full) pairs whose components were taken out or put in."""
        kinds = self.runs.kind.isin([schema.LEAVE_ONE_OUT, schema.ADD_ONE_IN])
        return list(dict.fromkeys(zip(self.runs.base[kinds], self.runs.full[kinds], strict=True)))

    def counts(self) -> dict[str, int]:
        """Return how many runs were planned, and how many are in each state."""
        states = self.runs.state.value_counts()
        counts = {"planned": len(self.runs)} | {
            state: int(states.get(state, 0)) for state in STATES
        }
        counts |= {str(state): int(n) for state, n in states.items() if state not in counts}
        return counts | {"scored": len(self.scored)}

    def size(self, label: str, env: str) -> tuple[int, int]:
        """Return the runs of one cell that are scored, and those that were planned."""
        cell = self.runs[(self.runs.label == label) & (self.runs.env == env)]
        return int((cell.excluded == "").sum()), len(cell)


def load(
    paths: str | Path | Sequence[str | Path], *, partial: bool = False, force: bool = False
) -> Data:
    """Load study folders.

    Args:
        paths: one folder ``results/<study>``, or several.
        partial: let unfinished runs enter the curves up to where they got (never the scores).
        force: aggregate runs of different protocols or budgets all the same, with a note.

    Raises:
        AnalysisError: a folder is not a study, or its runs cannot be compared.
    """
    folders = [Path(path) for path in ([paths] if isinstance(paths, str | Path) else paths)]
    plans = [_read_plan(folder) for folder in folders]
    found: dict[str, tuple[dict[str, Any], Run]] = {}
    notes: list[str] = []
    unplanned: list[str] = []
    for folder, plan in zip(folders, plans, strict=True):
        for planned in plan["runs"]:
            run = read_run(folder / "runs" / planned["run_id"])
            known = found.get(planned["run_id"])
            if known:
                notes.append(f"{planned['run_id']} is in several studies; it counts once")
            if not known or (run.state == schema.FINISHED != known[1].state):
                found[planned["run_id"]] = (_row(plan["study"], planned, run), run)
        names = {planned["run_id"] for planned in plan["runs"]}
        on_disk = sorted(path.name for path in (folder / "runs").glob("*") if path.is_dir())
        unplanned += [f"{folder.name}/{name}" for name in on_disk if name not in names]
    for run_id, (_, run) in found.items():
        notes += [f"{run_id}: {note}" for note in run.notes]
    runs = pd.DataFrame([row for row, _ in found.values()])
    runs["partial"] = (runs["rows"] > 0) & (runs.excluded != "") & partial
    if unplanned:
        notes.append(f"{len(unplanned)} run folders are not in the plan and enter nothing")
    data = Data(
        studies=tuple(plan["study"] for plan in plans),
        folders=tuple(folders),
        runs=runs,
        metrics=_stack({run_id: run.columns for run_id, (_, run) in found.items()}),
        records={run_id: run.record for run_id, (_, run) in found.items() if run.record},
        skipped=[pair for plan in plans for pair in plan["skipped"]],
        unplanned=unplanned,
        notes=notes,
    )
    _check_comparable(data, force)
    return data


def _read_plan(folder: Path) -> dict[str, Any]:
    if not (folder / "plan.json").is_file():
        studies = [path.parent.name for path in folder.parent.glob("*/plan.json")]
        near = difflib.get_close_matches(folder.name, studies, 3, 0.4) or sorted(studies)[:5]
        hint = f"; studies there: {', '.join(near)}" if near else ""
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
    return {"study": folder.name, "skipped": []} | plan


def _row(study: str, planned: dict[str, Any], run: Run) -> dict[str, Any]:
    """Return the row of ``Data.runs`` for one planned run."""
    variant, record, steps = planned["variant"], run.record, run.columns[schema.STEP]
    finals = _finals(run)
    scores = record.get("scores") or {}
    return {
        "run_id": planned["run_id"],
        "study": study,
        "algo": planned["algo"],
        **{key: variant.get(key) for key in ("label", "kind", "base", "full", "component")},
        "overrides": json.dumps(variant.get("overrides") or {}, sort_keys=True),
        "env": planned["env"],
        "seed": planned["seed"],
        "budget": planned["budget"],
        "protocol": record.get("protocol", planned["protocol"]),
        "code": record.get("code", ""),
        "state": run.state,
        "reason": run.reason,
        "excluded": _why_excluded(planned, run),
        "global_step": int(steps[-1]) if len(steps) else 0,
        "rows": len(steps),
        "random": _number(scores.get("random")),
        "reference": _number(scores.get("reference")),
        "final": float(finals[-1]) if len(finals) else np.nan,
    }


def _finals(run: Run) -> NDArray[Any]:
    values = run.columns.get(schema.FINAL_RETURN, np.array([]))
    return values[~np.isnan(values)]


def _number(value: float | None) -> float:
    return np.nan if value is None else float(value)


def _why_excluded(planned: dict[str, Any], run: Run) -> str:
    """Say why a run does not enter the scores; nothing where it does."""
    if run.fault or run.state != schema.FINISHED:
        return "; ".join(filter(None, [run.state, run.reason, run.fault]))
    for key in ("run_id", "algo", "env", "seed", "budget", "variant"):
        if run.record.get(key) != planned[key]:
            return f"run.json and plan.json differ in {key}"
    steps, finals, budget = run.columns[schema.STEP], _finals(run), planned["budget"]
    if not len(finals):
        return f"finished without {schema.FINAL_RETURN}"
    if not np.isfinite(finals).all():
        return f"{schema.FINAL_RETURN} is not finite"
    if steps[-1] < budget:
        return f"finished, but its rows end at step {steps[-1]} of {budget}"
    if len(steps) > 1 and steps[-2] >= budget:
        return f"it has rows behind the end of its budget, up to step {steps[-1]} of {budget}"
    return ""


def _stack(runs: dict[str, Columns]) -> pd.DataFrame:
    """Concatenate the rows of all runs under one categorical ``run_id``."""
    lengths = [len(columns[schema.STEP]) for columns in runs.values()]
    names = dict.fromkeys(name for columns in runs.values() for name in columns)
    stacked = {
        name: np.concatenate(
            [
                columns.get(name, np.full(length, np.nan))
                for columns, length in zip(runs.values(), lengths, strict=True)
            ]
        )
        for name in names
    }
    owners = pd.Series(np.repeat(list(runs), lengths), dtype="category")
    return pd.DataFrame({"run_id": owners} | stacked)


def _check_comparable(data: Data, force: bool) -> None:
    """Refuse to average what cannot be compared, or note it where that is forced."""
    scored = data.scored
    problems = []
    for env, runs in scored.groupby("env", sort=False):
        for key in ("protocol", "budget"):
            values = sorted(map(str, runs[key].unique()))
            if len(values) > 1:
                problems.append(f"{env} has runs of {len(values)} {key}s ({', '.join(values)})")
    for cell, runs in scored.groupby(["label", "env", "seed"], sort=False):
        if len(runs) > 1:
            problems.append(f"{cell} has {len(runs)} runs ({', '.join(runs.run_id)})")
    problems += _mixed_configs(data)
    if problems and not force:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise AnalysisError(
            f"runs that cannot be compared: {problems[0]}{more}; --force mixes them"
        )
    data.notes.extend(f"forced: {problem}" for problem in problems)
    everything = data.runs[(data.runs.kind == schema.LEAVE_ONE_OUT) & data.runs.component.isna()]
    for row in everything.drop_duplicates("label").to_dict("records"):
        if row["overrides"] != "{}":
            also = row["overrides"]
            data.notes.append(f"{row['label']} is not {row['base']}: it differs in {also}")
    codes = sorted(scored.code.unique())
    if len(codes) > 1:
        data.notes.append(
            f"the runs were made by {len(codes)} versions of the code: {', '.join(codes)}"
        )
    references = scored.groupby("env", sort=False)[["random", "reference"]].nunique().max(axis=1)
    for env in references.index[references > 1]:
        data.notes.append(f"{env}: runs carry different random or reference scores")


def _mixed_configs(data: Data) -> Iterable[str]:
    """Name the cells whose runs were not made by one configuration."""
    for (label, env), runs in data.scored.groupby(["label", "env"], sort=False):
        configs = [data.records[run_id].get("config", {}) for run_id in runs.run_id]
        parts = [json.dumps([c.get("algo"), c.get("env")], sort_keys=True) for c in configs]
        if len(set(parts)) > 1:
            yield f"{label} on {env} has runs of {len(set(parts))} configurations"
