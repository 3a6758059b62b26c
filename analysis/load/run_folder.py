"""Read one run folder, and report what is wrong with it."""

import json
import zipfile
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from prism.benchmark.store import digests, reader, schema
from prism.benchmark.util.errors import ConfigError
from prism.benchmark.util.files import irregular

from ..errors import AnalysisError
from .frames import CPU, MISSING, WALL

Columns = dict[str, NDArray[Any]]  # global_step as int64, every metric as float64, NaN: no value
Arrays = dict[str, NDArray[Any]]
_EMPTY: Columns = {schema.STEP: np.array([], np.int64)}
# what a file that is not as Prism wrote it makes of reading it
_BAD = (OSError, ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError)


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
    """Read ``runs/<run_id>``; never raises. ``fault`` says what is broken, if anything is."""
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
    finished = state == schema.FINISHED
    if state not in schema.STATES:
        run.fault = f"status.json: unknown state {state!r}"
    try:
        run.record = read_json(folder / digests.RECORD)
        if finished and (why := digests.fault(folder, status, (digests.RECORD, digests.METRICS))):
            run.fault = why
        run.columns = _read_rows(folder, status if finished else None, run.notes)
    except AnalysisError as error:
        run.fault = run.fault or str(error).removeprefix(f"{folder}/")
    changed = digests.fault(folder, status, (digests.TIMING,)) if finished else ""
    if changed:
        run.notes.append(f"{changed}: no clock times")
    else:
        run.columns |= _read_timing(folder, run.columns[schema.STEP], run.notes)
    return run


def read_arrays(folder: Path) -> tuple[Arrays, str]:
    """Return what a run offers for pictures, if anything; and why that cannot be used."""
    try:
        status = read_json(folder / "status.json")
        if why := digests.fault(folder, status, (schema.ARRAYS,)):
            return {}, why
        if not (folder / schema.ARRAYS).exists():
            return {}, ""
        with np.load(folder / schema.ARRAYS, allow_pickle=False) as file:
            return dict(file), ""
    except (AnalysisError, zipfile.BadZipFile, zlib.error, EOFError, *_BAD) as error:
        return {}, f"{schema.ARRAYS} cannot be read ({error})"


def _read_timing(folder: Path, steps: NDArray[Any], notes: list[str]) -> Columns:
    """Return the clock's columns at ``steps``, seconds and rates; NaN where none was recorded."""
    try:
        lines = (folder / digests.TIMING).read_bytes().split(b"\n")[:-1]
        rows = json.loads(b"[" + b",".join(lines) + b"]")
        clock = {row.pop(schema.STEP): {f"time/{key}": x for key, x in row.items()} for row in rows}
        names = [WALL, CPU, *sorted(set().union(*clock.values()) - {WALL, CPU})]
        at = [clock.get(step, {}) for step in steps.tolist()]
        return {name: _numbers([row.get(name, np.nan) for row in at]) for name in names}
    except FileNotFoundError:
        return {}
    except _BAD:
        notes.append(f"{digests.TIMING} cannot be read: no clock times")
        return {}


def _reason(status: dict[str, Any]) -> str:
    reason = str(status.get("reason") or "")
    if status.get("state") == schema.RUNNING:
        with suppress(*_BAD):
            heartbeat = datetime.fromtimestamp(float(status["updated"]), UTC)
            reason = f"last update {heartbeat:%Y-%m-%d %H:%M} UTC" + (reason and f"; {reason}")
    return reason


def _read_rows(folder: Path, status: dict[str, Any] | None, notes: list[str]) -> Columns:
    """Read the metrics from the JSON lines, or from their Parquet copy where its digest is right.

    Args:
        folder: the run's folder.
        status: of a finished run, else None.
        notes: takes why the copy was not read.
    """
    lines, copy = folder / digests.METRICS, folder / digests.COPY
    if status is not None and digests.known(status):
        why = digests.fault(folder, status, (digests.COPY,))
        if not why:
            with suppress(OSError, pa.ArrowException):
                table = pq.ParquetFile(copy).read(use_threads=False)
                return tidy({name: table[name].to_numpy() for name in table.column_names})
        notes.append(f"{why or f'{copy.name} cannot be read'}: {lines.name} was read")
    if not lines.exists():
        return dict(_EMPTY)
    rows = _read_lines(lines, notes)
    names = dict.fromkeys(name for row in rows for name in row)
    return tidy({name: [row.get(name) for row in rows] for name in names})


def _read_lines(path: Path, notes: list[str]) -> list[dict[str, Any]]:
    """Read one JSON object per line, without an incomplete last line, which a kill can leave."""
    try:
        *lines, tail = path.read_bytes().split(b"\n")
    except OSError as error:
        raise AnalysisError(f"{path.name}: cannot be read ({error.strerror})") from None
    rows = []
    for number, line in enumerate(lines, 1):
        try:
            rows.append(json.loads(line))
        except (ValueError, RecursionError):
            raise AnalysisError(f"{path.name}: line {number} is not JSON") from None
    if tail:
        try:
            rows.append(json.loads(tail))
        except (ValueError, RecursionError):
            notes.append(f"{path.name}: the incomplete last line is ignored")
    if not all(isinstance(row, dict) for row in rows):
        raise AnalysisError(f"{path.name}: a line is not a JSON object")
    return rows


def _numbers(values: Any) -> NDArray[Any]:
    """Return numbers as float64, None as NaN.

    Raises:
        ValueError: a value is not a number; a text such as "-30" is none.
    """
    array = np.array(values, object if isinstance(values, list) else None)
    if array.dtype.kind == "O":
        for value in array:
            if value is not None and not isinstance(value, int | float):
                raise ValueError(f"{value!r:.40}")
    elif array.dtype.kind not in "biuf":
        raise ValueError(f"{array[0]!r:.40}")
    return array.astype(np.float64)


def tidy(columns: Mapping[str, Any]) -> Columns:
    """Convert columns to numeric arrays, check the steps, and merge rows of the same step."""
    try:
        arrays = {name: _numbers(values) for name, values in columns.items()}
    except _BAD as error:
        raise AnalysisError(f"metrics: a value is not a number ({error})") from None
    if not arrays:
        return dict(_EMPTY)
    if schema.STEP not in arrays or np.isnan(arrays[schema.STEP]).any():
        raise AnalysisError(f"metrics: a row has no {schema.STEP}")
    odd = (arrays[schema.STEP] % 1 != 0) | (abs(arrays[schema.STEP]) > 2**53)
    if odd.any():
        raise AnalysisError(f"metrics: step {arrays[schema.STEP][odd][0]} is not a whole number")
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
