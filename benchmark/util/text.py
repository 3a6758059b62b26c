"""Formats words, durations and tables for people."""

import math
import re
from contextlib import suppress
from pathlib import Path
from typing import Any

from . import files

# What moves a terminal's cursor, gives it orders or reorders its text, but tabs and line ends.
_ORDERS = (
    r"\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"
    r"\ud800-\udfff\U000e0000-\U000e007f"
)
CONTROL = re.compile(rf"[\t\n{_ORDERS}]")
_ORDER = re.compile(f"[{_ORDERS}]")


def plain(text: str) -> str:
    """Return text in which control characters are written out, as ``\\x1b``."""
    return _ORDER.sub(_written, text)


def shown(text: str) -> str:
    """Return text as ``plain`` does, and in one line."""
    return CONTROL.sub(_written, text)


def _written(match: re.Match[str]) -> str:
    return ascii(match[0])[1:-1]


def plural(n: int, noun: str) -> str:
    """Return "1 seed" or "2 seeds"."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"


def table(rows: list[list[str]]) -> list[str]:
    """Return a table as lines: the first column left-aligned, the others right-aligned."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]


def rounded(value: Any) -> str:
    """Return a number with about four digits and no exponent, whole ones whole; others as text."""
    if not isinstance(value, float) or not math.isfinite(value):
        return "-" if value is None else str(value)
    digits = 3 - math.floor(math.log10(abs(value))) if value else 0
    return f"{value:.0f}" if value == round(value) else f"{value:.{max(0, digits)}f}"


def tail(path: Path, size: int = 4000) -> str:
    """Return the end of a text file, or "" if there is none."""
    with suppress(FileNotFoundError), files.regular(path) as file:
        file.seek(max(0, path.stat().st_size - size))
        return file.read().decode(errors="replace")
    return ""


def shorten(line: str, width: int = 100) -> str:
    """Return a line cut to ``width`` characters, ending in "..." if it was longer."""
    line = line.rstrip()
    return line if len(line) <= width else line[: width - 3].rstrip() + "..."
