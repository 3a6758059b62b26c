"""Read one run folder, and report what is wrong with it."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from prism.benchmark.store import reader, schema
from prism.benchmark.util.errors import ConfigError
from prism.benchmark.util.files import irregular

from ..errors import AnalysisError
from .frames import CPU, MISSING, WALL

Columns = dict[str, NDArray[Any]]  # global_step as int64, every metric as float64, NaN: no value
_EMPTY: Columns = {schema.STEP: np.array([], np.int64)}


@dataclass
class Run:
    """The contents of a run folder. ``fault`` is empty if nothing is wrong with its rows."""

    state: str
    reason: str
    record: dict[str, Any] = field(default_factory=dict)
    status: dict[str, Any] = field(default_factory=dict)
    columns: Columns = field(default_factory=lambda: dict(_EMPTY))
    fault: str = ""
    notes: list[str] = field(default_factory=list)


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object, held to its type in ``schema.py``.

    Raises:
        AnalysisError: the file is missing, or does not hold what it should.
    """
    try:
        content: dict[str, Any] | None = reader.read(path)
    except ConfigError as error:
        raise AnalysisError(str(error)) from None
    except OSError as error:
        raise AnalysisError(f"{path}: cannot be read ({error.strerror})") from None
    if content is None:
        raise AnalysisError(f"{path}: no such file")
    return content


def read_run(folder: Path) -> Run:
    """Read ``runs/<run_id>``. A broken folder is not an error: ``fault`` says what is broken."""
    if not folder.is_dir():
        return Run(MISSING, "no run folder")
    if name := irregular(folder):
        return Run(MISSING, "", fault=f"{name} is not a regular file")
    try:
        status = read_json(folder / "status.json")
    except AnalysisError as error:
        return Run(MISSING, "", fault=str(error).removeprefix(f"{folder}/"))
    state = str(status.get("state"))
    if state == schema.PLANNED:
        return Run(MISSING, "not started", status=status)
    run = Run(state, _reason(status), status=status)
    if state not in schema.STATES:
        run.fault = f"status.json: unknown state {state!r}"
    try:
        run.record = read_json(folder / "run.json")
        run.columns = _read_rows(folder, state == schema.FINISHED, run.notes)
    except AnalysisError as error:
        run.fault = run.fault or str(error).removeprefix(f"{folder}/")
    run.fault = run.fault or _size_fault(folder / "metrics.jsonl", status)
    run.columns |= _read_timing(folder, run.columns[schema.STEP], run.notes)
    return run


def _size_fault(lines: Path, status: dict[str, Any]) -> str:
    """Return how the size of a finished run's rows differs from the size when it finished."""
    size_at_end = status.get("size")
    if status.get("state") != schema.FINISHED or not isinstance(size_at_end, int):
        return ""
    if not lines.exists():
        return f"{lines.name} is missing"
    size = lines.stat().st_size
    return (
        f"{lines.name} has {size} bytes; it had {size_at_end} when the run finished"
        if size != size_at_end
        else ""
    )


def _read_timing(folder: Path, steps: NDArray[Any], notes: list[str]) -> Columns:
    """Return the clock's columns at ``steps``, seconds and rates; NaN where none was recorded."""
    try:
        lines = (folder / "timing.jsonl").read_bytes().split(b"\n")[:-1]
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        clock = {row.pop(schema.STEP): {f"time/{key}": x for key, x in row.items()} for row in rows}
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, KeyError, TypeError):
        notes.append("timing.jsonl cannot be read: no clock times")
        return {}
    names = [WALL, CPU, *sorted(set().union(*clock.values()) - {WALL, CPU})]
    return {
        name: np.array([clock.get(step, {}).get(name, np.nan) for step in steps.tolist()], float)
        for name in names
    }


def _reason(status: dict[str, Any]) -> str:
    reason = str(status.get("reason") or "")
    if status.get("state") == schema.RUNNING and status.get("updated"):
        heartbeat = datetime.fromtimestamp(float(status["updated"]), UTC)
        reason = f"last update {heartbeat:%Y-%m-%d %H:%M} UTC" + (reason and f"; {reason}")
    return reason


def _read_rows(folder: Path, finished: bool, notes: list[str]) -> Columns:
    """Read the metrics from their Parquet copy if it is complete, else from the JSON lines."""
    lines, copy = folder / "metrics.jsonl", folder / "metrics.parquet"
    if finished and copy.exists():
        try:
            table = pq.ParquetFile(copy).read(use_threads=False)
            if not lines.exists() or lines.read_bytes().count(b"\n") == len(table):
                return tidy({name: table[name].to_numpy() for name in table.column_names})
            notes.append(
                "metrics.parquet and metrics.jsonl differ in length: metrics.jsonl was read"
            )
        except (OSError, pa.ArrowException) as error:
            notes.append(f"metrics.parquet cannot be read ({error}): metrics.jsonl was read")
    if not lines.exists():
        return dict(_EMPTY)
    rows = _read_lines(lines, notes)
    names = dict.fromkeys(name for row in rows for name in row)
    return tidy({name: [row.get(name) for row in rows] for name in names})


def _read_lines(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Read one JSON object per line, without an incomplete last line, which a kill can leave."""
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
            notes.append("metrics.jsonl: the incomplete last line is ignored")
    if not all(isinstance(row, dict) for row in rows):
        raise AnalysisError("metrics.jsonl: a line is not a JSON object")
    return rows


def tidy(columns: Mapping[str, Any]) -> Columns:
    """Convert columns to numeric arrays, check the steps, and merge rows of the same step."""
    try:
        arrays = {name: np.array(values, np.float64) for name, values in columns.items()}
    except (TypeError, ValueError) as error:
        raise AnalysisError(f"metrics: a value is not a number ({error})") from None
    if not arrays:
        return dict(_EMPTY)
    if schema.STEP not in arrays or np.isnan(arrays[schema.STEP]).any():
        raise AnalysisError(f"metrics: a row has no {schema.STEP}")
    steps = arrays[schema.STEP] = arrays[schema.STEP].astype(np.int64)
    back = np.flatnonzero(np.diff(steps) < 0)
    if len(back):
        raise AnalysisError(f"metrics: row {back[0] + 2} goes back to step {steps[back[0] + 1]}")
    return _merge_equal_steps(arrays)


def _merge_equal_steps(columns: Columns) -> Columns:
    steps, place = np.unique(columns[schema.STEP], return_inverse=True)
    if len(steps) == len(place):
        return columns
    result: Columns = {schema.STEP: steps}
    for name in columns.keys() - {schema.STEP}:
        valid = ~np.isnan(columns[name])
        if len(np.unique(place[valid])) < valid.sum():
            raise AnalysisError(f"metrics: a step has two values of {name}")
        result[name] = np.full(len(steps), np.nan)
        result[name][place[valid]] = columns[name][valid]
    return result
