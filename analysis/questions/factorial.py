"""Factorials: main effects, pairwise interactions and Shapley values of components.

A complete factorial has an agent for every subset of k components (2^k labels of one base and full
agent). Each effect is a linear contrast of the means of these agents, with Satterthwaite's interval
and a test:

- main effect of a: (with a) - (without a), averaged over the subsets of the other components;
- interaction of a and b: half the change that b makes to the effect of a, averaged over the subsets
  of the other components: (both - only a - only b + none) / 2 (Box, Hunter and Hunter 2005,
  chapter 5);
- Shapley value of a: what a adds when it is put in, averaged over all orders of putting the
  components in (Shapley 1953). The values add up to full - base.

The tests are corrected over all effects of one kind, environment and metric.
"""

from collections.abc import Iterator
from itertools import combinations
from math import factorial

import pandas as pd

from .. import stats
from ..load.data import Data, switched_on
from .ablation import METRICS
from .design import Choice

MAIN, INTERACTION, SHAPLEY = "main effect", "interaction", "Shapley value"
Design = dict[frozenset[str], str]  # active components -> label


def designs(data: Data, env: str) -> Iterator[tuple[tuple[str, ...], Design]]:
    """Yield the largest complete factorial of every base and full agent on one environment."""
    here = data.runs[data.runs.env == env].drop_duplicates("label")
    for _, family in here.groupby(["base", "full"], sort=False):
        on = dict(zip(switched_on(family), family.label, strict=True))
        always = frozenset.intersection(*on)
        design = {parts - always: label for parts, label in on.items()}
        names = sorted({name for parts in design for name in parts})
        for size in range(len(names), 1, -1):
            factors = next(
                (
                    subset
                    for subset in combinations(names, size)
                    if all(frozenset(s) in design for s in _subsets(subset))
                ),
                None,
            )
            if factors:
                yield factors, {frozenset(s): design[frozenset(s)] for s in _subsets(factors)}
                break


def _subsets(names: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    return (subset for size in range(len(names) + 1) for subset in combinations(names, size))


def _contrasts(names: tuple[str, ...]) -> Iterator[tuple[str, str, dict[frozenset[str], float]]]:
    """Yield kind, name, and the weight of every subset of components."""
    k = len(names)
    cells = [frozenset(s) for s in _subsets(names)]
    for a in names:
        yield MAIN, a, {s: (1 if a in s else -1) / 2 ** (k - 1) for s in cells}
    for a, b in combinations(names, 2):
        weights = {s: (1 if (a in s) == (b in s) else -1) / 2 ** (k - 1) for s in cells}
        yield INTERACTION, f"{a} x {b}", weights
    for a in names:
        weights = dict.fromkeys(cells, 0.0)
        for s in cells:
            if a not in s:
                weight = factorial(len(s)) * factorial(k - len(s) - 1) / factorial(k)
                weights[s | {a}] += weight
                weights[s] -= weight
        yield SHAPLEY, a, weights


def effects(data: Data, scores: pd.DataFrame, choice: Choice | None = None) -> pd.DataFrame:
    """Return one row per environment, metric, kind and effect; empty without a factorial.

    Columns ``env, metric, kind, name, effect, low, high, p, p_adjusted, correction, family, n,
    n_most, cells, method, note``; ``n`` and ``n_most`` are the fewest and most runs of an agent,
    ``cells`` is the number of agents.
    """
    how, parts = (choice or Choice()).correction, []
    for env in data.envs:
        for names, design in designs(data, env):
            for metric in METRICS:
                here = scores[scores.env == env]
                groups = {
                    s: here.loc[here.label == label, metric].dropna().to_numpy(float)
                    for s, label in design.items()
                }
                parts.append(_table(env, metric, names, groups, how))
    return pd.concat(parts, ignore_index=True) if parts else pd.DataFrame()


def _table(
    env: str,
    metric: str,
    names: tuple[str, ...],
    groups: dict[frozenset[str], stats.Array],
    how: str,
) -> pd.DataFrame:
    rows = []
    for kind, name, weights in _contrasts(names):
        size = stats.contrast([groups[s] for s in weights], list(weights.values()))
        rows.append(
            (env, metric, kind, name, size.value, size.low, size.high, size.p, size.method,
             size.note)
        )  # fmt: skip
    columns = ["env", "metric", "kind", "name", "effect", "low", "high", "p", "method", "note"]
    frame = pd.DataFrame(rows, columns=columns)
    frame["p_adjusted"] = frame.groupby("kind").p.transform(lambda p: stats.adjust(list(p), how))
    frame["family"] = frame.groupby("kind").p.transform("count")
    sizes = [len(group) for group in groups.values()]
    return frame.assign(correction=how, n=min(sizes), n_most=max(sizes), cells=len(sizes))
