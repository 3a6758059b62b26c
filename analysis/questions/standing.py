"""Agents over environments, without a scale: probability of improvement, and ranks.

Both need only the order of scores on each environment, so that no normalisation enters. Their
intervals come from the bootstrap over runs, stratified by label and environment.
"""

import numpy as np
import pandas as pd
from scipy.stats import rankdata

from .. import stats
from ..load.data import Data
from .design import best
from .scores import FINAL


def standing(
    data: Data, scores: pd.DataFrame, reference: str | None = None, metric: str = FINAL
) -> pd.DataFrame:
    """Return the mean rank of every label over environments, and how often it beats a reference.

    Args:
        data: the runs.
        scores: one row per scored run, from ``scores.score_runs``.
        reference: label to compare with; by default the one with the best mean rank, of those with
            about as many runs as any.
        metric: the score.

    Returns:
        One row per label with runs on all environments, best mean rank first: ``label,
        environments, n`` (fewest runs on one), ``rank, rank_low, rank_high`` (mean over
        environments of the rank of its mean; 1 is the best), ``first`` (share of resamples in which
        its mean rank is the best), ``reference, improvement, improvement_low, improvement_high``
        (probability that a run of the label scores more than a run of the reference, averaged over
        environments; ties count half).
    """
    cells = {key: x.dropna().to_numpy(float) for key, x in scores.groupby(["label", "env"])[metric]}
    envs = [env for env in data.envs if any(len(cells.get((x, env), ())) for x in data.labels)]
    groups = {
        label: [cells[label, env] for env in envs]
        for label in data.labels
        if envs and all(len(cells.get((label, env), ())) for env in envs)
    }
    for label in data.labels:
        if label not in groups:
            data.note(f"{label} has no rank: it has no scored run on some environment")
    if len(groups) < 2:
        return pd.DataFrame()
    labels = list(groups)
    value, draws = _ranks(list(groups.values()))
    tails = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
    lows, highs = np.quantile(draws, tails, axis=-1)
    leads = draws == draws.min(0)
    firsts = (leads / leads.sum(0)).mean(-1)
    runs = {label: min(map(len, tasks)) for label, tasks in groups.items()}
    reference = reference or best({x: -r for x, r in zip(labels, value, strict=True)}, runs)
    rows = []
    for i, label in enumerate(labels):
        chance = stats.Estimate(np.nan, np.nan, np.nan, (), "")
        if reference in groups and label != reference:
            chance = stats.bootstrap(
                stats.probability_of_improvement, groups[label], groups[reference]
            )
        rows.append(
            {"label": label, "environments": len(envs), "n": runs[label], "rank": value[i],
             "rank_low": lows[i], "rank_high": highs[i], "first": firsts[i],
             "reference": reference, "improvement": chance.value,
             "improvement_low": chance.low, "improvement_high": chance.high}
        )  # fmt: skip
    return pd.DataFrame(rows).sort_values("rank", kind="stable", ignore_index=True)


def _ranks(groups: list[list[stats.Array]]) -> tuple[stats.Array, stats.Array]:
    """Return the mean ranks ``[labels]`` and those of resamples ``[labels, repetitions]``."""
    rng = np.random.default_rng(stats.SEED)
    means = np.stack([stats.task_means(tasks) for tasks in groups])
    drawn = np.stack(
        [
            stats.task_means(tasks, stats.resamples(rng, tasks, stats.REPETITIONS))
            for tasks in groups
        ]
    )
    return rankdata(-means, axis=0).mean(1), rankdata(-drawn, axis=0).mean(1)
