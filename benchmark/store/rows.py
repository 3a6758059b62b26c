"""The row files of a run folder: one flushed JSON line per row, and a Parquet copy at the end.

When ``write`` returns, the operating system has the line: a killed process loses no row and tears
at most the last one. Equal rows give equal bytes: ``global_step`` comes first, the other columns
in alphabetical order, floats in Python's shortest exact form.
"""

import json
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..util.files import regular
from .schema import STEP

Row = dict[str, Any]
_ALL = 2**63 - 1  # larger than any global_step


def plain(row: Mapping[str, Any]) -> Row:
    """Return ``row`` in the file's column order as ints, bools and floats; NaN and Inf become None.

    Values may be Python, numpy or torch scalars; anything else raises.
    """
    return {STEP: int(row[STEP])} | {key: _scalar(row[key]) for key in sorted(row) if key != STEP}


def _scalar(value: Any) -> float | int | None:
    value = value.item() if hasattr(value, "item") else value
    if value is None or isinstance(value, int):
        return value
    number = float(value)
    return number if math.isfinite(number) else None


class Rows:
    """Append-only writer of one ``.jsonl`` file; opening one again drops a torn last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("ab")
        self.truncate_to(_ALL)

    def write(self, row: Mapping[str, Any]) -> Row:
        """Append one row and flush it; return the stored form."""
        stored = plain(row)
        line = json.dumps(stored, allow_nan=False, separators=(",", ":")) + "\n"
        self._file.write(line.encode())
        self._file.flush()
        return stored

    def truncate_to(self, global_step: int) -> None:
        """Drop the rows after ``global_step``, where a resumed run continues."""
        keep = 0
        for end, row in _whole_rows(self.path):
            if row[STEP] > global_step:
                break
            keep = end
        os.ftruncate(self._file.fileno(), keep)

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._file.close()

    def finish(self) -> Path:
        """Close the file and write its rows as ``.parquet`` beside it, atomically.

        Columns: int64 ``global_step``, then float64 columns in alphabetical order.

        Raises:
            ValueError: a line has been damaged since it was written.
        """
        self.close()
        whole = list(_whole_rows(self.path))
        rows = [row for _, row in whole]
        if (whole[-1][0] if whole else 0) < self.path.stat().st_size:
            raise ValueError(f"line {len(rows) + 1} of {self.path} is damaged")
        names = sorted({name for row in rows for name in row} - {STEP})
        columns = {STEP: pa.array([row[STEP] for row in rows], pa.int64())}
        for name in names:
            values = [row.get(name) for row in rows]
            columns[name] = pa.array([v if v is None else float(v) for v in values], pa.float64())
        target = self.path.with_suffix(".parquet")
        partial = target.with_suffix(".parquet.tmp")
        pq.write_table(pa.table(columns), partial, compression="zstd")
        partial.replace(target)
        return target


def timed_rows(folder: Path) -> list[Row]:
    """Return a run folder's rows, each with its ``time/wall`` and ``time/cpu`` in seconds."""
    clock = {row[STEP]: row for row in read_rows(folder / "timing.jsonl")}
    return [row | timed(clock.get(row[STEP], {})) for row in read_rows(folder / "metrics.jsonl")]


def timed(times: Mapping[str, float]) -> Row:
    """Return the columns that a row of ``timing.jsonl`` adds to its row of metrics."""
    return {f"time/{key}": value for key, value in times.items() if key != STEP}


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a ``.jsonl`` file up to the first that is torn or broken."""
    if not path.exists():
        return []
    return [row for _, row in _whole_rows(path)]


def _whole_rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Yield each complete line's end offset and row, up to the first broken line."""
    end = 0
    with regular(path) as file:
        for line in file:
            if not line.endswith(b"\n"):
                return
            try:
                row = json.loads(line)
            except (ValueError, RecursionError):
                return
            if not isinstance(row, dict) or not isinstance(row.get(STEP), int):
                return
            end += len(line)
            yield end, row
