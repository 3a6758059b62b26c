"""Scores of runs: one number per run, normalised scores, and aggregates over environments.

A run has three scores. The final score is its ``final/return``. The area under the curve (AUC) is
the mean of its learning curve: the trapezoid sum from the first value to the last, divided by the
steps between them, so it has the unit of a return. The best snapshot is the highest point of its
learning curve.
"""

import re
from importlib.resources import files

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import FINAL_RETURN

from .. import stats
from ..errors import count, unknown
from ..load.data import Data
from .curves import points
from .sameness import Sameness

FINAL, AUC, BEST = "final", "auc", "best"
NAMES = {FINAL: "final score", AUC: "area under the curve", BEST: "best snapshot"}
REFERENCE, HUMAN, MIN_MAX = NORMALISERS = ("reference", "human", "min-max")
AGGREGATES = {
    "median": stats.median,
    "IQM": stats.iqm,
    "mean": stats.mean,
    "optimality gap": stats.optimality_gap,
}
PROFILE_REPETITIONS = 2_000
_FORM = f"{FINAL_RETURN}_"  # before a form of the policy: the score of evaluation.also
_COVERED = 0.9  # share of the budget that a curve must span for its area to count


def score_runs(data: Data, metric: str) -> pd.DataFrame:
    """Return the scored runs with final score, AUC and best snapshot.

    The AUC is NaN if the curve spans less than 90% of the budget. The best snapshot is biased
    upwards, because the same evaluations choose and score it. It serves only for comparison with
    published numbers of the same kind.
    """
    by_run = points(data, metric)
    frame = data.scored.copy()
    best = {run_id: values.max() for run_id, (_, values) in by_run.items()}
    frame[BEST] = frame.run_id.map(best).astype(float)
    budgets = zip(frame.run_id, frame.budget, strict=True)
    frame[AUC] = [_area(by_run.get(run_id), budget) for run_id, budget in budgets]
    empty = ~frame.run_id.isin(list(by_run))
    for runs, what in (
        (frame.run_id[empty], f"without a curve of {metric}"),
        (
            frame.run_id[frame[AUC].isna() & ~empty],
            f"whose {metric} spans less than {_COVERED:.0%} of the budget",
        ),
    ):
        if len(runs) and what.startswith("without") and len(runs) == len(frame):
            data.note(f"no AUC: no run has a curve of {metric}")
        elif len(runs):
            examples = ", ".join(runs[:5]) + (" ..." if len(runs) > 5 else "")
            data.note(f"no AUC for {count(len(runs), 'run')} {what}: {examples}")
    for note in Sameness(data).repeats():
        data.note(note)
    return frame


def _area(curve: tuple[stats.Array, stats.Array] | None, budget: int) -> float:
    if curve is None or not curve[0][-1] - curve[0][0] >= max(1, _COVERED * budget):
        return float("nan")
    steps, values = curve
    return float(np.trapezoid(values, steps) / (steps[-1] - steps[0]))


def name_of(metric: str) -> str:
    """Return the name of a score in tables."""
    return NAMES.get(metric) or f"final score, {metric.removeprefix(_FORM)} policy"


