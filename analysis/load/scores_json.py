"""Source: scores in JSON, in the layouts of rliable, Dopamine and marl-eval.

=========  =======================================================================================
rliable    ``{label: [runs, tasks] or [runs, tasks, steps]}``, read as ``arrays.py`` reads arrays
Dopamine   ``[{"Agent", "Game", "Iteration", "Value"}, ...]``; the n-th record of an iteration is of
           the n-th run. An iteration is not an environment step
marl-eval  ``{suite: {task: {algorithm: {run: {"step_0": {"step_count", "return"}, ...,
           "absolute_metrics": {"return"}}}}}}``; the absolute metric is the final score
=========  =======================================================================================
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError
from . import foreign
from .arrays import from_arrays
from .frames import Frames, first_line
from .table import from_frame

_RECORD = ("Agent", "Game", "Iteration", "Value")
_ABSOLUTE, _RETURNS = "absolute_metrics", ("return", "mean_episode_return", "episode_return")


def accepts(where: str) -> bool:
    """Accept JSON files."""
    return where.lower().endswith(".json") and Path(where).is_file()


def read(where: str) -> Frames:
    """Read one file."""
    path = Path(where)
    try:
        content = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise AnalysisError(f"{where}: cannot be read ({first_line(error)})") from None
    try:
        if isinstance(content, list) and all(set(_RECORD) <= set(row) for row in content):
            return _dopamine(pd.DataFrame(content), where, path.stem)
        if isinstance(content, dict) and content:
            if all(isinstance(scores, list) for scores in content.values()):
                return from_arrays(content, where, path.stem)
            rows = pd.DataFrame(_marl_eval(content, path.stem))
            if len(rows):
                return from_frame(rows, where, path.stem)
    except (TypeError, KeyError, AttributeError, ValueError) as error:
        if isinstance(error, AnalysisError):
            raise
    raise AnalysisError(
        f"{where}: no scores in the layout of rliable ({{label: [runs, tasks]}}), Dopamine or "
        "marl-eval"
    )


def _dopamine(table: pd.DataFrame, where: str, study: str) -> Frames:
    table["run"] = table.groupby(list(_RECORD[:3])).cumcount()
    runs = []
    for (agent, game, run), rows in table.groupby(["Agent", "Game", "run"], sort=False):
        name = f"{agent}/{game}/{run}"
        history = rows[["Iteration", "Value"]].rename(columns={"Value": schema.TRAIN_RETURN})
        config = {"algo": str(agent), "env": str(game), "seed": run}
        note = "Dopamine's Value is the mean return of an iteration; runs have no seeds: numbered"
        runs.append(foreign.LoggedRun(name, name, "finished", config, history, (note,)))
    return foreign.frames(runs, study, {}, where)


def _marl_eval(content: Mapping[str, Any], study: str) -> Iterator[dict[str, Any]]:
    for tasks in content.values():
        for env, labels in tasks.items():
            for label, runs in labels.items():
                for seed, (name, steps) in enumerate(runs.items()):
                    row = {"label": label, "env": env, "run_id": f"{label}/{env}/{name}"}
                    digits = "".join(filter(str.isdigit, name))
                    row["seed"] = int(digits) if digits else seed
                    final = steps.get(_ABSOLUTE)
                    for entry in (x for key, x in steps.items() if key != _ABSOLUTE):
                        curve = {schema.STEP: entry["step_count"], schema.EVAL_RETURN: _mean(entry)}
                        yield row | curve | ({"final": _mean(final)} if final else {})


def _mean(entry: Mapping[str, Any]) -> float:
    return float(np.mean(next(entry[name] for name in _RETURNS if name in entry)))
