"""Files that a finished run may send to W&B besides its rows: weights as artifacts, and a video.

The W&B run's summary holds the hash of each file, so that no file is sent twice.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..store import schema

_WEIGHTS = {"last": schema.WEIGHTS, "best": schema.BEST}  # alias -> file
_VIDEO = "video"  # key of the summary
KEYS = {f"{_VIDEO}/sha256", *(f"weights/{alias}" for alias in _WEIGHTS)}


def attached(folder: Path, tracking: Mapping[str, Any]) -> dict[str, str]:
    """Return the files to send from a run folder: their keys in the summary, and their SHA-256."""
    names = {f"{_VIDEO}/sha256": schema.VIDEO} if tracking.get("video") else {}
    if tracking.get("artifacts"):
        names |= {f"weights/{alias}": name for alias, name in _WEIGHTS.items()}
    return {
        key: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for key, name in names.items()
        if (folder / name).is_file()
    }


def send(run: Any, folder: Path, missing: Mapping[str, str], record: schema.RunRecord) -> None:
    """Add files to an open W&B run; online, wait until they are uploaded.

    Args:
        run: the W&B run.
        folder: the run folder. Keep the files in it: an offline run refers to them.
        missing: the entries of ``attached`` that W&B lacks.
        record: the contents of ``run.json``.
    """
    import wandb

    artifacts = []
    for alias, name in _WEIGHTS.items():
        if f"weights/{alias}" in missing:
            metadata = {"run_id": record["run_id"], "algo": record["algo"], "env": record["env"]}
            artifact = wandb.Artifact(f"{run.id[-120:]}-weights", "model", metadata=metadata)
            artifact.add_file(
                str(folder / name), schema.WEIGHTS, skip_cache=True, policy="immutable"
            )
            artifacts.append(run.log_artifact(artifact, aliases=[alias]))
    if f"{_VIDEO}/sha256" in missing:  # goes to the summary: a video belongs to no step
        video = wandb.Video(str(folder / schema.VIDEO), format="gif")
        run.summary.update({_VIDEO: video})
    for artifact in [] if run.offline else artifacts:
        artifact.wait()
