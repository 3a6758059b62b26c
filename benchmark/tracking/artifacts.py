"""What a finished run may send to W&B beside its rows: weights as artifacts, a video.

The run's summary names each by its content, so that what is there is not sent again.
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
    """Return what a run folder has to send: what W&B calls it, and the hash of its content."""
    names = {f"{_VIDEO}/sha256": schema.VIDEO} if tracking.get("video") else {}
    if tracking.get("artifacts"):
        names |= {f"weights/{alias}": name for alias, name in _WEIGHTS.items()}
    return {
        key: hashlib.sha256((folder / name).read_bytes()).hexdigest()
        for key, name in names.items()
        if (folder / name).is_file()
    }


def send(run: Any, folder: Path, missing: Mapping[str, str], record: schema.RunRecord) -> None:
    """Add files to an open W&B run and, online, wait until they are there.

    Args:
        run: the W&B run; record: ``run.json``.
        folder: the run folder, in which the files stay: an offline run refers to them.
        missing: the part of ``attached`` that W&B lacks.
    """
    import wandb

    sent = []
    for alias, name in _WEIGHTS.items():
        if f"weights/{alias}" in missing:
            about = {"run_id": record["run_id"], "algo": record["algo"], "env": record["env"]}
            artifact = wandb.Artifact(f"{run.id[-120:]}-weights", "model", metadata=about)
            artifact.add_file(
                str(folder / name), schema.WEIGHTS, skip_cache=True, policy="immutable"
            )
            sent.append(run.log_artifact(artifact, aliases=[alias]))
    if f"{_VIDEO}/sha256" in missing:  # in the summary: a row would have no step
        video = wandb.Video(str(folder / schema.VIDEO), format="gif")
        run.summary.update({_VIDEO: video})
    for artifact in [] if run.offline else sent:
        artifact.wait()
