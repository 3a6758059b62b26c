"""Source: offline W&B runs, ``path/to/run-abc.wandb`` or a folder of them, from any program.

The files are read with W&B's own reader, ``wandb leet inspect --json``; ``foreign.py`` maps their
names. A run without an exit record counts as failed, with the rows that it has.
"""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..errors import AnalysisError
from .foreign import LoggedRun, frames
from .frames import Frames


def accepts(where: str) -> bool:
    """Accept ``.wandb`` files, and folders that contain W&B's run folders."""
    path = Path(where)
    return (path.is_file() and where.endswith(".wandb")) or bool(_files(path))


def read(where: str) -> Frames:
    """Read every file."""
    path = Path(where)
    files = [path] if path.is_file() else _files(path)
    return frames([_read_file(file) for file in files], path.stem, {}, where)


def _files(folder: Path) -> list[Path]:
    return sorted([*folder.glob("run-*.wandb"), *folder.glob("*run-*/run-*.wandb")])


def _read_file(file: Path) -> LoggedRun:
    run: dict[str, Any] = {}
    rows, state = [], "no exit record"
    for record in _records(file):
        if record["type"] == "run":
            run = record["run"]
        elif record["type"] == "history":
            rows.append(record["history"]["item"])
        elif record["type"] == "exit":
            state = "failed" if record["exit"].get("exit_code") else "finished"
    config = (run.get("config") or {}).get("update") or {}
    name = run.get("run_id") or file.stem
    return LoggedRun(name, run.get("display_name") or name, state, config, pd.DataFrame(rows))


def _records(file: Path) -> Iterator[dict[str, Any]]:
    command = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(file)]
    process = subprocess.run(command, capture_output=True, text=True)
    if process.returncode:
        last = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise AnalysisError(f"{file}: wandb leet inspect: {last}")
    for line in process.stdout.splitlines():
        yield json.loads(line)
