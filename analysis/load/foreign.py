"""Map the names that other programs log to our columns.

=============  ====================================================================================
our column     read from the first that exists (a key of the query comes before all of them)
=============  ====================================================================================
global_step    ``global_step`` (CleanRL, SB3), ``time/total_timesteps`` (SB3), ``_step``
train/return   ``charts/episodic_return`` (CleanRL), ``rollout/ep_rew_mean`` (SB3),
               ``episode_return``
train/length   ``charts/episodic_length``, ``rollout/ep_len_mean``
eval/return    ``eval/mean_reward`` (SB3), ``charts/eval_episodic_return``
eval/length    ``eval/mean_ep_length`` (SB3)
label          config ``exp_name`` (CleanRL), ``algo``, ``algorithm``; else the name of the run
env            config ``env_id`` (CleanRL), ``env.id``, ``env``, ``env_name``
seed           config ``seed``
budget         config ``total_timesteps``, ``n_timesteps``; else the environment's longest run
=============  ====================================================================================

These runs have no final evaluation. Their final score is the mean of ``eval/return`` over the last
tenth of the budget, or the last value if there is none in it; without evaluations, the same of
``train/return``. Episodes and rollouts rarely end exactly at the budget: a finished run that ends
within 5% of its budget counts as complete.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError, count
from .frames import Frames, stack

COLUMNS = {
    schema.TRAIN_RETURN: ("charts/episodic_return", "rollout/ep_rew_mean", "episode_return"),
    schema.TRAIN_LENGTH: ("charts/episodic_length", "rollout/ep_len_mean"),
    schema.EVAL_RETURN: ("eval/mean_reward", "charts/eval_episodic_return"),
    schema.EVAL_LENGTH: ("eval/mean_ep_length",),
}
STEPS = (schema.STEP, "time/total_timesteps", "_step")
CONFIG = {
    "label": ("exp_name", "algo", "algorithm"),
    "env": ("env_id", "env.id", "env", "env_name"),
    "seed": ("seed",),
    "budget": ("total_timesteps", "n_timesteps"),
}
KEYS = (*CONFIG, "return", "length", "step")
_NEAR = 0.05  # of the budget
_TAIL = 0.1  # of the budget
_ASKED = {schema.TRAIN_RETURN: "return", schema.TRAIN_LENGTH: "length"}
_STATES = {"finished": schema.FINISHED, "running": schema.RUNNING}


@dataclass(frozen=True)
class LoggedRun:
    """A run as its tracker stores it; ``state`` is the tracker's word."""

    run_id: str
    name: str
    state: str
    config: Mapping[str, Any]
    history: pd.DataFrame


def frames(runs: Sequence[LoggedRun], study: str, mapping: Mapping[str, str], where: str) -> Frames:
    """Return the frames of runs that Prism did not log.

    Args:
        runs: the logged runs.
        study: name of their source.
        mapping: for any of ``KEYS``, the config key or the column to read.
        where: the place, for messages.

    Raises:
        AnalysisError: no column holds a return, or a run has no environment or seed.
    """
    rows: list[dict[str, Any]] = []
    columns: dict[str, dict[str, Any]] = {}
    notes = []
    for run in runs:
        row = {"run_id": run.run_id, "study": study, "state": _STATES.get(run.state, schema.FAILED)}
        row["reason"] = "" if run.state in _STATES else f"state in the tracker: {run.state}"
        for key in CONFIG:
            row[key] = _setting(run.config, key, mapping)
        row["label"] = row["label"] if isinstance(row["label"], str) else run.name
        for key in ("env", "seed"):
            if row[key] is None:
                raise AnalysisError(
                    f"{where}: the config of run {run.run_id} has no {key}; add "
                    f"{key}=<config key> to the query"
                )
        rows.append(row)
        columns[run.run_id] = _columns(run.history, mapping)
    if not any(len(series) > 1 for series in columns.values()):
        names = sorted({str(name) for run in runs for name in run.history if str(name)[0] != "_"})
        raise AnalysisError(
            f"{where}: no column is a known return; add return=<column> to the query; columns: "
            + ", ".join(names[:12])
        )
    table = pd.DataFrame(rows)
    ends = pd.Series({run_id: c[schema.STEP].max(initial=0) for run_id, c in columns.items()})
    longest = ends.groupby(table.env.to_numpy()).transform("max").reindex(table.run_id)
    table["budget"] = table.budget.astype(float).fillna(pd.Series(longest.to_numpy()))
    budgets = dict(zip(columns, table.budget.tolist(), strict=True))
    for name, state in zip(columns, table.state, strict=True):
        if state == schema.FINISHED:
            columns[name] = _end_at_budget(columns[name], int(budgets[name]))
    table["final"] = [_final(columns[name], budgets[name]) for name in columns]
    empty = [run.run_id for run in runs if len(columns[run.run_id]) < 2]
    if empty:
        notes.append(f"{where}: no return in {count(len(empty), 'run')}: {', '.join(empty[:5])}")
    notes.append(
        f"{where}: the final score of a run without a final evaluation is its mean return over "
        f"the last {_TAIL:.0%} of the budget"
    )
    return Frames(runs=table, metrics=stack(columns), notes=notes)


def _setting(config: Mapping[str, Any], key: str, mapping: Mapping[str, str]) -> Any:
    for name in (mapping[key],) if key in mapping else CONFIG[key]:
        value: Any = config.get(name)
        if value is None:
            value = config
            for part in name.split("."):
                value = value.get(part) if isinstance(value, Mapping) else None
        if isinstance(value, str | int | float):
            return value
    return None


def _columns(history: pd.DataFrame, mapping: Mapping[str, str]) -> dict[str, Any]:
    """Return our columns: one row per step, with the last value of each column at that step."""
    step = next((s for s in (mapping.get("step"), *STEPS) if s in history), None)
    if step is None:
        return {schema.STEP: np.array([], np.int64)}
    series = {}
    for ours, names in COLUMNS.items():
        override = mapping.get(_ASKED.get(ours, ""))
        name = next((n for n in (override, ours, *names) if n in history), None)
        if name is not None:
            series[ours] = history[name]
    table = pd.DataFrame(series).assign(**{schema.STEP: history[step]}).dropna(subset=[schema.STEP])
    if series:
        table = table.dropna(subset=list(series), how="all")
    last = table.groupby(schema.STEP, sort=True).last()
    return {schema.STEP: last.index.to_numpy().astype(np.int64)} | {
        name: last[name].to_numpy(np.float64) for name in series
    }


def _end_at_budget(columns: dict[str, Any], budget: int) -> dict[str, Any]:
    """Make a run that ends within 5% of its budget end exactly there."""
    steps = columns[schema.STEP]
    if not len(steps) or abs(int(steps[-1]) - budget) > _NEAR * budget:
        return columns
    inside = {name: values[steps <= budget] for name, values in columns.items()}
    if len(inside[schema.STEP]) and inside[schema.STEP][-1] == budget:
        return inside
    return {
        name: np.append(values, budget if name == schema.STEP else np.nan)
        for name, values in inside.items()
    }


def _final(columns: Mapping[str, Any], budget: float) -> float:
    steps = columns[schema.STEP]
    for metric in (schema.EVAL_RETURN, schema.TRAIN_RETURN):
        values = np.asarray(columns.get(metric, []), float)
        valid = ~np.isnan(values)
        if valid.any():
            tail = valid & (steps >= (1 - _TAIL) * budget)
            return float(values[tail].mean() if tail.any() else values[valid][-1])
    return np.nan
