"""A tracker: a text file beside the rows."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any


class Notebook:
    """Writes what it is told into ``notebook.txt`` of the run folder."""

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None:
        self.file = folder / "notebook.txt"
        self.status = "open"

    def _write(self, line: str) -> None:
        with self.file.open("a") as file:
            file.write(line + "\n")

    def begin(self, record: Mapping[str, Any], resume_at: int | None) -> None:
        """Note which run it is."""
        self._write(f"begin {record['algo']} {record['seed']}")

    def log(self, row: Mapping[str, Any]) -> None:
        """Note a step."""
        self._write(f"row {row['global_step']}")

    def finish(self, state: str, reason: str | None) -> None:
        """Note the end."""
        self._write(state)
        self.status = "closed"
