"""The component study: what each part of an algorithm contributes, with corrected tests.

Per environment and metric there are up to three sections. ``leave_one_out`` compares everything
with the full agent (drop = full - x), ``add_one_in`` with the base agent (gain = x - base), and
``comparison`` compares labels that belong to no component study with the best of them (behind =
best - x; the best is chosen after the fact, which flatters it). Drops and gains are also given as a
share of full - base, where that difference is told apart from 0.

Tests are Welch's, two-sided, corrected by Holm over one family: the components of one section, one
environment and one metric. Components come from each run's ``variant``; no agent is imported.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd

from analysis import stats
from analysis.curves import AUC, FINAL
from analysis.data import Data
from benchmark.schema import ADD_ONE_IN, LEAVE_ONE_OUT

COMPARISON = "comparison"
METRICS = (FINAL, AUC)


@dataclass(frozen=True)
class Section:
    """One table's worth of labels on one environment, before any statistics."""

    env: str
    kind: str  # LEAVE_ONE_OUT | ADD_ONE_IN | COMPARISON
    base: str | None
    full: str | None
    labels: list[str]
    components: dict[str, str] = field(default_factory=dict)  # label -> component


def ablate(data: Data, scores: pd.DataFrame) -> pd.DataFrame:
    """Return the long table of all sections: one row per environment, section, metric and label.

    Args:
        data: the loaded studies.
        scores: one row per scored run, from ``curves.scores``.

    Returns:
        A frame with the columns ``env, section, base, full, metric, label, component, n, planned,
        mean, low, high, rank, reference, effect, effect_low, effect_high, p, p_holm, family,
        visible, share, share_low, share_high, share_note, strongest, leads, note``. ``effect`` is
        the drop, gain or distance behind; ``visible`` the effect that n finds with 80 % power;
        ``strongest`` marks the largest drop or gain that is told apart from 0, ``leads`` a highest
        mean that the test tells apart from the runner-up.
    """
    rows = [
        row
        for section in _sections(data)
        for metric in METRICS
        for row in _Cell(data, scores, section, metric).rows()
    ]
    return pd.DataFrame(rows)


def _sections(data: Data) -> Iterator[Section]:
    """Yield the sections of every environment, labels in the order of the whole report."""
    for env in data.envs:
        here = data.runs[data.runs.env == env].drop_duplicates("label").set_index("label")
        labels = [label for label in data.labels if label in here.index]
        placed: set[str] = set()
        for base, full in data.families:
            family = here[(here.base == base) & (here.full == full)]
            for kind in (LEAVE_ONE_OUT, ADD_ONE_IN):
                mine = family[(family.kind == kind) & family.component.notna()]
                parts = dict(zip(map(str, mine.index), map(str, mine.component), strict=True))
                if parts:
                    others = set(family.index[family.kind == kind])  # "Rainbow - all"
                    members = [x for x in labels if x in {base, full, *parts, *others}]
                    placed |= set(members)
                    yield Section(env, kind, base, full, members, parts)
        rest = [label for label in labels if label not in placed]
        if rest:
            ends = [x for x in labels if x in {name for pair in data.families for name in pair}]
            members = [x for x in labels if x in {*rest, *ends}]
            yield Section(env, COMPARISON, None, None, members)


class _Cell:
    """One section under one metric."""

    def __init__(self, data: Data, scores: pd.DataFrame, section: Section, metric: str) -> None:
        self.data, self.section, self.metric = data, section, metric
        here = scores[scores.env == section.env]
        self.groups = {
            label: here.loc[here.label == label, metric].dropna().to_numpy(float)
            for label in section.labels
        }
        self.means = {label: x.mean() for label, x in self.groups.items() if len(x)}
        best = max(self.means, key=self.means.__getitem__, default=None)
        pick = {LEAVE_ONE_OUT: section.full, ADD_ONE_IN: section.base, COMPARISON: best}
        self.reference = pick[section.kind]

    def rows(self) -> list[dict[str, object]]:
        """Return the finished rows of this cell."""
        tested = self.section.components or {
            label: "" for label in self.section.labels if label != self.reference
        }
        effects = {label: self._effect(label) for label in self.section.labels}
        adjusted = dict(zip(tested, stats.holm([effects[x].p for x in tested]), strict=True))
        family = sum(not np.isnan(p) for p in adjusted.values())
        alpha = 1 - stats.LEVEL
        sizes = {
            x: effects[x].value
            for x in self.section.components
            if effects[x].value > 0 and adjusted[x] < alpha
        }
        strongest = max(sizes, key=sizes.__getitem__, default=None)
        leader = self._leader()
        return [
            self._row(label, effects[label])
            | {
                "p_holm": adjusted.get(label, np.nan),
                "family": family,
                "visible": stats.visible_effect(effects[label].se, effects[label].df, family),
                "strongest": label == strongest,
                "leads": label == leader,
            }
            for label in self.section.labels
        ]

    def _group(self, label: str | None) -> stats.Array:
        return self.groups.get(label or "", np.array([]))

    def _effect(self, label: str) -> stats.Difference:
        """Return reference - label (drop, behind), or label - reference (gain)."""
        reference, other = self._group(self.reference), self._group(label)
        if label == self.reference:
            n = len(other)
            return stats.Difference(np.nan, np.nan, np.nan, (n, n), "")
        if self.section.kind == ADD_ONE_IN:
            return stats.welch(other, reference)
        return stats.welch(reference, other)

    def _share(self, label: str, effect: stats.Difference) -> stats.Estimate:
        section, nothing = self.section, stats.Estimate(np.nan, np.nan, np.nan, (), "")
        if label not in section.components:
            return nothing
        if section.base == section.full:
            return replace(nothing, note="the base agent is the full agent")
        full, base = self._group(section.full), self._group(section.base)
        whole = stats.welch(full, base)
        if np.isnan(whole.p):
            return replace(nothing, note="full or base has under two runs")
        if whole.detectable and whole.value < 0:
            return replace(nothing, note="the base agent is not below the full agent")
        shared = full if section.kind == LEAVE_ONE_OUT else base
        return stats.share(effect, whole, float(np.var(shared, ddof=1)) / len(shared))

    def _leader(self) -> str | None:
        """Return the label of the highest mean, if Welch's test tells it from the runner-up."""
        ranked = sorted(self.means, key=self.means.__getitem__, reverse=True)
        if len(ranked) < 2:
            return None
        difference = stats.welch(self.groups[ranked[0]], self.groups[ranked[1]])
        return ranked[0] if difference.detectable else None

    def _row(self, label: str, effect: stats.Difference) -> dict[str, object]:
        section = self.section
        score = stats.mean_interval(self.groups[label])
        share = self._share(label, effect)
        above = sum(mean > score.value for mean in self.means.values())
        return {
            "env": section.env,
            "section": section.kind,
            "base": section.base,
            "full": section.full,
            "metric": self.metric,
            "label": label,
            "component": section.components.get(label, ""),
            "n": len(self.groups[label]),
            "planned": self.data.size(label, section.env)[1],
            "mean": score.value,
            "low": score.low,
            "high": score.high,
            "rank": above + 1 if label in self.means else np.nan,
            "reference": self.reference,
            "effect": effect.value,
            "effect_low": effect.low,
            "effect_high": effect.high,
            "p": effect.p,
            "share": share.value,
            "share_low": share.low,
            "share_high": share.high,
            "share_note": share.note,
            "note": score.note or effect.note,
        }
