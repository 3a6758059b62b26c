"""Power: how many seeds a study needs, estimated from the runs of a pilot."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from .. import stats
from ..load.data import Data
from .ablation import METRICS

SIZES = (3, 5, 8, 10, 15, 20, 30, 50)


def plan(
    data: Data,
    scores: pd.DataFrame,
    reference: str | None = None,
    family: int | None = None,
    effect: float | None = None,
    sizes: Sequence[int] = SIZES,
) -> pd.DataFrame:
    """Return the power to detect differences from a reference label, and the seeds needed.

    Args:
        data: the pilot.
        scores: from ``scores.score_runs``.
        reference: label to compare with; by default the first one (the full agent, if any).
        family: number of comparisons to correct for; by default all labels but the reference.
        effect: difference to detect: the smallest that matters. By default the difference that the
            pilot measured, which is biased upwards where it is studied because it was large.
        sizes: seeds per label.

    Returns:
        One row per environment, metric and label: the runs of both labels, ``effect``, the two
        standard deviations, ``needed`` seeds for 80% power, ``needed_safe`` (the same with each
        standard deviation at its upper 80% confidence limit, because a pilot estimates it
        imprecisely), without a named effect ``needed_least`` and ``needed_most`` (the same at the
        ends of the 95% interval of the pilot's effect; no most if it contains 0), ``power_<n>``,
        and ``now``: whether the runs so far already decide, by a test that is valid
        after every run. A label with fewer than two runs has a row without power. An environment
        has no rows if the reference, or every other label, has fewer than two runs.
    """
    first = reference or data.labels[0]
    others = [label for label in data.labels if label != first]
    alpha = (1 - stats.LEVEL) / (family or max(1, len(others)))
    rows = []
    for env in data.envs:
        for metric in METRICS:
            here = scores[scores.env == env]
            groups = {
                label: here.loc[here.label == label, metric].dropna().to_numpy(float)
                for label in (first, *others)
            }
            x, has_plan = groups[first], any(len(groups[label]) > 1 for label in others)
            for label in others if has_plan and len(x) > 1 else ():
                y = groups[label]
                gap = float(x.mean() - y.mean()) if len(y) else np.nan
                target = gap if effect is None else effect
                sx, sy = (float(np.std(z, ddof=1)) if len(z) > 1 else np.nan for z in (x, y))
                safe = stats.spread_above(x), stats.spread_above(y)
                decision = stats.sequential(x, y, margin=effect or 0.0, alpha=alpha)
                enough = len(y) > 1
                reach = {} if effect is not None else _reach(x, y, sx, sy, alpha)
                rows.append(
                    {"env": env, "metric": metric, "label": label, "reference": first,
                     "n": len(y), "n_reference": len(x), "effect": target,
                     "sd_reference": sx, "sd": sy,
                     "needed": stats.runs_needed(target, sx, sy, alpha) if enough else None,
                     "needed_safe": stats.runs_needed(target, *safe, alpha) if enough else None,
                     **reach,
                     **{f"power_{k}": stats.power(target, sx, sy, k, alpha) if enough else np.nan
                        for k in sizes},
                     "now": decision.text}
                )  # fmt: skip
    return pd.DataFrame(rows)


def _reach(x: stats.Array, y: stats.Array, sx: float, sy: float, alpha: float) -> dict[str, object]:
    """Return the seeds needed at the ends of the interval of the pilot's effect."""
    found = stats.welch(x, y)
    if np.isnan(found.low):
        return {"needed_least": None, "needed_most": None}
    most = max(abs(found.low), abs(found.high))
    least = 0.0 if found.low <= 0 <= found.high else min(abs(found.low), abs(found.high))
    return {
        "needed_least": stats.runs_needed(most, sx, sy, alpha),
        "needed_most": stats.runs_needed(least, sx, sy, alpha),
    }
