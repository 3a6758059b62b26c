"""W&B: the CSV files of a chart and of the table of runs."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from ..cells import layout, read_csv
from .files import Found

_CURVE = re.compile(r"(?P<run>.+) - (?P<metric>[^ ].*?)(?P<end>__MIN|__MAX)?")


def is_chart(path: Path) -> bool:
    """Return whether a file is the CSV of a chart."""
    if path.suffix.lower() != ".csv":
        return False
    axis, *curves = layout(path)[2] or [""]
    return bool(curves) and all(map(_CURVE.fullmatch, curves)) and not _CURVE.fullmatch(axis)


def chart(paths: Sequence[Path]) -> Iterator[Found]:
    """Read every run of a chart; the smallest and largest values of a point are left out."""
    frame, _ = read_csv(paths[0])
    axis, runs = str(frame.columns[0]), dict[str, dict[str, pd.Series]]()
    for column in map(str, frame.columns[1:]):
        match = _CURVE.fullmatch(column)
        if match and not match["end"]:
            runs.setdefault(match["run"], {})[match["metric"]] = frame[column]
    for name, curves in runs.items():
        table = pd.DataFrame({axis: frame[axis]} | curves).dropna(subset=list(curves), how="all")
        yield Found(table, {}, "__MIN and __MAX are left out", name)


def is_runs(path: Path) -> bool:
    """Return whether a file is the CSV of a table of runs."""
    return path.suffix.lower() == ".csv" and {"Name", "State", "Created"} <= set(layout(path)[2])


def runs(paths: Sequence[Path]) -> Iterator[Found]:
    """Read every run: its settings and its last values."""
    frame, _ = read_csv(paths[0])
    for row in frame.to_dict("records"):
        kept = {str(key): value for key, value in row.items() if value == value}
        yield Found(
            pd.DataFrame([kept]),
            kept,
            "the score of a run is the last value in the table of runs",
            str(kept.get("Name", "")),
            str(kept.get("State", "finished")),
        )
