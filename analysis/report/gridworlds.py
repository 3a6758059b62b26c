"""Figures of tabular agents: values and greedy actions on a grid, error against exact values.

``benchmark/store/schema.py`` describes the arrays that a run writes to ``arrays/result.npz``.
"""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.ticker import EngFormatter

from prism.benchmark.store.schema import ERROR

from ..load.data import Data
from ..load.run_folder import Arrays, read_arrays
from ..questions.curves import learning_curves
from .style import Plot, Style, legend, panels


def figures(data: Data, look: dict[str, Style]) -> Iterator[Plot]:
    """Yield a figure per environment that is a grid, and the error over time if it was logged."""
    for env in data.envs:
        arrays = {label: _arrays(data, env, label) for label in data.labels}
        by_label = {label: runs for label, runs in arrays.items() if runs}
        if by_label:
            yield _values(env, by_label)
    if ERROR in data.metrics and data.metrics[ERROR].notna().any():
        yield _errors(data, learning_curves(data, ERROR), look)


def _arrays(data: Data, env: str, label: str) -> list[Arrays]:
    """Return the arrays of a label's scored runs, if the states of the environment are a grid."""
    runs = data.scored[(data.scored.env == env) & (data.scored.label == label)].run_id
    out = []
    for run_id in runs:
        folders = [Path(folder) / "runs" / run_id for folder in data.folders]
        for folder in [folder for folder in folders if folder.is_dir()][:1]:
            arrays, why = read_arrays(folder)
            if why:
                data.note(f"{run_id}: {why}: it is in no figure of values")
            elif _is_grid(arrays):
                out.append(arrays)
    return out


def _is_grid(arrays: Arrays) -> bool:
    """Return whether arrays are of a grid, in the shapes that ``schema.ARRAYS`` tells."""
    names = ("q", "grid", "moves", "reachable")
    if not all(name in arrays and arrays[name].dtype.kind in "biuf" for name in names):
        return False
    q, grid, moves, reachable = (arrays[name] for name in names)
    flat = q.ndim == 2 and q.size > 0 and grid.shape == (2,) and moves.shape[1:] == (2,)
    return flat and len(q) == math.prod(grid.tolist()) and reachable.shape == (len(q),)


def _values(env: str, by_label: dict[str, list[Arrays]]) -> Plot:
    """Draw max_a q as colour and the greedy action as an arrow, from means over runs."""
    figure, axes = panels(len(by_label), height=1.7)
    means = {label: np.mean([_v(run) for run in runs], axis=0) for label, runs in by_label.items()}
    values = np.concatenate([v[np.isfinite(v)] for v in means.values()])
    low, high = (float(x) for x in (values.min(), values.max()))
    for axis, (label, runs) in zip(axes, by_label.items(), strict=True):
        rows, columns = (int(n) for n in runs[0]["grid"])
        image = axis.imshow(
            means[label].reshape(rows, columns), cmap="viridis", vmin=low, vmax=high
        )
        _arrows(axis, runs, (rows, columns))
        axis.set_title(label, loc="left")
        axis.set_xticks([])
        axis.set_yticks([])
        axis.grid(False)
        axis.spines[:].set_visible(False)
    figure.colorbar(image, ax=axes, shrink=0.6, label="value")
    counts = sorted({len(runs) for runs in by_label.values()})
    n = str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"
    caption = (
        f"Values learned on {env}: the largest action value of each state, mean over n = {n} runs. "
        "Arrows: the greedy action of the mean values. States without an action are blank."
    )
    return Plot(f"values-{env}", figure, caption)


def _v(run: Arrays) -> np.ndarray:
    """Return the largest action value of each state, NaN if it has no action."""
    return np.where(run["reachable"] > 0, run["q"].max(-1), np.nan)


def _arrows(axis, runs: list[Arrays], shape: tuple[int, int]) -> None:
    q, moves = np.mean([run["q"] for run in runs], axis=0), runs[0]["moves"]
    if q.shape[1] != len(moves):
        return  # state values have no greedy action
    open_ = np.flatnonzero(runs[0]["reachable"] > 0)
    best = moves[q[open_].argmax(-1)]
    row, column = np.divmod(open_, shape[1])
    axis.quiver(
        *(column, row, best[:, 1], best[:, 0]),
        **{"angles": "xy", "scale_units": "xy", "scale": 1.6, "pivot": "mid", "color": "white"},
        **{"width": 0.009, "headwidth": 3.5},
    )


def _errors(data: Data, frame: pd.DataFrame, look: dict[str, Style]) -> Plot:
    """Draw the error against the exact values over steps, one panel per environment."""
    envs = [env for env in data.envs if (frame.env == env).any()]
    figure, axes = panels(len(envs), height=3.4 if len(envs) == 1 else 2.2)
    for axis, env in zip(axes, envs, strict=True):
        for label in data.labels:
            rows = frame[(frame.env == env) & (frame.label == label)]
            if rows.empty:
                continue
            style = look[label]
            axis.plot(
                *(rows.step, rows["mean"].clip(lower=1e-8)),
                **{"color": style.color, "ls": style.dash, "lw": style.width, "label": label},
            )
        axis.set_yscale("log")
        axis.set_title(env, loc="left")
        axis.set_xlabel("environment steps")
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
    axes[0].set_ylabel("error")
    legend(figure, len(axes))
    caption = (
        "Root mean square error of the learned values over the reachable states, mean over runs, "
        "on a logarithmic axis. The exact values are those of the optimal policy, or for "
        "prediction those of the uniform policy. One step of a planner is the backup of one state. "
        "Intervals are not drawn."
    )
    return Plot("error-over-time", figure, caption)
