"""Text cells of CSV files: a spreadsheet runs what begins like a formula, so text never does.

A cell of text that begins with ``=``, ``+``, ``-``, ``@``, a tab, a carriage return or an
apostrophe has an apostrophe before it; reading a table takes it off. Numbers stay as they are.
"""

import re
from pathlib import Path
from typing import Any

import pandas as pd

_MARK = "'"
_BEGINS = re.compile(r"[=+\-@\t\r']")


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


def read_csv(path: Path) -> pd.DataFrame:
    """Return a CSV file as a frame; the marks of ``to_csv`` are taken off."""
    frame = pd.read_csv(path)
    for column in frame:
        if not pd.api.types.is_numeric_dtype(frame[column]):
            frame[column] = frame[column].map(_unmarked)
    return frame.rename(columns=_unmarked)


def _marked(value: Any) -> Any:
    return _MARK + value if isinstance(value, str) and _BEGINS.match(value) else value


def _unmarked(value: Any) -> Any:
    marked = isinstance(value, str) and value[:1] == _MARK and _BEGINS.match(value[1:])
    return value[1:] if marked else value
