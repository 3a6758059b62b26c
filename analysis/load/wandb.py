"""Source: runs on Weights & Biases, ``wandb:entity/project?tag=...&group=...``.

The complete history is read, not a sample. A key of the query may occur several times, which means
"any of":

=========================  =========================================================================
tag, group, job_type,      select runs; ``config.env.id=CartPole-v1`` selects by any setting
state, name, id, config.*
label, env, seed, budget,  for runs that Prism did not log: the config key or the column to read, if
return, length, step       ``prism.analysis.load.foreign`` does not find it
=========================  =========================================================================

Runs that Prism logged contain their record and are read like a study folder. The plan of a study is
known after ``prism wandb-push results/<study>`` has sent it.

A run that has ended is cached as Parquet in the user's cache folder. The file name holds its id and
a hash of its creation time, last heartbeat and length, so a run that changes is read again.
"""

import hashlib
import json
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError, count, unknown
from . import foreign, study_folder
from .frames import MISSING, Frames, stack
from .run_folder import Run, tidy

SCHEME = "wandb:"
_FILTERS = {
    **{"tag": "tags", "group": "group", "job_type": "jobType", "state": "state"},
    **{"name": "display_name", "id": "name"},
}
_PAGE = 10_000  # steps per request; the server samples only beyond the rows of a page
_PAGES = 200  # largest number of requests per run, also if its steps are far apart
_THREADS = 8


def accepts(where: str) -> bool:
    """Accept ``wandb:...``."""
    return where.startswith(SCHEME)


def read(where: str) -> Frames:
    """Read the runs of a project that match the query."""
    path, _, query = where.removeprefix(SCHEME).partition("?")
    filters = parse_qs(query, keep_blank_values=True)
    mapping = {key: filters.pop(key)[0] for key in foreign.KEYS if key in filters}
    wandb_runs = _runs(
        path, {"$and": [_filter(key, values) for key, values in filters.items()]}, where
    )
    plans = [run for run in wandb_runs if run.job_type == "study"]
    wandb_runs = [run for run in wandb_runs if run not in plans]
    if not wandb_runs:
        raise AnalysisError(f"{where}: no run matches the query")
    with ThreadPoolExecutor(_THREADS) as pool:
        histories = list(pool.map(_history, wandb_runs))
    ours, others = [], []
    for run, history in zip(wandb_runs, histories, strict=True):
        record = _record(run)
        if record:
            ours.append((record, run, history))
        else:
            others.append((run, history))
    parts = [_ours(ours, [_plan(run) for run in plans])] if ours else []
    if others:
        runs = [foreign.LoggedRun(r.id, r.name, r.state, r.config, h) for r, h in others]
        parts.append(foreign.frames(runs, path, mapping, where))
    return _join(parts)


def _filter(key: str, values: list[str]) -> dict[str, Any]:
    choices: list[Any] = list(values)
    if key.startswith("config."):
        first, _, rest = key.removeprefix("config.").partition(".")
        name = ".".join(filter(None, ["config", first, "value", rest]))
        choices += [_number(value) for value in values]
    elif key in _FILTERS:
        name = _FILTERS[key]
    else:
        raise unknown("query key", key, [*_FILTERS, "config.*", *foreign.KEYS])
    return {name: {"$in": choices}}


