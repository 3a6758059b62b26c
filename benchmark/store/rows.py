"""The row files of a run folder: one flushed JSON line per row, and a Parquet copy at the end.

When ``write`` returns, the operating system has the line: a killed process loses no row and tears
at most the last one. Equal rows give equal bytes: ``global_step`` comes first, the other columns
in alphabetical order, floats in Python's shortest exact form.
"""

import functools
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..util import atomic
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


class Changed(Exception):
    """A row file does not hold what its writer has written."""


class Rows:
    """Append-only writer of one ``.jsonl`` file, which it replaces by a copy of its own.

    A process that has the file open from before appends to what was replaced; see ``leases``.

    Args:
        path: the file; a torn last line is dropped.
        last: the rows after this ``global_step``, where a resumed run continues, are dropped too.

    Attributes:
        length: bytes of the rows that this writer has kept and written; crc: their checksum.
    """

    def __init__(self, path: Path, last: int = _ALL) -> None:
        self.path = path
        kept = _kept(path, last)
        atomic.write(path, kept)
        self._file = path.open("ab")
        self.length, self.crc = len(kept), zlib.crc32(kept)

    def write(self, row: Mapping[str, Any]) -> Row:
        """Append one row and flush it; return the stored form."""
        stored = plain(row)
        line = (json.dumps(stored, allow_nan=False, separators=(",", ":")) + "\n").encode()
        self._file.write(line)
        self._file.flush()
        self.length, self.crc = self.length + len(line), zlib.crc32(line, self.crc)
        return stored

    def close(self) -> None:
        """Close the file; closing twice is allowed."""
        self._file.close()

    def finish(self, lock: AbstractContextManager[None] | None = None) -> Path:
        """Close the file, read it again and write its rows as ``.parquet`` beside it, atomically.

        Columns: int64 ``global_step``, then float64 columns in alphabetical order.

        Args:
            lock: held while the new file takes its name.

        Raises:
            Changed: the file does not hold the rows that were written.
        """
        self.close()
        with self.path.open("rb") as file:
            crc = functools.reduce(lambda crc, line: zlib.crc32(line, crc), file, 0)
        if crc != self.crc:
            raise Changed(f"{self.path} does not hold the rows that were written to it")
        rows = read_rows(self.path)
        names = sorted({name for row in rows for name in row} - {STEP})
        columns = {STEP: pa.array([row[STEP] for row in rows], pa.int64())}
        for name in names:
            values = [row.get(name) for row in rows]
            columns[name] = pa.array([v if v is None else float(v) for v in values], pa.float64())
        target = self.path.with_suffix(".parquet")
        with atomic.replacement(target, lock) as partial:
            pq.write_table(pa.table(columns), partial, compression="zstd")
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


def _kept(path: Path, last: int) -> bytes:
    """Return the whole rows of a file up to a step."""
    keep = 0
    for end, row in _whole_rows(path) if path.exists() else ():
        if row[STEP] > last:
            break
        keep = end
    return path.read_bytes()[:keep] if keep else b""


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