def with_forms(data: Data, scores: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return scores with those of ``evaluation.also``, and the names of these columns."""
    names = [name for name in map(str, data.metrics) if name.startswith(_FORM)]
    if not names:
        return scores, []
    last = data.metrics.groupby("run_id", observed=True)[names].last()
    found = last.reindex(scores.run_id)
    return scores.assign(**{name: found[name].to_numpy(float) for name in names}), names


def _human(scores: pd.DataFrame) -> tuple[stats.Array, stats.Array]:
    table = pd.read_csv(str(files(__package__) / "atari57.csv"), comment="#").set_index("game")
    games = scores.env.map(_game)
    return games.map(table.random).to_numpy(float), games.map(table.human).to_numpy(float)


def _game(env: str) -> str:
    """Return the name of an Atari game, without the prefixes and suffixes of environment ids."""
    name = re.sub(r"^(ale[/_]|atari_)|(noframeskip)?-v\d+$", "", env.lower())
    return name.replace("_", "").replace(" ", "")


def normalised(scores: pd.DataFrame, how: str = REFERENCE, metric: str = FINAL) -> pd.DataFrame:
    """Return the scores with ``metric`` normalised, of the environments where that is possible.

    Args:
        scores: from ``score_runs``.
        how: "reference" (0 is the random, 1 the reference score of the environment), "human" (the
            random and human scores of 57 Atari games in dqn_zoo), or "min-max" (0 is the lowest, 1
            the highest of all runs on the environment).
        metric: the score to normalise.

    Raises:
        AnalysisError: the normalisation does not exist.
    """
    if how not in NORMALISERS:
        raise unknown("normalise", how, NORMALISERS)
    if how == HUMAN:
        low, high = _human(scores)
    elif how == MIN_MAX:
        by_env = scores.groupby("env")[metric]
        low, high = (by_env.transform(end).to_numpy(float) for end in ("min", "max"))
    else:
        low, high = scores.random.to_numpy(float), scores.reference.to_numpy(float)
    valid = np.isfinite(low) & np.isfinite(high) & (low != high)
    with np.errstate(divide="ignore", invalid="ignore"):
        values = stats.normalise(scores[metric].to_numpy(float), low, high)
        ends = {
            end: stats.normalise(scores[end].to_numpy(float), low, high)
            for end in ("lowest", "highest")
        }
    return scores.assign(**{metric: values}, **ends)[valid]


def matrices(
    data: Data, scores: pd.DataFrame, how: str = REFERENCE
) -> dict[str, list[stats.Array]]:
    """Return normalised scores ``[runs]`` per environment, of labels with runs on all of them."""
    frame = normalised(scores, how)
    envs = [env for env in data.envs if env in set(frame.env)]
    out = {}
    for label in data.labels:
        mine = frame[frame.label == label]
        tasks = [mine.loc[mine.env == env, FINAL].to_numpy(float) for env in envs]
        if envs and all(len(task) for task in tasks):
            out[label] = tasks
        elif envs:
            data.note(f"{label} is not in the aggregate: it has no scored run on some environment")
    return out


def aggregates(data: Data, scores: pd.DataFrame, how: str = REFERENCE) -> pd.DataFrame:
    """Return median, IQM, mean and optimality gap of the normalised scores, with intervals.

    Columns ``label, statistic, value, low, high, n, environments, method``.
    """
    rows = []
    for label, tasks in matrices(data, scores, how).items():
        for name, statistic in AGGREGATES.items():
            e = stats.bootstrap(statistic, tasks)
            rows.append((label, name, e.value, e.low, e.high, min(e.n), len(tasks), e.method))
    columns = ["label", "statistic", "value", "low", "high", "n", "environments", "method"]
    return pd.DataFrame(rows, columns=columns)


def profiles(
    data: Data,
    scores: pd.DataFrame,
    above: stats.Array | None = None,
    how: str = REFERENCE,
) -> pd.DataFrame:
    """Return performance profiles: the share of runs above each normalised score.

    Columns ``label, above, share, low, high``; the intervals are a pointwise stratified bootstrap.
    """
    grid = np.linspace(0, 2, 21) if above is None else above
    rows, tails = [], [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
    for label, tasks in matrices(data, scores, how).items():
        rng = np.random.default_rng(stats.SEED)
        replicates = stats.profile(
            tasks, stats.resamples(rng, tasks, PROFILE_REPETITIONS), above=grid
        )
        low, high = np.quantile(replicates, tails, axis=-1)
        share = stats.profile(tasks, above=grid)
        columns = {"label": label, "above": grid, "share": share, "low": low, "high": high}
        rows.append(pd.DataFrame(columns))
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame()
