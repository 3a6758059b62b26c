"""Learning curves of runs, per environment and over environments; nothing is stretched.

The runs of a cell (a label on an environment) are put on common steps. Between two of its values a
run is interpolated linearly; before its first and after its last value it has none.
"""

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import EVAL_RETURN, STEP, TRAIN_RETURN

from .. import stats
from ..load.data import Data
from ..load.frames import WALL

AXES = {"steps": STEP, "wall-clock": WALL}
CURVE_NAMES = {
    EVAL_RETURN: "evaluation return (raw reward)",
    TRAIN_RETURN: "training return (raw reward)",
}
THRESHOLDS = (0.2, 0.5, 1.0, 2.0)  # shares of the reference score, as in Rainbow's Figure 2
CURVE_REPETITIONS = 500
CURVE_POINTS = 50

Points = dict[str, tuple[stats.Array, stats.Array]]


def curve_metric(data: Data) -> str:
    """Return the metric of the learning curves: evaluation return or training return.

    Evaluation return is used if most scored runs have two values of it, or at least as many runs as
    have two values of the training return.
    """
    runs = data.scored.run_id
    counts = {metric: _count(data, metric, runs) for metric in CURVE_NAMES}
    majority = counts[EVAL_RETURN] > len(runs) / 2
    return EVAL_RETURN if majority or counts[EVAL_RETURN] >= counts[TRAIN_RETURN] else TRAIN_RETURN


def _count(data: Data, metric: str, run_ids: pd.Series) -> int:
    """Return how many of the given runs have two values of a metric."""
    if metric not in data.metrics:
        return 0
    values = data.metrics.groupby("run_id", observed=False)[metric].count()
    return int((values.reindex(run_ids) >= 2).sum())


def points(data: Data, metric: str, axis: str = STEP) -> Points:
    """Return (steps, values) of every run in the curves that has two values of the metric.

    With ``axis="time/wall"``, steps are seconds since the job of the run started.
    """
    runs = data.runs[(data.runs.excluded == "") | data.runs.partial]
    if metric not in data.metrics or axis not in data.metrics:
        return {}
    rows = data.metrics[["run_id", axis, metric]].dropna()
    rows = rows[rows.run_id.isin(runs.run_id)]
    return {
        str(run_id): (run[axis].to_numpy(float), run[metric].to_numpy(float))
        for run_id, run in rows.groupby("run_id", observed=True)
        if len(run) > 1
    }


def align(curves: list[tuple[stats.Array, stats.Array]], grid: stats.Array) -> stats.Array:
    """Return ``[runs, grid]``: runs interpolated between their rows, NaN before and after them."""
    return np.stack([np.interp(grid, *curve, left=np.nan, right=np.nan) for curve in curves])


def _grid(curves: list[tuple[stats.Array, stats.Array]]) -> stats.Array:
    """Return the longest run's steps, or as many evenly spaced ones if other runs have others."""
    longest = max(curves, key=lambda curve: len(curve[0]))[0]
    if all(np.isin(steps, longest).all() for steps, _ in curves):
        return longest
    ends = np.concatenate([steps[[0, -1]] for steps, _ in curves])
    return np.linspace(ends.min(), ends.max(), len(longest))


def learning_curves(data: Data, metric: str, axis: str = STEP) -> pd.DataFrame:
    """Return mean, t-interval and n per environment, label and step.

    Columns ``env, label, step, mean, low, high, n``. The limits are NaN at steps with fewer than
    three runs. ``step`` is in seconds if ``axis`` is
    "time/wall".
    """
    by_run, parts = points(data, metric, axis), []
    for cell, runs in data.runs.groupby(["env", "label"], sort=False):
        curves = [by_run[run_id] for run_id in runs.run_id if run_id in by_run]
        if not curves:
            continue
        grid = _grid(curves)
        centre, low, high, n = stats.band(align(curves, grid).T)
        env, label = cell
        low, high = stats.cut(low, high, data.bounds[str(env)])
        columns = {"env": env, "label": label, "step": grid}
        columns |= {"mean": centre, "low": low, "high": high, "n": n}
        parts.append(pd.DataFrame(columns)[n > 0])
    order = ["env", "label", "step", "mean", "low", "high", "n"]
    return pd.concat(parts, ignore_index=True)[order] if parts else pd.DataFrame(columns=order)


