"""RLlib: ``result.json``, a JSON object a line, and ``progress.csv``."""

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from ..cells import layout, read_csv
from .files import Found

_ITERATION = "training_iteration"
_CONFIG = ("env", "seed")


def is_result(path: Path) -> bool:
    """Return whether a file is a trial's log in JSON."""
    if path.name != "result.json":
        return False
    with path.open() as file:
        first = json.loads(file.readline())
    return isinstance(first, dict) and _ITERATION in first


def result(paths: Sequence[Path]) -> Found:
    """Read every line; nested names are joined by slashes."""
    lines = paths[0].read_text().splitlines()
    rows, notes = [], ""
    for number, line in enumerate(lines, 1):
        try:
            rows.append(dict(_flat(json.loads(line))))
        except ValueError:
            if number < len(lines):
                raise
            notes = "an incomplete last line is ignored"
    frame = pd.DataFrame(rows)
    config = frame.filter(regex="^config/").iloc[-1].to_dict()
    kept = [name for name in frame if not str(name).startswith("config/")]
    return Found(frame[kept], _settings(config, paths[0]), notes)


def is_progress(path: Path) -> bool:
    """Return whether a file is a trial's log as a table."""
    return path.suffix.lower() == ".csv" and _ITERATION in layout(path)[2]


def progress(paths: Sequence[Path]) -> Found:
    """Read the table, and the settings that it or ``params.json`` beside it holds."""
    frame, _ = read_csv(paths[0])
    config = frame.filter(regex="^config/").iloc[-1].to_dict() if len(frame) else {}
    return Found(frame, _settings(config, paths[0]))


def _settings(config: Mapping[Any, Any], path: Path) -> dict[str, Any]:
    found = {key: config.get(f"config/{key}") for key in _CONFIG}
    beside = path.with_name("params.json")
    if beside.is_file():
        content = json.loads(beside.read_text())
        if isinstance(content, dict):
            found = {key: content.get(key, value) for key, value in found.items()}
    return {key: value for key, value in found.items() if value is not None and value == value}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    if not isinstance(values, Mapping):
        raise ValueError("a line is no JSON object")
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}/")
        elif isinstance(value, int | float | str):
            yield f"{prefix}{key}", value
