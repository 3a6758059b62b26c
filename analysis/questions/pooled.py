"""The headline: one effect per component, or agent, over all environments, corrected once.

The effect is the mean over environments of the difference on each, in one unit for the whole
section, since a mean of shares and standard deviations means nothing. The unit is the first of
these that every environment has:

- the gap: full minus base, told from 0 on every environment (Welch's test, Holm's correction);
- the reference: the distance from the random to the reference score of the environment;
- the standard deviation of the runs of a label, pooled over the labels.

The test is stratified by environment and pairs by seed where the seeds matter. The interval and p
hold for these environments; ``wide_low`` to ``wide_high``, ``spread`` and ``i2`` say how much the
environments differ (the random-effects view). The components of a section are one family. Where the
best agent is the reference, the family is all pairs of agents.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from .. import stats
from ..load.data import Data
from .design import COMPARISON, Cell, Choice, Family, best, families
from .sameness import IDENTICAL, NEVER_ACTED
from .scores import FINAL

GAP, REFERENCE, DEVIATION = UNITS = ("gap", "reference", "deviation")
SHOWN, SUGGESTIVE, UNCLEAR, IDLE = CLASSES = ("shown", "suggestive", "cannot tell", "never acted")
PERMUTATION = "permutation of Welch's t"
SAME = (NEVER_ACTED, IDENTICAL)  # notes of effects that are none
_ALPHA = 1 - stats.LEVEL


@dataclass(frozen=True)
class OnEnvironment:
    """An effect on one environment.

    Attributes:
        env: the environment.
        points: the effect in points of the score, ``points_low`` to ``points_high`` its interval.
        effect: the same in the unit of the headline; NaN if it is not in the pooled effect.
        p: of the uncorrected test; ``p_adjusted`` is corrected over labels x environments.
        verdict: one of ``CLASSES``, by these p.
        n: runs of the label; ``n_reference`` those it is compared with.
        note: what is to be said of it.
    """

    env: str
    points: float
    points_low: float
    points_high: float
    effect: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: str
    n: int
    n_reference: int
    note: str


@dataclass(frozen=True)
class Effect:
    """What one component, or agent, does over all environments.

    Attributes:
        label: the agent with the component removed or added, or the agent that is compared.
        component: the component; empty in comparisons.
        reference: the label it is compared with.
        effect: the pooled effect in the unit of the headline, ``low`` to ``high`` its uncorrected
            interval. Above 0, removing the component costs score, adding it gains, or the agent is
            behind.
        p: of the uncorrected test; ``p_adjusted`` is corrected over the family.
        verdict: "shown" (corrected p below 0.05), "suggestive" (only the uncorrected one is),
            "cannot tell", or "never acted" (its runs are identical: no test, not in the family).
        n: fewest and most runs of the label on an environment; ``n_reference`` of the reference.
        spread, i2, p_spread, wide_low, wide_high: as in ``stats.Pooled``.
        environments: the effects on each.
        note: what is to be said of it.
    """

    label: str
    component: str
    reference: str
    effect: float
    low: float
    high: float
    p: float
    p_adjusted: float
    verdict: str
    n: tuple[int, int]
    n_reference: tuple[int, int]
    spread: float
    i2: float
    p_spread: float
    wide_low: float
    wide_high: float
    environments: tuple[OnEnvironment, ...]
    note: str

    @property
    def costs_on(self) -> list[str]:
        """Return the environments where an effect above 0 is shown."""
        return [e.env for e in self.environments if e.verdict == SHOWN and e.points > 0]

    @property
    def helps_on(self) -> list[str]:
        """Return the environments where an effect below 0 is shown."""
        return [e.env for e in self.environments if e.verdict == SHOWN and e.points < 0]

    @property
    def mixed(self) -> bool:
        """Whether the effect is shown to be above 0 on one environment and below on another."""
        return bool(self.costs_on and self.helps_on)


class Test(NamedTuple):
    """One comparison of a family: the pooled effect of ``one - other``, and its uncorrected p."""

    one: str
    other: str
    effect: float
    p: float
    note: str


@dataclass(frozen=True)
class Headline:
    """The effects of one section over all environments, largest first.

    Attributes:
        section: LEAVE_ONE_OUT, ADD_ONE_IN or ``COMPARISON``.
        base: label of the base agent; empty in comparisons.
        full: label of the full agent; empty in comparisons.
        metric: the score.
        chosen: whether the reference is the best of the same runs, so that the family is all pairs.
        unit: one of ``UNITS``.
        test: name of the test, such as "stratified Welch t".
        correction: how ``p_adjusted`` is corrected.
        family: comparisons that are corrected for.
        family_cells: comparisons that the effects per environment are corrected for.
        environments: those in the pooled effects.
        scales: points of the score per unit on each of them.
        left_out: environments that are not, and why.
        effects: largest first; labels without an effect last.
        tests: the comparisons that ``p_adjusted`` is corrected for, and those without a p.
    """

    section: str
    base: str
    full: str
    metric: str
    chosen: bool
    unit: str
    test: str
    correction: str
    family: int
    family_cells: int
    environments: tuple[str, ...]
    scales: dict[str, float]
    left_out: dict[str, str]
    effects: tuple[Effect, ...]
    tests: tuple[Test, ...]

    @property
    def per_unit(self) -> str:
        """Return what an effect of 1 is, in words."""
        if self.unit == GAP:
            return f"the gap from {self.base} to {self.full}"
        if self.unit == REFERENCE:
            return "the distance from the random to the reference score"
        return "the standard deviation of a label's runs"

    def frame(self) -> pd.DataFrame:
        """Return one row per effect, without the environments of each."""
        facts = {
            name: getattr(self, name)
            for name in (
                "section",
                "base",
                "full",
                "metric",
                "unit",
                "test",
                "correction",
                "family",
            )
        }
        rows = []
        for effect in self.effects:
            row = asdict(effect)
            (low, high), (low_reference, high_reference) = row.pop("n"), row.pop("n_reference")
            used = [e.env for e in effect.environments if not np.isnan(e.effect)]
            row |= {"n": low, "n_most": high, "n_reference": low_reference}
            row |= {"n_reference_most": high_reference, "environments": len(used)}
            rows.append(facts | row)
        return pd.DataFrame(rows)

    def cells(self) -> pd.DataFrame:
        """Return one row per label and environment."""
        rows = [
            {"section": self.section, "metric": self.metric, "unit": self.unit}
            | {"label": effect.label, "component": effect.component, "reference": effect.reference}
            | asdict(one)
            for effect in self.effects
            for one in effect.environments
        ]
        return pd.DataFrame(rows)


def headlines(
    data: Data, scores: pd.DataFrame, choice: Choice | None = None, metric: str = FINAL
) -> list[Headline]:
    """Return the headline of every section that compares anything.

    Args:
        data: the runs.
        scores: one row per scored run, from ``scores.score_runs``.
        choice: test, correction and reference.
        metric: FINAL or AUC.
    """
    found = families(data, scores, metric, choice or Choice())
    return [_Pool(family, scores, metric).headline() for family in found if len(family.labels) > 1]


def verdict(p: float, p_adjusted: float, note: str = "") -> str:
    """Return the class of an effect by its p before and after correction, and its note."""
    if note.startswith(SAME):
        return IDLE
    if p_adjusted < _ALPHA:
        return SHOWN
    return SUGGESTIVE if p < _ALPHA else UNCLEAR


class _Pool:
    """The pooled effects of one family."""

    def __init__(self, family: Family, scores: pd.DataFrame, metric: str) -> None:
        self.family, self.metric = family, metric
        ends = scores.drop_duplicates("env").set_index("env")
        distance = (ends.reference - ends.random).abs()
        self.distances = {env: float(x) for env, x in distance.items() if x > 0}
        self.left_out: dict[str, str] = {}
        cells = [cell for cell in family.cells if len(cell.means) > 1]
        self.unit, self.scales = self._unit(cells)
        self.cells = [cell for cell in cells if cell.section.env in self.scales]
        for cell in family.cells:
            if cell not in self.cells:
                many = len(cell.means) > 1
                why = "all runs of a label have the same score" if many else "no two labels scored"
                self.left_out[cell.section.env] = why
        self.reference = self._reference()

    def _unit(self, cells: Sequence[Cell]) -> tuple[str, dict[str, float]]:
        """Return the unit of the section and its size in points on every environment."""
        family = self.family
        if family.kind != COMPARISON and family.base != family.full:
            gaps = {c.section.env: self._gap(c) for c in cells}
            told = stats.holm([gap.p for gap in gaps.values()])
            if all(
                p < _ALPHA and gap.value > 0 for p, gap in zip(told, gaps.values(), strict=True)
            ):
                return GAP, {env: gap.value for env, gap in gaps.items()}
        envs = [cell.section.env for cell in cells]
        if all(env in self.distances for env in envs):
            return REFERENCE, {env: self.distances[env] for env in envs}
        spreads = {cell.section.env: cell.spread() for cell in cells}
        if len(cells) == 1:
            return DEVIATION, {env: spread or 1.0 for env, spread in spreads.items()}
        return DEVIATION, {env: spread for env, spread in spreads.items() if spread > 0}

    def _gap(self, cell: Cell) -> stats.Difference:
        return stats.welch(cell.group(self.family.full), cell.group(self.family.base))

    def _reference(self) -> str | None:
        """Return the label that others are compared with over all environments."""
        family = self.family
        if family.kind != COMPARISON:
            return family.full if family.kind == LEAVE_ONE_OUT else family.base
        if family.choice.reference:
            return family.choice.reference
        everywhere = [x for x in family.labels if all(x in cell.means for cell in self.cells)]
        standing = {
            x: float(
                np.mean([cell.means[x] / self.scales[cell.section.env] for cell in self.cells])
            )
            for x in everywhere
            if self.cells
        }
        runs = {x: min(len(cell.groups[x]) for cell in self.cells) for x in standing}
        return best(standing, runs)

    def headline(self) -> Headline:
        """Return the effects of the family, largest first."""
        family = self.family
        labels = list(family.components) or [x for x in family.labels if x != self.reference]
        chosen = family.chosen
        pairs = [*(combinations(family.labels, 2) if chosen else map(self._pair, labels))]
        pooled = {frozenset(pair): self._pooled(*pair) for pair in pairs}
        tests = []
        for one, other in pairs:
            found = pooled[frozenset((one, other))]
            tests.append(Test(one or "", other or "", found.value, found.p, found.note))
        p_adjusted = dict(
            zip(
                pooled, stats.adjust([x.p for x in pooled.values()], family.correction), strict=True
            )
        )
        effects = []
        for label in labels:
            pair = self._pair(label)
            one = self._pooled(*pair) if chosen else pooled[frozenset(pair)]
            effects.append(self._effect(label, one, p_adjusted.get(frozenset(pair), np.nan)))
        effects.sort(key=lambda e: -np.inf if np.isnan(e.effect) else e.effect, reverse=True)
        methods = dict.fromkeys(x.method for x in pooled.values() if not np.isnan(x.p))
        return Headline(
            section=family.kind,
            base=family.base or "",
            full=family.full or "",
            metric=self.metric,
            chosen=family.chosen,
            unit=self.unit,
            test=" and ".join(methods),
            correction=family.correction,
            family=int(np.isfinite(list(p_adjusted.values())).sum()),
            family_cells=family.size,
            environments=tuple(cell.section.env for cell in self.cells),
            scales=self.scales,
            left_out=self.left_out,
            effects=tuple(effects),
            tests=tuple(tests),
        )

    def _pair(self, label: str) -> tuple[str | None, str | None]:
        """Return what is subtracted from what: reference - label, or label - reference."""
        one, other = self.reference, label
        return (other, one) if self.family.kind == ADD_ONE_IN else (one, other)

    def _pooled(self, one: str | None, other: str | None) -> stats.Pooled:
        """Return the mean of ``one - other`` over the environments that tell of it."""
        parts, shares, scales = [], [], []
        strata: list[list[stats.Array]] = []
        for cell in self.cells:
            difference = self.family.difference(cell, one, other)
            scale = self.scales[cell.section.env]
            if difference.note.startswith(SAME):  # known to be 0, without noise
                parts.append(replace(difference, value=0.0, se=0.0, df=1.0))
                shares.append((0.0, scale, 0.0, 0.0))
            elif not np.isnan(difference.se):
                parts.append(_scaled(difference, scale))
                shares.append((difference.value, *self._shared(cell, one, other)))
                strata.append(cell.sides(one, other, self.family.paired))
                scales.append(scale)
        gap = self.unit == GAP and shares
        shift = stats.ratio_shift(*np.array(shares).T) if gap else 0.0
        if parts and not strata:
            note = self.family.difference(self.cells[0], one, other).note
            n = parts[0].n
            return stats.Pooled(0.0, np.nan, np.nan, n, "", note)
        pooled = stats.pool(parts, shift)
        if len(parts) < 2 or not self._permutes(strata):
            return pooled
        p, smallest = stats.permuted(strata, scales, self.family.paired)
        method = f"stratified {'sign flips of pairs' if self.family.paired else PERMUTATION}"
        return replace(pooled, p=p, smallest=smallest, method=method)

    def _permutes(self, strata: Sequence[Sequence[stats.Array]]) -> bool:
        """Return whether the test is by permutation, as it is on single environments."""
        if self.family.choice.test != stats.AUTO:
            return "permutation" in self.family.test
        return not all(stats.keeps_level(len(x), len(y)) for x, y in strata)

    def _shared(self, cell: Cell, one: str | None, other: str | None) -> tuple[float, float, float]:
        """Return the gap, its covariance with ``one - other``, and its variance."""
        family, scale = self.family, self.scales[cell.section.env]
        if self.unit != GAP:
            return scale, 0.0, 0.0
        if not family.paired:
            common = cell.group(family.full if family.kind == LEAVE_ONE_OUT else family.base)
            return scale, float(np.var(common, ddof=1)) / len(common), self._gap(cell).se ** 2
        pairs = cell.pairs(one, other, family.full, family.base).to_numpy(float)
        if len(pairs) < 2:
            return scale, 0.0, 0.0
        gaps = np.cov(pairs[:, 0] - pairs[:, 1], pairs[:, 2] - pairs[:, 3]) / len(pairs)
        return scale, float(gaps[0, 1]), float(gaps[1, 1])

    def _effect(self, label: str, pooled: stats.Pooled, p_adjusted: float) -> Effect:
        places = tuple(self._on(cell, label) for cell in self.family.cells if label in cell.runs)
        used = [e for e in places if not np.isnan(e.effect)]
        of, against = ([getattr(e, name) for e in used] for name in ("n", "n_reference"))
        note = pooled.note
        if used and len(used) < len(self.cells):
            note = f"over {len(used)} of {len(self.cells)} environments"
        flags = [
            f"{x} on {c.section.env} {self.family.flags[x, c.section.env]}"
            for c in self.family.cells
            for x in (label, self.reference or "")
            if (x, c.section.env) in self.family.flags
        ]
        note = "; ".join(filter(None, [note, *flags[:2], *(["..."] if len(flags) > 2 else [])]))
        return Effect(
            label=label,
            component=self.family.components.get(label, ""),
            reference=self.reference or "",
            effect=pooled.value,
            low=pooled.low,
            high=pooled.high,
            p=pooled.p,
            p_adjusted=p_adjusted,
            verdict=verdict(pooled.p, p_adjusted, pooled.note),
            n=(min(of, default=0), max(of, default=0)),
            n_reference=(min(against, default=0), max(against, default=0)),
            spread=pooled.spread,
            i2=pooled.i2,
            p_spread=pooled.p_spread,
            wide_low=pooled.wide_low,
            wide_high=pooled.wide_high,
            environments=places,
            note=note,
        )

    def _on(self, cell: Cell, label: str) -> OnEnvironment:
        """Return the effect of a label on one environment, against the pooled reference."""
        env, family = cell.section.env, self.family
        pair = self._pair(label)
        raw = family.testable(family.difference(cell, *pair), family.size)
        p_adjusted = family.p_adjusted.get((env, frozenset(pair)), np.nan)
        scale = self.scales.get(env, np.nan)
        scaled = _scaled(raw, scale) if not np.isnan(raw.se) else _scaled(raw, np.nan)
        n = raw.n if family.kind == ADD_ONE_IN else raw.n[::-1]
        return OnEnvironment(
            env, raw.value, raw.low, raw.high, scaled.value, scaled.low, scaled.high,
            raw.p, p_adjusted, verdict(raw.p, p_adjusted, raw.note), n[0], n[1], raw.note,
        )  # fmt: skip


def _scaled(part: stats.Difference, scale: float) -> stats.Difference:
    """Return a difference in units of ``scale`` points."""
    value, low, high = part.value / scale, part.low / scale, part.high / scale
    return replace(part, value=value, low=low, high=high, se=part.se / scale)
