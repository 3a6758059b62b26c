"""One run folder, read as it is: what it says, and what is wrong with it."""

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmark import schema


class AnalysisError(ValueError):
    """Bad input; its text is one line for the user."""


@dataclass
class Run:
    """What a run folder holds. ``fault`` is empty where the rows can be trusted."""

    state: str
    reason: str
    record: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    frame: pd.DataFrame = field(default_factory=lambda: pd.DataFrame({schema.STEP: []}))
    fault: str = ""
    notes: list[str] = field(default_factory=list)


MISSING = "missing"  # planned, and never begun; not a state that a run writes


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises:
        AnalysisError: the file is absent, or does not hold one JSON object.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise AnalysisError(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        raise AnalysisError(f"{path}: unreadable ({error})") from None
    if not isinstance(content, dict):
        raise AnalysisError(f"{path}: holds no JSON object")
    return content


def read_run(folder: Path) -> Run:
    """Read ``runs/<run_id>``; never raises on a broken folder, but says what is broken."""
    if not folder.is_dir():
        return Run(MISSING, "no run folder")
    try:
        status = read_json(folder / "status.json")
    except AnalysisError as error:
        return Run(MISSING, "", fault=str(error).removeprefix(f"{folder}/"))
    state = str(status.get("state"))
    if state == schema.PLANNED:
        return Run(MISSING, "not begun", status=status)
    run = Run(state, _reason(status), status=status)
    if state not in schema.STATES:
        run.fault = f"status.json: unknown state {state!r}"
    try:
        run.record = read_json(folder / "run.json")
        run.frame = _read_rows(folder, state == schema.FINISHED, run.notes)
    except AnalysisError as error:
        run.fault = run.fault or str(error).removeprefix(f"{folder}/")
    return run


def _reason(status: dict[str, Any]) -> str:
    reason = str(status.get("reason") or "")
    if status.get("state") == schema.RUNNING and status.get("updated"):
        seen = datetime.fromtimestamp(float(status["updated"]), UTC)
        reason = f"last sign of life {seen:%Y-%m-%d %H:%M} UTC" + (reason and f"; {reason}")
    return reason


def _read_rows(folder: Path, finished: bool, notes: list[str]) -> pd.DataFrame:
    """Read the metrics; the lines are the truth, the columnar copy is used where it is as long."""
    lines, table = folder / "metrics.jsonl", folder / "metrics.parquet"
    if finished and table.exists():
        try:
            frame = pd.read_parquet(table)
            if not lines.exists() or lines.read_bytes().count(b"\n") == len(frame):
                return _tidy(frame, notes)
            notes.append("metrics.parquet and metrics.jsonl differ in length: the lines were read")
        except (OSError, ValueError) as error:
            notes.append(f"metrics.parquet is unreadable ({error}): the lines were read")
    if not lines.exists():
        return pd.DataFrame({schema.STEP: np.array([], np.int64)})
    return _tidy(pd.DataFrame(_read_lines(lines, notes)), notes)


def _read_lines(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Read one JSON object a line; a torn last line, all that a kill can leave, is left out."""
    *lines, tail = path.read_bytes().split(b"\n")
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except ValueError:
            raise AnalysisError(f"metrics.jsonl: line {number} is not JSON") from None
    if tail:
        try:
            rows.append(json.loads(tail))
        except ValueError:
            notes.append("metrics.jsonl: the torn last line was left out")
    if not all(isinstance(row, dict) for row in rows):
        raise AnalysisError("metrics.jsonl: a line holds no JSON object")
    return rows


def _tidy(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    """Check the steps and make every metric a float column."""
    if frame.empty:
        return pd.DataFrame({schema.STEP: np.array([], np.int64)})
    if schema.STEP not in frame or frame[schema.STEP].isna().any():
        raise AnalysisError(f"metrics: a row has no {schema.STEP}")
    try:
        frame = frame.astype({name: float for name in frame if name != schema.STEP})
        frame[schema.STEP] = frame[schema.STEP].astype(np.int64)
    except (TypeError, ValueError) as error:
        raise AnalysisError(f"metrics: a value is no number ({error})") from None
    steps = frame[schema.STEP].to_numpy()
    back = np.flatnonzero(np.diff(steps) < 0)
    if len(back):
        raise AnalysisError(f"metrics: row {back[0] + 2} goes back to step {steps[back[0] + 1]}")
    if len(np.unique(steps)) < len(steps):
        frame = _merge_equal_steps(frame, notes)
    return frame


def _merge_equal_steps(frame: pd.DataFrame, notes: list[str]) -> pd.DataFrame:
    groups = frame.groupby(schema.STEP, as_index=False)
    clash = groups.count().drop(columns=schema.STEP).max().gt(1)
    if clash.any():
        raise AnalysisError(f"metrics: one step has two values of {clash.idxmax()}")
    return groups.first()