def _number(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def _runs(path: str, filters: dict[str, Any], where: str) -> list[Any]:
    """Return the runs with their config and summary, in few requests."""
    import wandb
    from wandb.errors import Error

    try:
        wandb.setup(wandb.Settings(silent=True))
        if not wandb.login(prompt=False, verify=False):
            raise AnalysisError(f"{where}: not logged in to W&B; set WANDB_API_KEY")
        runs = wandb.Api(timeout=60).runs(
            path, filters if filters["$and"] else {}, per_page=500, lazy=False
        )
        return list(runs)
    except (Error, ValueError) as error:
        if isinstance(error, AnalysisError):
            raise
        raise AnalysisError(f"{where}: {' '.join(str(error).split())[:200]}") from None


def _history(run: Any) -> pd.DataFrame:
    """Return every row of a run; a run that has ended may come from the cache."""
    last = int((run.historyKeys or {}).get("lastStep", -1))
    state = (run.createdAt, run.heartbeatAt, last, run.historyLineCount)
    folder = _cache_folder() / run.entity / run.project
    cache = folder / f"{run.id}-{hashlib.sha256(repr(state).encode()).hexdigest()[:12]}.parquet"
    if run.state != "running" and cache.is_file():
        return pd.read_parquet(cache)
    page = max(_PAGE, -(-(last + 1) // _PAGES))
    rows = list(run.scan_history(page_size=page, use_cache=False)) if last >= 0 else []
    history = pd.DataFrame(rows, columns=None if rows else ["_step"])  # "NaN" arrives as text
    history = history.apply(pd.to_numeric, errors="coerce").astype(np.float64)
    history = history.dropna(axis="columns", how="all")
    history = history.sort_values("_step", kind="stable", ignore_index=True)
    if run.state != "running":
        folder.mkdir(parents=True, exist_ok=True)
        for old in folder.glob(f"{run.id}-{'?' * 12}.parquet"):
            old.unlink(missing_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, suffix=".tmp", delete=False) as file:
            history.to_parquet(file.name)
        Path(file.name).replace(cache)
    return history


def _cache_folder() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "prism" / "wandb"


def _record(run: Any) -> dict[str, Any] | None:
    """Return the ``run.json`` of a run that Prism logged."""
    try:
        record = json.loads(run.config["record"])
    except (KeyError, TypeError, ValueError):
        return None
    return record if isinstance(record, dict) and "run_id" in record else None


def _plan(run: Any) -> dict[str, Any]:
    """Return the ``plan.json`` of a study's own W&B run."""
    with tempfile.TemporaryDirectory() as folder:
        run.file("plan.json").download(root=folder, replace=True).close()
        plan: dict[str, Any] = json.loads((Path(folder) / "plan.json").read_text())
    return plan


def _ours(
    entries: list[tuple[dict[str, Any], Any, pd.DataFrame]], plans: list[dict[str, Any]]
) -> Frames:
    """Return the frames of runs that Prism logged, in the order of their plans."""
    notes, runs, records = [], {}, {}
    for record, run, history in entries:  # in order of creation: the last one counts
        run_id = record["run_id"]
        if run_id in runs:
            notes.append(f"{run_id}: W&B has this run several times; the last one counts")
        runs[run_id], records[run_id] = _run(record, run, history), record
    plan_entries: dict[str, tuple[str, Any]] = {
        item["run_id"]: (plan["study"], item) for plan in plans for item in plan["runs"]
    }
    unplanned = []
    for run_id, record in records.items():
        if run_id not in plan_entries:
            if record["study"] in {plan["study"] for plan in plans}:
                unplanned.append(f"{record['study']}/{run_id}")
            else:
                plan_entries[run_id] = (record["study"], record)
    for name in {r["study"] for r in records.values()} - {plan["study"] for plan in plans}:
        notes.append(
            f"the plan of {name} is not on W&B: runs that never started are not listed; "
            f"prism wandb-push results/{name} sends it"
        )
    if unplanned:
        notes.append(f"not in the plan and ignored: {count(len(unplanned), 'run')}")
    runs = {run_id: runs.get(run_id, Run(MISSING, "no wandb run")) for run_id in plan_entries}
    notes += [f"{run_id}: {note}" for run_id, run in runs.items() for note in run.notes]
    return Frames(
        runs=pd.DataFrame(
            [study_folder.row(*plan_entries[run_id], run) for run_id, run in runs.items()]
        ),
        metrics=stack({run_id: run.columns for run_id, run in runs.items()}),
        records={run_id: run.record for run_id, run in runs.items() if run.record},
        skipped=[pair for plan in plans for pair in plan["skipped"]],
        unplanned=unplanned,
        notes=notes,
        planned=True,
    )


def _run(record: dict[str, Any], wandb_run: Any, history: pd.DataFrame) -> Run:
    """Return a run as its folder would; ``fault`` says if W&B does not have all of it."""
    summary = wandb_run.summary
    end_state = summary.get("state")
    state = str(end_state or (schema.RUNNING if wandb_run.state == "running" else schema.FAILED))
    reason = str(summary.get("reason") or ("" if end_state else f"state on W&B: {wandb_run.state}"))
    run = Run(state, reason, record)
    table = history.drop(columns=[name for name in history if str(name).startswith("_")])
    if schema.STEP in table:
        last = table.drop_duplicates(schema.STEP, keep="last").sort_values(schema.STEP)
        if len(last) < len(table):
            run.notes.append(
                f"ignored: {count(len(table) - len(last), 'row')} with a later row of the same step"
            )
        try:
            run.columns = tidy({str(name): last[name].to_numpy() for name in last})
        except AnalysisError as error:
            run.fault = str(error)
    rows = len(run.columns[schema.STEP])
    if end_state and rows != summary.get("rows", rows):
        run.fault = run.fault or f"W&B has {rows} of its {summary['rows']} rows"
    if (wandb_run.historyLineCount or 0) > len(history):
        run.fault = run.fault or f"W&B returned {len(history)} of {wandb_run.historyLineCount} rows"
    return run


def _join(parts: list[Frames]) -> Frames:
    if len(parts) == 1:
        return parts[0]
    ours, others = parts
    order = [*ours.runs.run_id, *others.runs.run_id]
    metrics = pd.concat([part.metrics.astype({"run_id": str}) for part in parts], ignore_index=True)
    metrics["run_id"] = pd.Categorical(metrics.run_id, order)
    return Frames(
        runs=pd.concat([ours.runs, others.runs], ignore_index=True),
        metrics=metrics,
        records=ours.records | others.records,
        skipped=ours.skipped,
        unplanned=ours.unplanned,
        notes=[*ours.notes, *others.notes],
    )
