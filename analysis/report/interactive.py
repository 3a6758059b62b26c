"""The interactive curves of the page: their data as JSON, and the plotting library, compressed."""

import base64
import gzip
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.colors import to_hex

from prism.benchmark.store.schema import EVAL_RETURN, STEP, TRAIN_RETURN

from .. import stats
from ..load.data import Data
from ..load.frames import WALL
from ..questions import curves
from .links import run_anchor
from .style import Style, styles

_POINTS = 100_000  # points of single runs per page; with many runs, each has fewer
_MOST, _LEAST = 200, 20  # points per run


def pack(text: str) -> str:
    """Return a text, compressed with gzip, as base64; equal texts give equal bytes."""
    return base64.b64encode(gzip.compress(text.encode(), 9, mtime=0)).decode()


def library() -> str:
    """Return plotly.js, compressed from 5 MB to 2."""
    from plotly.offline import get_plotlyjs  # late: only a page needs it

    return pack(get_plotlyjs())


def curve_data(data: Data, front: Sequence[str]) -> dict[str, Any]:
    """Return styles, choices and curves: ``cells[metric][env][number of the label]``.

    ``front`` are the labels that are drawn in colour at first.
    """
    metrics = [name for name in (EVAL_RETURN, TRAIN_RETURN) if name in data.metrics]
    labels = {label: k for k, label in enumerate(data.labels)}
    points = int(np.clip(_POINTS / max(1, len(data.runs) * len(metrics)), _LEAST, _MOST))
    numbers = dict(zip(data.runs.run_id, range(len(data.runs)), strict=True))
    cells: dict[str, Any] = {}
    for metric in metrics:
        by_env: dict[str, Any] = cells.setdefault(metric, {})
        for axis, column in (("steps", STEP), ("clock", WALL)):
            frame = curves.learning_curves(data, metric, column)
            for (env, label), rows in frame.groupby(["env", "label"], sort=False):
                cell = by_env.setdefault(str(env), {}).setdefault(labels[str(label)], {"runs": []})
                cell[axis] = {"x": _list(rows.step), "n": rows.n.tolist()} | {
                    key: _list(rows[key]) for key in ("mean", "low", "high")
                }
        by_run, clock = curves.points(data, metric), curves.points(data, metric, WALL)
        for run in data.runs.to_dict("records"):
            run_id = str(run["run_id"])
            if run_id in by_run:
                steps, values = by_run[run_id]
                pick = np.unique(np.linspace(0, len(steps) - 1, points).round().astype(int))
                one: dict[str, Any] = {"id": run_id, "anchor": run_anchor(numbers[run_id])}
                one |= {"y": _list(values[pick]), "steps": _list(steps[pick])}
                if run_id in clock and len(clock[run_id][0]) == len(steps):
                    one["clock"] = _list(clock[run_id][0][pick])
                by_env[run["env"]][labels[run["label"]]]["runs"].append(one)
    return {
        "looks": [_look(label, look) for label, look in styles(data).items()],
        "front": [labels[label] for label in front],
        "metrics": {name: curves.CURVE_NAMES[name] for name in cells if cells[name]},
        "envs": [env for env in data.envs if any(env in by_run for by_run in cells.values())],
        "clock": any("clock" in c for m in cells.values() for e in m.values() for c in e.values()),
        "cells": cells,
    }


def _look(label: str, look: Style) -> dict[str, Any]:
    dash = "solid" if look.dash == "-" else "dash" if look.dash[1][0] > 2 else "dot"
    return {"label": label, "color": to_hex(look.color), "dash": dash, "width": look.width}


def _list(values: pd.Series | stats.Array) -> list[float | None]:
    """Return numbers with five significant digits; None for NaN."""
    return [None if not np.isfinite(x) else float(f"{x:.5g}") for x in np.asarray(values, float)]


def as_json(content: dict[str, Any]) -> str:
    """Return compact JSON."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False)
