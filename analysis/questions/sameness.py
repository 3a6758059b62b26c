"""Runs that are equal to the bit, and agents that never learned: what no test should be made of."""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from .. import stats
from ..errors import count
from ..load.data import Data

IDENTICAL = "the runs are identical"
NEVER_ACTED = "never acted here"
# component -> the metric that is 0 where it never acts
DIAGNOSTICS = {"clip": "loss/clipped"}
_NEAR_RANDOM = 0.05  # of the distance from random to reference score
Flags = dict[tuple[str, str], str]  # (label, environment) -> what is to be said of its runs
_CLOCKS = ("time/", "updates_per_second")


class Sameness:
    """Tells which runs have equal rows: all that both recorded, without clock times."""

    def __init__(self, data: Data) -> None:
        self.data = data

    @cached_property
    def _places(self) -> dict[str, np.ndarray]:
        indices = self.data.metrics.groupby("run_id", observed=True, sort=False).indices
        return {str(run_id): np.asarray(rows) for run_id, rows in indices.items()}

    @cached_property
    def _columns(self) -> dict[str, np.ndarray]:
        frame = self.data.metrics
        return {
            str(name): frame[name].to_numpy()
            for name in frame
            if name not in ("run_id", schema.STEP) and not str(name).startswith(_CLOCKS)
        }

    def equal(self, one: str, other: str) -> bool:
        """Return whether two runs have the same rows, and rows that tell runs apart.

        A run tells of itself if a value changes along it: a flat curve of returns does not.
        """
        a, b = (self._places.get(run, np.array([], int)) for run in (one, other))
        if len(a) < 2 or len(a) != len(b):
            return False
        tells = False
        for values in self._columns.values():
            x, y = values[a], values[b]
            if pd.isna(x).all() or pd.isna(y).all():
                continue  # only one of the two records it
            if not np.array_equal(x, y, equal_nan=x.dtype.kind == "f"):
                return False
            tells = tells or len(np.unique(x[~pd.isna(x)])) > 1
        return tells

    def silent(self, run: str, metric: str) -> bool:
        """Return whether a run recorded a metric, and 0 throughout."""
        if metric not in self._columns or run not in self._places:
            return False
        values = self._columns[metric][self._places[run]]
        values = values[~np.isnan(values)]
        return len(values) > 0 and not values.any()

    def same(self, ours: pd.Series, theirs: pd.Series) -> bool:
        """Return whether the runs of two labels (run ids by seed) are equal seed by seed."""
        return (
            0 < len(ours) == len(theirs)
            and set(ours.index) == set(theirs.index)
            and all(self.equal(ours[seed], theirs[seed]) for seed in ours.index)
        )

    def repeats(self) -> Iterator[str]:
        """Yield a note on every label and environment with two seeds of equal rows."""
        scored = self.data.scored
        for (label, env, _), runs in scored.groupby(["label", "env", "final"], sort=False):
            if len(runs) < 2:
                continue
            ids = runs.set_index("seed").run_id
            first = ids.index[0]
            twins = [seed for seed in ids.index[1:] if self.equal(ids[first], ids[seed])]
            if twins:
                seeds = ", ".join(map(str, [first, *twins]))
                yield (
                    f"{label} on {env}: seeds {seeds} have the same rows to the bit, so that they "
                    "count as more runs than they are"
                )


def merged(data: Data) -> Data:
    """Return the data in which an agent without its components is not told twice.

    "Rainbow - all" has no rows of its own if it equals the base agent to the bit, seed by seed, on
    all environments, and all its runs are scored. A note says so; its runs are in ``Data.merged``.
    """
    runs = data.runs
    bare = runs[(runs.kind == schema.LEAVE_ONE_OUT) & runs.component.isna()]
    pairs = bare[["label", "base"]].drop_duplicates()
    pairs = pairs[(pairs.label != pairs.base) & pairs.base.isin(data.labels)]
    if pairs.empty:
        return data
    sameness = Sameness(data)
    same = {str(x): str(base) for x, base in pairs.to_numpy() if _all_same(sameness, x, base)}
    if not same:
        return data
    found = replace(
        data,
        runs=runs[~runs.label.isin(same)],
        merged=runs[runs.label.isin(same)],
        order=tuple(label for label in data.order if label not in same),
        notes=[*data.notes],
    )
    found.notes.extend(merged_notes(found))
    return found


def merged_notes(data: Data) -> list[str]:
    """Return which labels have no rows of their own, and which have theirs."""
    if data.merged.empty:
        return []
    pairs = data.merged[["label", "base"]].drop_duplicates().to_numpy()
    return [f"{x} is {base}, run by run to the bit: it has no row of its own" for x, base in pairs]


def _all_same(sameness: Sameness, label: str, other: str) -> bool:
    runs = sameness.data.runs
    mine, theirs = (runs[runs.label == x] for x in (label, other))
    if (mine.excluded != "").any():
        return False
    theirs = theirs[theirs.excluded == ""]
    return all(
        sameness.same(
            group.set_index("seed").run_id, theirs[theirs.env == env].set_index("seed").run_id
        )
        for env, group in mine.groupby("env", sort=False)
    )


def unlearned(data: Data, scores: pd.DataFrame) -> Flags:
    """Return why a label on an environment is said to have never learned, where it is.

    Its runs made no update, or score no more than the random policy: their interval reaches its
    score, and their mean lies within 5% of the distance to the reference score. The scores of runs
    that record the error of their values are not judged: prediction does not act.
    """
    found: Flags = {}
    predicts = schema.ERROR in data.metrics
    for (label, env), runs in scores.groupby(["label", "env"], sort=False):
        idle, n = int((runs.updates == 0).sum()), len(runs)
        if idle:
            found[str(label), str(env)] = f"never learned: no update in {idle} of {count(n, 'run')}"
            continue
        random, reference = float(runs.random.iloc[0]), float(runs.reference.iloc[0])
        if predicts or np.isnan(random) or random == reference:
            continue
        mean = stats.mean_interval(runs.final.to_numpy(float))
        near = 0.0 if np.isnan(reference) else _NEAR_RANDOM * (reference - random)
        if near >= 0 and mean.value <= random + near and not mean.low > random:
            found[str(label), str(env)] = "scores no more than the random policy"
    return found
