"""Map the names that other programs log to our columns.

=============  ====================================================================================
our column     read from the first that exists (a key of the query comes before all of them)
=============  ====================================================================================
global_step    ``STEPS``: columns that count environment steps. A tracker's own counter of rows does
               not: such runs have a score and no curve, and a note names the columns to choose from
<metric>       ``COLUMNS``: CleanRL's, Stable-Baselines3's and RLlib's names of returns and lengths
label          config ``exp_name`` (CleanRL), ``algo``, ``algorithm``; else the name of the run
env            config ``env_id`` (CleanRL), ``env.id``, ``env``, ``env_name``
seed           config ``seed``
budget         config ``total_timesteps``, ``n_timesteps``; else the environment's longest run
=============  ====================================================================================

These runs have no final evaluation. Their final score is the mean of ``eval/return`` over the last
tenth of the budget, or the last value if there is none in it; without evaluations, the same of
``train/return``. Episodes and rollouts rarely end exactly at the budget: a finished run that ends
within 5% of its budget counts as complete. Where no budget is known, every finished run does.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError, count
from .frames import Frames, stack

COLUMNS = {
    schema.TRAIN_RETURN: (
        *("charts/episodic_return", "rollout/ep_rew_mean", "episode_return"),  # CleanRL, SB3
        *("env_runners/episode_return_mean", "env_runners/episode_reward_mean"),  # RLlib
        *("episode_reward_mean", "sampler_results/episode_reward_mean"),
    ),
    schema.TRAIN_LENGTH: (
        *("charts/episodic_length", "rollout/ep_len_mean"),
        *("env_runners/episode_len_mean", "episode_len_mean"),
    ),
    schema.EVAL_RETURN: (
        *("eval/mean_reward", "charts/eval_episodic_return"),  # SB3, CleanRL
        *("evaluation/env_runners/episode_return_mean", "evaluation/episode_reward_mean"),  # RLlib
    ),
    schema.EVAL_LENGTH: ("eval/mean_ep_length",),
}
STEPS = (
    *(schema.STEP, "time/total_timesteps"),
    *("num_env_steps_sampled_lifetime", "timesteps_total", "num_env_steps_sampled"),  # RLlib
)
CONFIG = {
    "label": ("exp_name", "algo", "algorithm"),
    "env": ("env_id", "env.id", "env", "env_name"),
    "seed": ("seed",),
    "budget": ("total_timesteps", "n_timesteps"),
}
_RETURNS = {name for ours, names in COLUMNS.items() for name in (ours, *names)}
KEYS = (*CONFIG, "return", "length", "step")
_LISTED = 5  # runs that a note names
_NEAR = 0.05  # of the budget
_TAIL = 0.1  # of the budget
_ASKED = {schema.TRAIN_RETURN: "return", schema.TRAIN_LENGTH: "length"}
_STATES = {"finished": schema.FINISHED, "running": schema.RUNNING}


@dataclass(frozen=True)
class LoggedRun:
    """A run as its tracker or library stores it.

    Attributes:
        run_id: unique within the place.
        name: its name there.
        state: the tracker's word; "finished" where none is kept.
        config: its settings.
        history: its rows.
        notes: what was taken from its files.
    """

    run_id: str
    name: str
    state: str
    config: Mapping[str, Any]
    history: pd.DataFrame
    notes: tuple[str, ...] = ()


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
    rows = [_row(run, study, mapping, where) for run in runs]
    columns, taken = {}, []
    for run in runs:
        columns[run.run_id], names = _columns(run, mapping, where)
        taken.append(names)
    if not any(len(series) > 1 for series in columns.values()):
        raise AnalysisError(
            f"{where}: no column is a known return; add return=<column> to the query; columns: "
            + ", ".join(_logged(runs)[:12])
        )
    table = pd.DataFrame(rows)
    ends = pd.Series([float(c[schema.STEP].max(initial=0)) for c in columns.values()])
    planned = table.budget.astype(float)
    blind = pd.Series([schema.STEP not in names for names in taken])
    longest = ends.where(~blind, 0).groupby(table.env).transform("max")
    table["budget"] = planned.fillna(longest.where(~blind, 0))
    finals = []
    for i, run_id in enumerate(columns):
        budget, own = int(table.budget[i]), planned.fillna(ends)[i]
        if table.state[i] == schema.FINISHED and not blind[i]:
            near = _NEAR if planned.notna()[i] else 1.0
            columns[run_id] = _end_at_budget(columns[run_id], budget, near)
        finals.append(_final(columns[run_id], own))
        if blind[i]:
            columns[run_id] = {schema.STEP: np.array([budget], np.int64)}
    table["final"] = finals
    short = planned.isna() & ~blind & (ends < (1 - _NEAR) * longest)
    notes = [*_told(runs, taken), *_doubts(runs, table, blind, short)]
    notes.append(
        f"the final score of a run without a final evaluation is its mean return over "
        f"the last {_TAIL:.0%} of the budget"
    )
    return Frames(table, stack(columns), notes=[f"{where}: {note}" for note in notes])


def _row(run: LoggedRun, study: str, mapping: Mapping[str, str], where: str) -> dict[str, Any]:
    row = {"run_id": run.run_id, "study": study, "state": _STATES.get(run.state, schema.FAILED)}
    row["reason"] = "" if run.state in _STATES else f"state in the tracker: {run.state}"
    row |= {key: _setting(run.config, key, mapping) for key in CONFIG}
    row["label"] = row["label"] if isinstance(row["label"], str) else run.name
    for key in ("env", "seed"):
        if row[key] is None:
            raise AnalysisError(
                f"{where}: the config of run {run.run_id} has no {key}; add "
                f"{key}=<config key> to the query"
            )
    return row


def _logged(runs: Sequence[LoggedRun]) -> list[str]:
    return sorted({str(name) for run in runs for name in run.history if str(name)[0] != "_"})


def _told(runs: Sequence[LoggedRun], taken: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield what was taken from the files of the runs, and from which columns."""
    yield from dict.fromkeys(note for run in runs for note in run.notes)
    pairs = dict.fromkeys(pair for names in taken for pair in names.items() if pair[0] != pair[1])
    if pairs:
        yield ", ".join(f"{ours} is {theirs}" for ours, theirs in pairs)


