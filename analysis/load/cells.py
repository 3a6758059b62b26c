"""Text cells of CSV files: a spreadsheet runs what begins like a formula, so text never does.

A cell of text that begins with ``=``, ``+``, ``-``, ``@``, a tab, a carriage return or an
apostrophe has an apostrophe before it; reading a table takes it off. Numbers stay as they are.
"""

import codecs
import csv
import gzip
import re
from collections.abc import Collection
from pathlib import Path
from typing import Any

import pandas as pd

_MARK = "'"
_BEGINS = re.compile(r"[=+\-@\t\r']")
_DECIMAL_COMMA = re.compile(r"(^|;)-?\d+,\d+(;|$)", re.MULTILINE)
_HEAD = 65_536  # bytes that tell a file's encoding and separator
_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
_FALLBACK = "cp1252"  # of files that are not UTF-8
_NO_NUMBER = (
    "",
    "-",
    "NA",
    "N/A",
    "n/a",
    "#N/A",
    "<NA>",
    "NaN",
    "nan",
    "-nan",
    "None",
    "null",
    "NULL",
)
# columns of names and states, where None, NA and nan are words and only an empty cell is none
NAMES = frozenset(
    [
        *("run_id", "label", "env", "algo", "base", "full", "component", "study", "kind", "on"),
        *("overrides", "state", "reason", "fault", "protocol", "code", "config", "differs"),
        *("env_id", "env.id", "env_name", "exp_name", "algorithm", "Name", "State", "ID"),
    ]
)
SEED = "seed"


def to_csv(frame: pd.DataFrame) -> str:
    """Return a frame as CSV, without its index."""
    safe = frame.rename(columns=_marked)
    for column, values in zip(safe, frame, strict=True):
        if not pd.api.types.is_numeric_dtype(frame[values]):
            safe[column] = frame[values].map(_marked)
    text = str(safe.to_csv(index=False, lineterminator="\n"))
    if "\r" in text:  # only as a part of the lines' ends is it quoted
        text = str(safe.to_csv(index=False, lineterminator="\r\n"))
    return text


def layout(path: Path, comment: str = "") -> tuple[str, str, list[str]]:
    """Return the encoding and the separator of a CSV file, and the names in its first line.

    Args:
        path: the file.
        comment: what a line before the names may begin with.

    Raises:
        OSError: the file cannot be read.
        ValueError: it holds no text.
    """
    head = _head(path)
    encoding = next((name for mark, name in _MARKS.items() if head.startswith(mark)), "utf-8")
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(head)
    except UnicodeDecodeError:
        encoding, text = _FALLBACK, head.decode(_FALLBACK, "replace")
    if "\0" in text:
        raise ValueError("no text")
    lines = text.splitlines()
    first = next((line for line in lines if not comment or not line.startswith(comment)), "")
    rows = {sep: next(csv.reader([first], delimiter=sep), []) for sep in ",;\t"}
    separator = max(rows, key=lambda sep: len(rows[sep]))
    return encoding, separator, [_unmarked(name) for name in rows[separator]]


def read_csv(
    path: Path, comment: str = "", columns: Collection[str] | None = None
) -> tuple[pd.DataFrame, list[str]]:
    """Return a CSV file as a frame, and notes of what was not plain; marks are taken off.

    Args:
        path: commas, semicolons or tabs; UTF-8, UTF-16 or, failing these, Windows-1252.
        comment: what a line that is left out begins with.
        columns: the columns to read; None: all.

    Raises:
        OSError, ValueError: the file cannot be read.
    """
    encoding, separator, _ = layout(path, comment)
    commas = separator == ";" and _DECIMAL_COMMA.search(_head(path).decode(encoding, "replace"))
    options = {"sep": separator, "decimal": "," if commas else ".", "comment": comment or None}
    try:
        frame = _parse(path, encoding, columns, options)
    except UnicodeDecodeError:
        encoding = _FALLBACK
        frame = _parse(path, encoding, columns, options)
    notes = ["read as Windows-1252, since it is not UTF-8"] if encoding == _FALLBACK else []
    if commas:
        notes.append("columns are separated by semicolons, decimals by commas")
    return frame, notes


def _head(path: Path) -> bytes:
    with gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb") as file:
        return bytes(file.read(_HEAD))


def _parse(
    path: Path, encoding: str, columns: Collection[str] | None, options: dict[str, Any]
) -> pd.DataFrame:
    names = [str(name) for name in pd.read_csv(path, encoding=encoding, nrows=0, **options)]
    texts = [name for name in names if _unmarked(name) in NAMES or _unmarked(name) == SEED]
    frame = pd.read_csv(
        path,
        encoding=encoding,
        dtype=dict.fromkeys(texts, str),
        keep_default_na=False,
        na_values={name: [""] if name in texts else list(_NO_NUMBER) for name in names},
        usecols=None if columns is None else [name for name in names if name in columns],
        low_memory=False,
        **options,
    )
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].map(_unmarked)
    frame = pd.DataFrame(frame.rename(columns=_unmarked))
    if SEED in frame:
        frame[SEED] = pd.Series(list(map(_number, frame[SEED])), frame.index, dtype=object)
    return frame


def _number(text: Any) -> Any:
    """Return a seed as the number it spells, exactly; another text as it is."""
    for kind in (int, float):
        try:
            return kind(text)
        except (TypeError, ValueError):
            continue
    return text


def _marked(value: Any) -> Any:
    return _MARK + value if isinstance(value, str) and _BEGINS.match(value) else value


def _unmarked(value: Any) -> Any:
    marked = isinstance(value, str) and value[:1] == _MARK and _BEGINS.match(value[1:])
    return value[1:] if marked else value