def normalised_curves(data: Data, metric: str) -> tuple[stats.Array, dict[str, list[stats.Array]]]:
    """Return shares of the budget ``[G]``, and per label one array ``[runs, G]`` per environment.

    Only scored runs enter, on environments with a random and a reference score. A label must have a
    run on each of these environments. Both are empty with fewer than two such environments. What is
    left out is noted.
    """
    by_run, scored = points(data, metric), data.scored
    rows = scored[scored.random.notna() & scored.reference.notna()]
    envs = list(dict.fromkeys(rows.env))
    if len(envs) < 2:
        return np.array([]), {}
    left_out = [env for env in data.envs if env not in envs]
    if left_out:
        data.note(f"not in the aggregate, without reference scores: {', '.join(left_out)}")
    budgets = zip(rows.run_id, rows.budget, strict=True)
    spans = np.array([by_run[i][0][[0, -1]] / budget for i, budget in budgets if i in by_run])
    if not len(spans):
        return np.array([]), {}
    first, last = spans[:, 0].max(), spans[:, 1].min()  # every run has values between these
    if first >= last:
        data.note(
            f"no aggregate over time: {metric} of all runs overlaps at no share of the budget"
        )
        return np.array([]), {}
    shares = np.linspace(first, last, CURVE_POINTS)
    curves: dict[str, list[stats.Array]] = {}
    for label in data.labels:
        cells = [rows[(rows.label == label) & (rows.env == env)] for env in envs]
        cells = [cell[cell.run_id.isin(list(by_run))] for cell in cells]
        if all(len(cell) for cell in cells):
            curves[label] = [_normalised(cell, by_run, shares) for cell in cells]
        else:
            data.note(f"{label} is not in the aggregate: it has no scored run on some environment")
    return shares, curves


def _normalised(cell: pd.DataFrame, by_run: Points, shares: stats.Array) -> stats.Array:
    """Return the normalised scores ``[runs, G]`` at the given shares of the budget."""
    rows = []
    for run in cell.to_dict("records"):
        steps, values = by_run[run["run_id"]]
        score = stats.normalise(values, run["random"], run["reference"])
        rows.append(np.interp(shares * run["budget"], steps, score))
    return np.stack(rows)


def aggregate_curves(
    data: Data, metric: str, rng: np.random.Generator | int = stats.SEED
) -> pd.DataFrame:
    """Return median and IQM of the normalised score over environments, with bootstrap intervals.

    Columns ``label, share, statistic, value, low, high, n``; ``share`` is the share of the budget.
    """
    shares, curves = normalised_curves(data, metric)
    rng, rows = np.random.default_rng(rng), []
    tails = [(1 - stats.LEVEL) / 2, (1 + stats.LEVEL) / 2]
    for label, envs in curves.items():
        n = min(len(runs) for runs in envs)
        counts = stats.resamples(
            rng, envs, CURVE_REPETITIONS
        )  # the same resamples along the whole curve
        for name, statistic in (("median", stats.median), ("IQM", stats.iqm)):
            for g, share in enumerate(shares):
                samples = [runs[:, g] for runs in envs]
                low, high = np.quantile(statistic(samples, counts), tails)
                low, high = (low, high) if n > 1 else (np.nan, np.nan)
                rows.append((label, share, name, float(statistic(samples)), low, high, n))
    return pd.DataFrame(rows, columns=["label", "share", "statistic", "value", "low", "high", "n"])


def above_reference(data: Data, metric: str) -> pd.DataFrame:
    """Return on how many environments the mean over runs exceeds each of ``THRESHOLDS``, over time.

    Columns ``label, threshold, share, count, of``.
    """
    shares, curves = normalised_curves(data, metric)
    rows = [
        (label, threshold, share, count, len(envs))
        for label, envs in curves.items()
        for threshold in THRESHOLDS
        for share, count in zip(
            shares, (np.stack([runs.mean(0) for runs in envs]) > threshold).sum(0), strict=True
        )
    ]
    return pd.DataFrame(rows, columns=["label", "threshold", "share", "count", "of"])
