"""Source: arrays ``[runs, tasks]`` or ``[runs, tasks, steps]`` per label, in rliable's layout.

An ``.npz`` file holds one array per label, an ``.npy`` file one array, and its name is the label.
Files with Python objects are refused: to read them would run what they say. Optional arrays are
``tasks`` (names), ``steps`` (of the last axis), ``random`` and ``reference`` (one score per task).
NaN marks a missing value: a run
whose values for a task are all NaN is missing; a run whose last values are NaN ends before them.
"""

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from prism.benchmark.store import schema

from ..errors import AnalysisError
from .frames import MISSING, Frames, first_line

_EXTRA = ("tasks", "steps", "random", "reference")


def accepts(where: str) -> bool:
    """Accept ``.npz`` and ``.npy`` files."""
    return where.lower().endswith((".npz", ".npy")) and Path(where).is_file()


def read(where: str) -> Frames:
    """Read one file."""
    path = Path(where)
    notes = []
    try:
        file = np.load(path, allow_pickle=False)
        if isinstance(file, np.ndarray):
            content = {path.stem: file}
            notes = [f"{where}: one array without a label is called {path.stem}"]
        else:
            with file:
                content = dict(file)
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise AnalysisError(
                f"{where}: holds Python objects, which are not read; "
                "save the arrays with numpy.savez(path, **scores)"
            ) from None
        raise AnalysisError(f"{where}: cannot be read ({first_line(error)})") from None
    extra = {key: content.pop(key) for key in _EXTRA if key in content}
    frames = from_arrays(content, where, path.stem, **extra)
    frames.notes += notes
    return frames


def from_arrays(
    scores: Mapping[str, Any],
    where: str,
    study: str,
    *,
    tasks: Any = None,
    steps: Any = None,
    random: Any = None,
    reference: Any = None,
) -> Frames:
    """Return the frames of ``{label: [runs, tasks] or [runs, tasks, steps]}``.

    Raises:
        AnalysisError: the shapes of the arrays do not match each other or the names.
    """
    if not scores:
        raise AnalysisError(f"{where}: contains no array of scores")
    arrays = {str(label): _numbers(x, label, where) for label, x in scores.items()}
    shapes = {x.shape[1:] for x in arrays.values()}
    if len(shapes) > 1 or not 1 <= len(min(shapes)) <= 2:
        raise AnalysisError(f"{where}: every array must be [runs, tasks] or [runs, tasks, steps]")
    count, *length = next(iter(shapes))
    names = [f"task {i}" for i in range(count)] if tasks is None else [str(t) for t in tasks]
    grid = (
        np.arange(1, length[0] + 1)
        if steps is None and length
        else np.atleast_1d(_numbers(steps, "steps", where) if length else 0)
    )
    axes = {"tasks": (names, count), "steps": (grid, length[0] if length else 1)}
    axes |= {
        k: (v, count) for k, v in (("random", random), ("reference", reference)) if v is not None
    }
    for key, (values, size) in axes.items():
        if len(values) != size:
            raise AnalysisError(f"{where}: {key} has {len(values)} entries, the arrays have {size}")
    ends = {
        key: np.full(count, np.nan) if x is None else _numbers(x, key, where)
        for key, x in (("random", random), ("reference", reference))
    }
    rows, parts = [], []
    for label, x in arrays.items():
        for task, env in enumerate(names):
            for run, values in enumerate(x[:, task].reshape(len(x), -1)):
                run_id = re.sub(r"\s+", "-", f"{label}/{env}/{run}")
                valid = ~np.isnan(values)
                rows.append(
                    {"run_id": run_id, "study": study, "label": label, "env": env, "seed": run,
                     "budget": int(grid[-1]), "state": schema.FINISHED if valid.any() else MISSING,
                     "final": values[-1], **{key: ends[key][task] for key in ends}}
                )  # fmt: skip
                parts.append((run_id, grid[valid], values[valid]))
    metrics = _rows(parts)
    notes = _missing_names(where, tasks is None, bool(length) and steps is None)
    return Frames(pd.DataFrame(rows), metrics, notes=notes)


def _rows(parts: list[tuple[str, NDArray[Any], NDArray[Any]]]) -> pd.DataFrame:
    sizes = [len(steps) for _, steps, _ in parts]
    owners = pd.Categorical.from_codes(
        np.repeat(np.arange(len(parts)), sizes), pd.Index([p[0] for p in parts])
    )
    return pd.DataFrame(
        {
            "run_id": owners,
            schema.STEP: np.concatenate([p[1] for p in parts]).astype(np.int64),
            schema.EVAL_RETURN: np.concatenate([p[2] for p in parts]),
        }
    )


def _missing_names(where: str, tasks: bool, steps: bool) -> list[str]:
    notes = [f"{where}: the environments have no names (tasks): they are numbered"] * tasks
    why = "it counts values, not environment steps"
    return notes + [f"{where}: the last axis has no steps: {why}"] * steps


def _numbers(values: Any, name: str, where: str) -> NDArray[np.float64]:
    try:
        numbers = np.asarray(values, float)
    except (TypeError, ValueError):
        raise AnalysisError(f"{where}: {name} holds a value that is not a number") from None
    if not numbers.size:
        raise AnalysisError(f"{where}: {name} is empty")
    return numbers
