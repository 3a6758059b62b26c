"""What ``prism evaluate`` found, beside the run: ``runs/<run_id>/evaluations/<name>.json``."""

import hashlib
import re
from pathlib import Path
from typing import Any

from ..util.errors import ConfigError
from . import records
from .schema import WEIGHTS, evaluation_file

_NAME = re.compile(r"[\w.-]{1,100}")


def check_name(name: str) -> str:
    """Return the name of an evaluation if it may be one of a file.

    Raises:
        ConfigError: it may not.
    """
    if not _NAME.fullmatch(name) or name.startswith("."):
        raise ConfigError(f"--name={name!r}: take letters, digits, and . _ - between them")
    return name


def default_name(stream: str, episodes: int, seed: int | None, policy: str | None) -> str:
    """Return the name of an evaluation that has none: "new-100", "new-100-seed7-sampled"."""
    parts = [stream, str(episodes), None if seed is None else f"seed{seed}", policy]
    return "-".join(filter(None, parts))


def keep(run_dir: Path, name: str, found: dict[str, Any]) -> Path:
    """Write an evaluation beside its run, with the digest of its weights; return the file.

    Args:
        run_dir: the run's folder.
        name: of the evaluation.
        found: an ``Evaluation`` of schema.py without its name and weights.
    """
    weights = hashlib.sha256((run_dir / WEIGHTS).read_bytes()).hexdigest()
    path = run_dir / evaluation_file(name)
    records.write_json(path, {"name": name, "weights": weights, **found})
    return path
