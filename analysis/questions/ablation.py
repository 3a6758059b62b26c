"""The ablation per environment: what each component of an agent contributes, with corrected tests.

The effect over all environments is in ``pooled``; these rows say on which environments. Each
environment and metric has up to three sections (``design``): drop = full - agent, gain = agent -
base, behind = reference - agent. A reference that is the best agent is chosen after seeing the
results, so its lead is biased upwards. Drops and gains are also given as a share of full - base, if
that difference is significant.

The tests are two-sided and corrected over one family: the comparisons of one section and metric on
all environments.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from .. import stats
from ..load.data import Data
from .design import Cell, Choice, Family, families
from .scores import AUC, FINAL

METRICS = (FINAL, AUC)


def ablate(data: Data, scores: pd.DataFrame, choice: Choice | None = None) -> pd.DataFrame:
    """Return all sections in one frame: one row per environment, section, metric and label.

    Args:
        data: the runs.
        scores: one row per scored run, from ``scores.score_runs``.
        choice: test, correction and reference.

    Returns:
        A frame with the columns ``env, section, base, full, metric, label, component, n, planned,
        mean, low, high, rank, rank_low, rank_high, reference, effect, effect_low, effect_high,
        n_of, n_against, paired, test, interval, correlation, p, p_smallest, p_adjusted, correction,
        family, environments, hedges_g, a12, visible, share, share_low, share_high, share_note,
        strongest, leads, place, place_low, place_high, note, flag``. ``effect`` is the drop, the
        gain or the distance to the reference; ``n_of`` and ``n_against`` are the runs on its two
        sides (pairs, if ``paired``); ``visible`` is the effect that a t-test of them detects with
        80% power. ``family`` comparisons on ``environments`` environments are corrected for.
        ``rank_low`` to ``rank_high`` are the ranks by mean that are consistent with the data,
        ``place`` is the rank of the component by contribution. ``strongest`` marks the largest
        significant drop or gain, ``leads`` a highest mean that is significantly above all others.
        ``flag`` says that a label never learned. ``p_smallest`` is the smallest p that the test can
        reach at this n.
    """
    rows = []
    for metric in METRICS:
        for family in families(data, scores, metric, choice or Choice()):
            for cell in family.cells:
                rows += list(_Rows(data, family, cell, metric).rows())
    place = {env: i for i, env in enumerate(data.envs)}
    rows.sort(key=lambda row: place[str(row["env"])])  # stable: sections keep their order
    return pd.DataFrame(rows)


class _Rows:
    """The rows of one section on one environment and metric."""

    def __init__(self, data: Data, family: Family, cell: Cell, metric: str) -> None:
        self.data, self.family, self.cell, self.metric = data, family, cell, metric
        self.section = cell.section
        self.reference = family.reference(cell)

    def rows(self) -> Iterator[dict[str, object]]:
        """Yield one row per label."""
        env, family = self.section.env, self.family
        p_adjusted = {
            label: family.p_adjusted.get((env, frozenset((self.reference, label))), np.nan)
            for label in family.compared(self.cell)
        }
        effects = {label: family.tests[env, label] for label in self.section.labels}
        sizes = {
            x: effects[x].value
            for x in self.section.components
            if effects[x].value > 0 and p_adjusted[x] < 1 - stats.LEVEL
        }
        strongest = max(sizes, key=sizes.__getitem__, default=None)
        ranks, parts = self._ranks(list(self.cell.means)), self._contributions()
        for label in self.section.labels:
            effect = effects[label]
            rank, place = ranks.get(label, (np.nan,) * 2), parts.get(label, (np.nan,) * 3)
            corrected = 1 if family.correction == stats.NONE else max(1, family.size)
            yield self._row(label, effect, self._share(label, effect)) | {
                "p_adjusted": p_adjusted.get(label, np.nan),
                "correction": family.correction,
                "family": family.size,
                "environments": len(family.cells),
                "visible": stats.visible_effect(effect.se, effect.df, corrected),
                "strongest": label == strongest,
                "leads": rank == (1, 1) and len(ranks) == len(self.cell.means) > 1,
                "rank_low": rank[0],
                "rank_high": rank[1],
                "place": place[0],
                "place_low": place[1],
                "place_high": place[2],
            }

    def _ranks(self, labels: list[str], sign: int = 1) -> dict[str, tuple[int, int]]:
        groups = self.cell.groups
        members = [x for x in labels if len(groups[x]) > 1]
        ranges = stats.rank_intervals([sign * groups[x] for x in members])
        return dict(zip(members, ranges, strict=True))

    def _contributions(self) -> dict[str, tuple[int, int, int]]:
        """Return the rank of each component by contribution, and its range."""
        sign = -1 if self.section.kind == LEAVE_ONE_OUT else 1
        parts = [x for x in self.section.components if x in self.cell.means]
        order = sorted(parts, key=lambda x: -sign * self.cell.means[x])
        ranges = self._ranks(parts, sign)
        return {x: (i, *ranges[x]) for i, x in enumerate(order, 1) if x in ranges}

    @cached_property
    def _whole(self) -> stats.Difference:
        return self.family.difference(self.cell, self.section.full, self.section.base)

    def _share(self, label: str, part: stats.Difference) -> stats.Estimate:
        """Return the drop or gain ``part`` of a component as a share of full - base."""
        section, blank = self.section, stats.Estimate(np.nan, np.nan, np.nan, (), "")
        if label not in section.components:
            return blank
        if section.base == section.full:
            return replace(blank, note="the base agent is the full agent")
        whole = self._whole
        if np.isnan(whole.p):
            return replace(blank, note=f"full agent against base agent: {whole.note}")
        if whole.detectable and whole.value < 0:
            return replace(blank, note="the base agent scores significantly above the full agent")
        if not self.family.paired:
            common = self.cell.group(self.reference)
            return stats.share(part, whole, float(np.var(common, ddof=1)) / len(common))
        out = section.kind == LEAVE_ONE_OUT
        one, other = (section.full, label) if out else (label, section.base)
        pairs = self.cell.pairs(one, other, section.full, section.base).to_numpy(float)
        if len(pairs) < 2:
            return replace(
                blank, note="full agent, base agent and agent share fewer than two seeds"
            )
        gaps = np.cov(pairs[:, 0] - pairs[:, 1], pairs[:, 2] - pairs[:, 3])
        return stats.share(part, whole, gaps[0, 1] * len(pairs) / (part.n[0] * whole.n[0]))

    def _row(
        self, label: str, effect: stats.Difference, share: stats.Estimate
    ) -> dict[str, object]:
        section, groups, means = self.section, self.cell.groups, self.cell.means
        score = stats.mean_interval(groups[label], bounds=self.data.bounds[section.env])
        above = sum(mean > score.value for mean in means.values())
        pair = self.cell.group(self.reference), groups[label]
        if section.kind == ADD_ONE_IN:
            pair = pair[1], pair[0]
        is_reference = label == self.reference
        return {
            "env": section.env,
            "section": section.kind,
            "base": section.base or "",
            "full": section.full or "",
            "metric": self.metric,
            "label": label,
            "component": section.components.get(label, ""),
            "n": len(groups[label]),
            "planned": self.data.planned_of(label, section.env),
            "mean": score.value,
            "low": score.low,
            "high": score.high,
            "rank": above + 1 if label in means else np.nan,
            "reference": self.reference,
            "effect": effect.value,
            "effect_low": effect.low,
            "effect_high": effect.high,
            "n_of": effect.n[0],
            "n_against": effect.n[1],
            "paired": self.family.paired,
            "test": effect.method,
            "interval": stats.INTERVALS[self.family.test],
            "correlation": self.family.correlation,
            "p": effect.p,
            "p_smallest": effect.smallest,
            "hedges_g": np.nan if is_reference else stats.hedges_g(*pair),
            "a12": np.nan if is_reference else stats.a12(*pair),
            "share": share.value,
            "share_low": share.low,
            "share_high": share.high,
            "share_note": share.note,
            "note": effect.note or score.note,
            "flag": self.family.flags.get((label, section.env), ""),
        }
