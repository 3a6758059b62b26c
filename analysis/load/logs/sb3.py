"""Stable-Baselines3: ``evaluations.npz``, ``progress.csv`` and ``monitor.csv``."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..cells import layout, read_csv
from .files import Found

_KEYS = {"timesteps", "results"}


def is_evaluations(path: Path) -> bool:
    """Return whether a file holds the evaluations of ``EvalCallback``."""
    if path.suffix != ".npz":
        return False
    with np.load(path, allow_pickle=False) as file:
        return set(file) >= _KEYS


def evaluations(paths: Sequence[Path]) -> Found:
    """Read ``timesteps [E]`` and ``results [E, episodes]``."""
    with np.load(paths[0], allow_pickle=False) as file:
        steps, returns = (np.asarray(file[key], float) for key in ("timesteps", "results"))
        lengths = np.asarray(file["ep_lengths"], float) if "ep_lengths" in file else None
    columns = {schema.STEP: steps, schema.EVAL_RETURN: returns.reshape(len(steps), -1).mean(1)}
    if lengths is not None:
        columns[schema.EVAL_LENGTH] = lengths.reshape(len(steps), -1).mean(1)
    note = "eval/return is the mean over the episodes of results, at timesteps"
    return Found(pd.DataFrame(columns), {}, note)


def is_monitor(path: Path) -> bool:
    """Return whether a file is a log of ``Monitor``."""
    return path.name.lower().endswith("monitor.csv") and {"r", "l", "t"} <= set(
        layout(path, "#")[2]
    )


def monitors(paths: Sequence[Path]) -> Found:
    """Read the episodes of all environments of a run, in order of time."""
    parts = [read_csv(path, "#", ["r", "l", "t"])[0] for path in paths]
    episodes = pd.concat(parts).sort_values("t", kind="stable")
    columns = {
        schema.STEP: episodes.l.cumsum(),
        schema.TRAIN_RETURN: episodes.r,
        schema.TRAIN_LENGTH: episodes.l,
    }
    config: dict[str, Any] = {}
    for line in paths[0].read_text("utf-8-sig").splitlines()[:1]:
        header = json.loads(line[1:]) if line.startswith("#{") else {}
        config = {"env_id": header["env_id"]} if isinstance(header.get("env_id"), str) else {}
    note = "train/return is r, an episode a row; steps are the sum of the lengths l"
    return Found(pd.DataFrame(columns), config, note)


def is_progress(path: Path) -> bool:
    """Return whether a file is the table of SB3's logger."""
    return path.suffix.lower() == ".csv" and "time/total_timesteps" in layout(path)[2]


def progress(paths: Sequence[Path]) -> Found:
    """Read the table as it is."""
    return Found(read_csv(paths[0])[0], {})
