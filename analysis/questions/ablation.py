"""The ablation: what each component of an agent contributes, with corrected tests.

Each environment and metric has up to three sections. ``leave_one_out`` compares the full agent with
agents that lack one component (drop = full - agent). ``add_one_in`` compares agents that have one
component more with the base agent (gain = agent - base). ``comparison`` compares the other labels,
and the base and full agents, with the best of them (behind = best - agent). The best is chosen
after seeing the results, so its lead is biased upwards. Drops and gains are also given as a share
of full - base, if that difference is significant.

A section uses one test on each environment and metric, for all its differences: those of its rows,
full - base, and the best against the runner-up. The test is Welch's, or paired by seed if an F-test
finds a seed effect. It is two-sided and corrected over one family: the comparisons of one section,
environment and metric. Components come from the ``variant`` of each run; no agent is imported.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from .. import stats
from ..load.data import Data
from .scores import AUC, FINAL

COMPARISON = "comparison"
METRICS = (FINAL, AUC)


@dataclass(frozen=True)
class Section:
    """The labels of one section on one environment."""

    env: str
    kind: str  # LEAVE_ONE_OUT | ADD_ONE_IN | COMPARISON
    base: str | None
    full: str | None
    labels: list[str]
    components: dict[str, str] = field(default_factory=dict)  # label -> component


@dataclass(frozen=True)
class Choice:
    """The test and the correction of an ablation.

    Attributes:
        test: one of ``stats.TESTS``; "auto" pairs by seed if an F-test finds an effect of the seeds
            that the labels of a section share, and is Welch's test otherwise.
        correction: "Holm" (family-wise error rate), "Benjamini-Hochberg" (false discovery rate) or
            "no".
    """

    test: str = stats.AUTO
    correction: str = stats.HOLM


def ablate(data: Data, scores: pd.DataFrame, choice: Choice | None = None) -> pd.DataFrame:
    """Return all sections in one frame: one row per environment, section, metric and label.

    Args:
        data: the runs.
        scores: one row per scored run, from ``scores.score_runs``.
        choice: test and correction.

    Returns:
        A frame with the columns ``env, section, base, full, metric, label, component, n, planned,
        mean, low, high, rank, rank_low, rank_high, reference, effect, effect_low, effect_high,
        n_of, n_against, paired, test, interval, correlation, p, p_smallest, p_adjusted, correction,
        family, hedges_g, a12, visible, share, share_low, share_high, share_note, strongest, leads,
        place, place_low, place_high, note``. ``effect`` is the drop, the gain or the distance to
        the best; ``n_of`` and ``n_against`` are the runs on its two sides (pairs, if ``paired``);
        ``visible`` is the effect that a t-test of them detects with 80% power. ``rank_low`` to
        ``rank_high`` are the ranks by mean that are consistent with the data, ``place`` is the rank
        of the component by contribution. ``strongest`` marks the largest significant drop or gain,
        ``leads`` a highest mean that is significantly above the runner-up. ``p_smallest`` is the
        smallest p that the test can reach at this n.
    """
    by_cell = {key: cell for key, cell in scores.groupby(["env", "label"], sort=False)}
    rows = [
        row
        for section in _sections(data)
        for metric in METRICS
        for row in _Effects(data, by_cell, section, metric, choice or Choice()).rows()
    ]
    return pd.DataFrame(rows)


def _sections(data: Data) -> Iterator[Section]:
    """Yield the sections of every environment; labels have the order of ``data.labels``."""
    for env in data.envs:
        here = data.runs[data.runs.env == env].drop_duplicates("label").set_index("label")
        labels = [label for label in data.labels if label in here.index]
        component_labels: set[str] = set()
        for base, full in data.ablations:
            family = here[(here.base == base) & (here.full == full)]
            for kind in (LEAVE_ONE_OUT, ADD_ONE_IN):
                mine = family[(family.kind == kind) & family.component.notna()]
                parts = dict(zip(map(str, mine.index), map(str, mine.component), strict=True))
                if parts:
                    others = set(family.index[family.kind == kind])  # "Rainbow - all"
                    members = [x for x in labels if x in {base, full, *parts, *others}]
                    component_labels |= set(members)
                    yield Section(env, kind, base, full, members, parts)
        rest = [label for label in labels if label not in component_labels]
        if rest:
            ends = [x for x in labels if x in {name for pair in data.ablations for name in pair}]
            members = [x for x in labels if x in {*rest, *ends}]
            yield Section(env, COMPARISON, None, None, members)


def sizes(n_of: int, n_against: int, paired: bool) -> str:
    """Return the sample of an effect: "5 pairs", "n = 8", or "n = 2 against 8"."""
    if paired:
        return f"{n_of} pair{'' if n_of == 1 else 's'}"
    return f"n = {n_of}" + ("" if n_of == n_against else f" against {n_against}")


class _Effects:
    """The effects of one section on one metric."""

    def __init__(
        self,
        data: Data,
        scores: Mapping[Any, pd.DataFrame],
        section: Section,
        metric: str,
        choice: Choice,
    ) -> None:
        self.data, self.section, self.metric, self.choice = data, section, metric, choice
        runs = {}
        for label in section.labels:
            cell = scores.get((section.env, label))
            empty = pd.Series(dtype=float)
            runs[label] = empty if cell is None else cell.set_index("seed")[metric].dropna()
        self.runs = {label: x[~x.index.duplicated()] for label, x in runs.items()}
        self.groups = {label: x.to_numpy(float) for label, x in runs.items()}
        self.means = {label: x.mean() for label, x in self.groups.items() if len(x)}
        best = max(self.means, key=self.means.__getitem__, default=None)
        pick = {LEAVE_ONE_OUT: section.full, ADD_ONE_IN: section.base, COMPARISON: best}
        self.reference = pick[section.kind]
        self.correlation, p = self._seeds()
        significant = p < 1 - stats.LEVEL
        auto = "paired" if significant else "welch"
        self.test = auto if choice.test == stats.AUTO else choice.test
        self.paired = self.test in stats.PAIRED

    def _seeds(self) -> tuple[float, float]:
        """Return the correlation of the seeds over labels that share all of them, and its p."""
        full = [x for x in self.runs.values() if len(x) == max(map(len, self.runs.values()))]
        common = [x.sort_index() for x in full if set(x.index) == set(full[0].index)]
        if len(common) < 2 or len(common) < len(self.means):
            return float("nan"), float("nan")
        return stats.seeds_matter([x.to_numpy(float) for x in common])

    def rows(self) -> list[dict[str, object]]:
        """Return one row per label."""
        comparisons = self.section.components or {
            label: "" for label in self.section.labels if label != self.reference
        }
        effects = {label: self._effect(label) for label in self.section.labels}
        shares = {label: self._share(label, effect) for label, effect in effects.items()}
        family = sum(not np.isnan(effects[x].p) for x in comparisons)
        level = stats.first_level(family, self.choice.correction)
        effects = {x: self._testable(effects[x], level) for x in effects}
        p_adjusted = dict(
            zip(
                comparisons,
                stats.adjust([effects[x].p for x in comparisons], self.choice.correction),
                strict=True,
            )
        )
        alpha = 1 - stats.LEVEL
        sizes = {
            x: effects[x].value
            for x in self.section.components
            if effects[x].value > 0 and p_adjusted[x] < alpha
        }
        strongest = max(sizes, key=sizes.__getitem__, default=None)
        leader, ranks, parts = self._leader(), self._ranks(list(self.means)), self._contributions()
        return [
            self._row(label, effects[label], shares[label])
            | {
                "p_adjusted": p_adjusted.get(label, np.nan),
                "correction": self.choice.correction,
                "family": family,
                "visible": stats.visible_effect(
                    effects[label].se,
                    effects[label].df,
                    1 if self.choice.correction == stats.NONE else family,
                ),
                "strongest": label == strongest,
                "leads": label == leader,
                "rank_low": ranks.get(label, (np.nan, np.nan))[0],
                "rank_high": ranks.get(label, (np.nan, np.nan))[1],
                "place": parts.get(label, (np.nan,) * 3)[0],
                "place_low": parts.get(label, (np.nan,) * 3)[1],
                "place_high": parts.get(label, (np.nan,) * 3)[2],
            }
            for label in self.section.labels
        ]

    def _testable(self, effect: stats.Difference, level: float) -> stats.Difference:
        """Skip a test that cannot reach the corrected level at this n; note the n it needs."""
        if effect.smallest <= level:
            return effect
        runs = stats.runs_to_reach(self.test, level)
        current = sizes(effect.n[0], effect.n[1], self.paired)
        note = (
            f"test skipped: at {current}, the smallest p of the {effect.method} test is "
            f"{effect.smallest:.3g}; the corrected level of {level:.3g} needs "
            f"{sizes(runs, runs, self.paired)}"
        )
        return replace(effect, p=float("nan"), note=note)

    def _ranks(self, labels: list[str], sign: int = 1) -> dict[str, tuple[int, int]]:
        members = [x for x in labels if len(self.groups[x]) > 1]
        ranges = stats.rank_intervals([sign * self.groups[x] for x in members])
        return dict(zip(members, ranges, strict=True))

    def _contributions(self) -> dict[str, tuple[int, int, int]]:
        """Return the rank of each component by contribution, and its range."""
        sign = -1 if self.section.kind == LEAVE_ONE_OUT else 1
        parts = [x for x in self.section.components if x in self.means]
        order = sorted(parts, key=lambda x: -sign * self.means[x])
        ranges = self._ranks(parts, sign)
        return {x: (i, *ranges[x]) for i, x in enumerate(order, 1) if x in ranges}

    def _group(self, label: str | None) -> stats.Array:
        return self.groups.get(label or "", np.array([]))

    def _pairs(self, *labels: str | None) -> pd.DataFrame:
        """Return the scores of the seeds that all these labels share, one column per label."""
        none = pd.Series(dtype=float)
        return pd.concat([self.runs.get(x or "", none) for x in labels], axis=1).dropna()

    def _difference(self, one: str | None, other: str | None) -> stats.Difference:
        """Return ``one - other`` with the test of the section."""
        groups = [self._group(one), self._group(other)]
        if self.paired:
            pairs = self._pairs(one, other)
            groups = [pairs.iloc[:, k].to_numpy(float) for k in (0, 1)]
        return {**stats.UNPAIRED, **stats.PAIRED}[self.test](*groups)

    def _effect(self, label: str) -> stats.Difference:
        """Return reference - label (drop, behind), or label - reference (gain)."""
        if label == self.reference or self.reference is None:
            return stats.Difference(np.nan, np.nan, np.nan, (0, 0), "")
        if self.section.kind == ADD_ONE_IN:
            return self._difference(label, self.reference)
        return self._difference(self.reference, label)

    @cached_property
    def _whole(self) -> stats.Difference:
        return self._difference(self.section.full, self.section.base)

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
        if not self.paired:
            common = self._group(self.reference)
            return stats.share(part, whole, float(np.var(common, ddof=1)) / len(common))
        out = section.kind == LEAVE_ONE_OUT
        one, other = (section.full, label) if out else (label, section.base)
        pairs = self._pairs(one, other, section.full, section.base).to_numpy(float)
        if len(pairs) < 2:
            return replace(
                blank, note="full agent, base agent and agent share fewer than two seeds"
            )
        gaps = np.cov(pairs[:, 0] - pairs[:, 1], pairs[:, 2] - pairs[:, 3])
        return stats.share(part, whole, gaps[0, 1] * len(pairs) / (part.n[0] * whole.n[0]))

    def _leader(self) -> str | None:
        """Return the label with the highest mean, if it is significantly above the runner-up."""
        order = sorted(self.means, key=self.means.__getitem__, reverse=True)
        if len(order) < 2:
            return None
        difference = self._difference(*order[:2])
        return order[0] if difference.detectable and difference.value > 0 else None

    def _row(
        self, label: str, effect: stats.Difference, share: stats.Estimate
    ) -> dict[str, object]:
        section = self.section
        score = stats.mean_interval(self.groups[label])
        above = sum(mean > score.value for mean in self.means.values())
        pair = self._group(self.reference), self.groups[label]
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
            "n_of": effect.n[0],
            "n_against": effect.n[1],
            "paired": self.paired,
            "test": effect.method,
            "interval": stats.INTERVALS[self.test],
            "correlation": self.correlation,
            "p": effect.p,
            "p_smallest": effect.smallest,
            "hedges_g": np.nan if is_reference else stats.hedges_g(*pair),
            "a12": np.nan if is_reference else stats.a12(*pair),
            "share": share.value,
            "share_low": share.low,
            "share_high": share.high,
            "share_note": share.note,
            "note": score.note or effect.note,
        }