def _doubts(
    runs: Sequence[LoggedRun], table: pd.DataFrame, blind: pd.Series, short: pd.Series
) -> Iterator[str]:
    """Yield which runs have no return or no axis, and which ended early without a known budget."""
    by_place = list(zip(runs, blind, short, strict=True))
    empty = list(table.run_id[table.final.isna()])
    if empty:
        yield f"no return in {count(len(empty), 'run')}: {', '.join(empty[:_LISTED])}"
    lost = [run for run, no_axis, _ in by_place if no_axis]
    if lost:
        names = list(dict.fromkeys(name for run in lost for name in _counters(run.history)))
        choice = f"; step=<column> takes one of {', '.join(names)}" if names else ""
        yield (
            f"no column is known to count environment steps: {count(len(lost), 'run')} with a "
            f"score and no curve{choice}"
        )
    early = [run.run_id for run, _, ends_early in by_place if ends_early]
    if early:
        yield (
            f"no budget is known, so runs count as whole that end before the longest of their "
            f"environment: {', '.join(early[:_LISTED])}"
        )


def _counters(history: pd.DataFrame) -> list[str]:
    """Return the columns that could be an axis: whole numbers that never fall."""
    numbers = history.select_dtypes("number").dropna(axis="columns", how="all")
    return [
        str(name)
        for name, column in numbers.items()
        if name not in _RETURNS
        and (values := column.dropna()).is_monotonic_increasing
        and values.nunique() > 1
        and (values % 1 == 0).all()
    ]


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


def _columns(
    run: LoggedRun, mapping: Mapping[str, str], where: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return our columns, one row per step with the last value at that step, and whose they are.

    Without a known axis the steps are the numbers of the rows.
    """
    history = run.history
    names = {schema.STEP: next((s for s in (mapping.get("step"), *STEPS) if s in history), None)}
    for ours, theirs in COLUMNS.items():
        asked = mapping.get(_ASKED.get(ours, ""))
        names[ours] = next((n for n in (asked, ours, *theirs) if n in history), None)
    taken = {ours: name for ours, name in names.items() if name is not None}
    try:
        table = pd.DataFrame({o: history[name].astype(float) for o, name in taken.items()})
    except (TypeError, ValueError):
        raise AnalysisError(f"{where}: {run.run_id}: a return or step is not a number") from None
    if schema.STEP not in table:
        table[schema.STEP] = np.arange(1, len(history) + 1)
    table = table.dropna(subset=[schema.STEP])
    if (~np.isfinite(table[schema.STEP]) | (table[schema.STEP] % 1 != 0)).any():
        raise AnalysisError(f"{where}: {run.run_id}: a step is not a whole number")
    series = [name for name in taken if name != schema.STEP]
    if series:
        table = table.dropna(subset=series, how="all")
    last = table.groupby(schema.STEP, sort=True).last()
    columns = {schema.STEP: last.index.to_numpy().astype(np.int64)}
    return columns | {name: last[name].to_numpy(np.float64) for name in series}, taken


def _end_at_budget(columns: dict[str, Any], budget: int, near: float) -> dict[str, Any]:
    """Make a run that ends near its budget, by a share of it, end exactly there."""
    steps = columns[schema.STEP]
    if not len(steps) or abs(int(steps[-1]) - budget) > near * budget:
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
