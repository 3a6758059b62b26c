"""What is compared with what: the sections of a study, and the tests of each as one family.

A section is what one question is about: ``leave_one_out`` compares the full agent with agents that
lack one component, ``add_one_in`` agents that have one component more with the base agent,
``comparison`` the other labels, and the base and full agents, with the best of them or with a label
that was named beforehand. Components come from the ``variant`` of each run; no agent is imported.

All comparisons of a section, on all environments, are one ``Family``: one test, one correction.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import ADD_ONE_IN, LEAVE_ONE_OUT

from .. import stats
from ..errors import AnalysisError, count, unknown
from ..load.data import Data
from .sameness import DIAGNOSTICS, IDENTICAL, NEVER_ACTED, Flags, Sameness, unlearned

COMPARISON = "comparison"
_ENOUGH = 0.8  # of the runs of the label with most: what the best must have to be a reference
NOTHING = stats.Difference(np.nan, np.nan, np.nan, (0, 0), "")


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
            that the labels of a section share, and is Welch's test otherwise. Where there are too
            few runs for a t-test to keep its level (``stats.keeps_level``), it permutes.
        correction: "Holm" (family-wise error rate), "Benjamini-Hochberg" (false discovery rate) or
            "no".
        reference: the label that comparisons are with; by default the best, chosen from the same
            runs, which is paid for by correcting over all pairs of labels.
    """

    test: str = stats.AUTO
    correction: str = stats.HOLM
    reference: str | None = None


def families(data: Data, scores: pd.DataFrame, metric: str, choice: Choice) -> Iterator["Family"]:
    """Yield the family of every section, with its environments in the order of ``data.envs``.

    Raises:
        AnalysisError: no section compares with the reference of ``choice``.
    """
    by_cell = {key: cell for key, cell in scores.groupby(["env", "label"], sort=False)}
    groups: dict[tuple[str, str | None, str | None], list[Section]] = {}
    for section in _sections(data):
        groups.setdefault((section.kind, section.base, section.full), []).append(section)
    sections = [section for group in groups.values() for section in group]
    compared = [label for s in sections if s.kind == COMPARISON for label in s.labels]
    if choice.reference is not None and choice.reference not in compared:
        if not compared:
            raise AnalysisError(
                f"reference: {choice.reference}: no agents are compared here; components are "
                "compared with the full or base agent"
            )
        raise unknown("reference", choice.reference, list(dict.fromkeys(compared)))
    sameness, flags = Sameness(data), unlearned(data, scores)
    for group in groups.values():
        yield Family([Cell(by_cell, section, metric) for section in group], choice, sameness, flags)


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


class Cell:
    """The scores of the labels of one section on one environment.

    Attributes:
        section: the section.
        runs: label -> scores by seed.
        ids: label -> run ids by seed.
        groups: label -> scores.
        means: label -> mean, of the labels with a run.
    """

    def __init__(self, scores: Mapping[Any, pd.DataFrame], section: Section, metric: str) -> None:
        self.section = section
        runs, self.ids = {}, {}
        for label in section.labels:
            cell = scores.get((section.env, label))
            if cell is None:
                runs[label], self.ids[label] = pd.Series(dtype=float), pd.Series(dtype=str)
            else:
                runs[label] = cell.set_index("seed")[metric].dropna()
                self.ids[label] = cell.set_index("seed").run_id
        self.runs = {label: x[~x.index.duplicated()] for label, x in runs.items()}
        self.groups = {label: x.to_numpy(float) for label, x in runs.items()}
        self.means = {label: float(x.mean()) for label, x in self.groups.items() if len(x)}

    def group(self, label: str | None) -> stats.Array:
        """Return the scores of a label; none if it is not here."""
        return self.groups.get(label or "", np.array([]))

    def pairs(self, *labels: str | None) -> pd.DataFrame:
        """Return the scores of the seeds that all these labels share, one column per label."""
        none = pd.Series(dtype=float)
        return pd.concat([self.runs.get(x or "", none) for x in labels], axis=1).dropna()

    def sides(self, one: str | None, other: str | None, paired: bool) -> list[stats.Array]:
        """Return the scores of two labels; if ``paired``, of the seeds that both have."""
        if not paired:
            return [self.group(one), self.group(other)]
        pairs = self.pairs(one, other)
        return [pairs.iloc[:, k].to_numpy(float) for k in (0, 1)]

    def layout(self) -> list[stats.Array]:
        """Return the scores of the same seeds in the same order, if all labels have the same."""
        full = [x for x in self.runs.values() if len(x) == max(map(len, self.runs.values()))]
        common = [x.sort_index() for x in full if set(x.index) == set(full[0].index)]
        if len(common) < 2 or len(common) < len(self.means):
            return []
        return [x.to_numpy(float) for x in common]

    def spread(self) -> float:
        """Return the standard deviation of the runs of a label, pooled over the labels."""
        groups = [x for x in self.groups.values() if len(x) > 1]
        df = sum(len(x) - 1 for x in groups)
        return float(np.sqrt(sum(((x - x.mean()) ** 2).sum() for x in groups) / df)) if df else 0.0


class Family:
    """The comparisons of one section and metric on all environments: one test, one correction.

    Attributes:
        cells: the scores per environment.
        kind: kind of the section.
        base: label of the base agent, if any.
        full: label of the full agent, if any.
        components: label -> component, over all environments.
        labels: labels over all environments.
        test: a key of ``stats.UNPAIRED`` or ``stats.PAIRED``.
        paired: whether that test pairs by seed.
        correlation: of the seeds over labels that share all of them; NaN if there are none.
        correction: how the p-values are corrected.
        flags: (label, environment) -> why it is said to have never learned.
        chosen: whether the reference is the best of the same runs.
    """

    def __init__(
        self, cells: Sequence[Cell], choice: Choice, sameness: Sameness, flags: Flags
    ) -> None:
        self.sameness, self.flags = sameness, flags
        self._known: dict[tuple[str, str | None, str | None], stats.Difference] = {}
        self.cells, self.choice, self.correction = list(cells), choice, choice.correction
        first = self.cells[0].section
        self.kind, self.base, self.full = first.kind, first.base, first.full
        self.chosen = self.kind == COMPARISON and not choice.reference
        self.components = {k: v for c in self.cells for k, v in c.section.components.items()}
        self.labels = list(dict.fromkeys(x for c in self.cells for x in c.section.labels))
        layouts = [layout for cell in self.cells if (layout := cell.layout())]
        complete = len(layouts) == len([cell for cell in self.cells if cell.means])
        self.correlation, p = stats.seeds_matter(*layouts) if complete else (np.nan, np.nan)
        auto = "paired" if p < 1 - stats.LEVEL else "welch"
        self.test = auto if choice.test == stats.AUTO else choice.test
        self.paired = self.test in stats.PAIRED

    def reference(self, cell: Cell) -> str | None:
        """Return the label that the labels of an environment are compared with."""
        if self.kind != COMPARISON:
            return self.full if self.kind == LEAVE_ONE_OUT else self.base
        if self.choice.reference:
            return self.choice.reference if self.choice.reference in cell.means else None
        return best(cell.means, {x: len(cell.groups[x]) for x in cell.means})

    def compared(self, cell: Cell) -> list[str]:
        """Return the labels of an environment whose effects are of interest."""
        if self.kind != COMPARISON:
            return list(cell.section.components)
        return [label for label in cell.section.labels if label != self.reference(cell)]

    def difference(self, cell: Cell, one: str | None, other: str | None) -> stats.Difference:
        """Return ``one - other`` with the test of the family; without p if there is none to make.

        Runs that are identical are not tested and not counted, nor is a component that never acted.
        """
        key = cell.section.env, one, other
        if key not in self._known:
            self._known[key] = self._difference(cell, one, other)
        return self._known[key]

    def _difference(self, cell: Cell, one: str | None, other: str | None) -> stats.Difference:
        note = self._idle(cell, one, other)
        if note:
            n = len(cell.group(one)), len(cell.group(other))
            gap = float(cell.group(one).mean() - cell.group(other).mean())
            return stats.Difference(gap, np.nan, np.nan, n, "", note)
        groups = cell.sides(one, other, self.paired)
        name = self.test
        if self.choice.test == stats.AUTO and not stats.keeps_level(*map(len, groups)):
            name = {"welch": "permutation", "paired": "paired-permutation"}[name]
        return {**stats.UNPAIRED, **stats.PAIRED}[name](*groups)

    def _idle(self, cell: Cell, one: str | None, other: str | None) -> str:
        """Return why the difference of two labels is none; empty if it may be one."""
        if not (one in cell.means and other in cell.means):
            return ""
        ids = cell.ids[one], cell.ids[other]
        component = self.components.get(one) or self.components.get(other)
        equal = cell.runs[one].equals(cell.runs[other]) and self.sameness.same(*ids)
        if equal:
            return f"{NEVER_ACTED}: {IDENTICAL}" if component else IDENTICAL
        metric = DIAGNOSTICS.get(component or "")
        acting = ids[0] if one == self.full or self.kind == ADD_ONE_IN else ids[1]
        if metric and all(self.sameness.silent(run, metric) for run in acting):
            return f"{NEVER_ACTED}: {metric} is 0 in all {count(len(acting), 'run')}"
        return ""

    def effect(self, cell: Cell, label: str) -> stats.Difference:
        """Return reference - label (drop, behind), or label - reference (gain)."""
        reference = self.reference(cell)
        if reference is None or label == reference:
            return NOTHING
        if self.kind == ADD_ONE_IN:
            return self.difference(cell, label, reference)
        return self.difference(cell, reference, label)

    @cached_property
    def tests(self) -> dict[tuple[str, str], stats.Difference]:
        """(environment, label) -> its effect; a test that cannot reach its level has no p."""
        return {
            (cell.section.env, label): self.testable(self.effect(cell, label), len(self._all))
            for cell in self.cells
            for label in cell.section.labels
        }

    @cached_property
    def _all(self) -> dict[tuple[str, frozenset[str | None]], stats.Difference]:
        """Return every comparison of the family that has a p: (environment, pair) -> difference.

        Where the best is chosen from the same runs, these are all pairs of labels.
        """
        found = {}
        for cell in self.cells:
            reference = self.reference(cell)
            pairs = (
                combinations(list(cell.means), 2)
                if self.chosen
                else [(reference, label) for label in self.compared(cell)]
            )
            for one, other in pairs:
                difference = self.difference(cell, one, other)
                if not np.isnan(difference.p):
                    found[cell.section.env, frozenset((one, other))] = difference
        return found

    @cached_property
    def p_adjusted(self) -> dict[tuple[str, frozenset[str | None]], float]:
        """Return the corrected p of every comparison that can reach the corrected level."""
        tests = {k: self.testable(d, len(self._all)).p for k, d in self._all.items()}
        tests = {k: p for k, p in tests.items() if not np.isnan(p)}
        return dict(zip(tests, stats.adjust(list(tests.values()), self.correction), strict=True))

    @property
    def size(self) -> int:
        """The number of comparisons that are corrected for."""
        return len(self.p_adjusted)

    def testable(self, effect: stats.Difference, family: int) -> stats.Difference:
        """Skip a test that cannot reach the corrected level at this n; note the n it needs."""
        level = stats.first_level(family, self.correction)
        if not effect.smallest > level:
            return effect
        permutes = "paired-permutation" if self.paired else "permutation"
        automatic = self.choice.test == stats.AUTO
        runs = stats.runs_to_reach(permutes if automatic else self.test, level)
        runs = min(runs, stats.SOUND_N) if automatic else runs
        current = sizes(effect.n[0], effect.n[1], self.paired)
        note = (
            f"test skipped: at {current}, the smallest p of the {effect.method} test is "
            f"{effect.smallest:.3g}; the corrected level of {level:.3g} needs "
            f"{sizes(runs, runs, self.paired)}"
        )
        return replace(effect, p=float("nan"), note=note)


def best(standings: Mapping[str, float], runs: Mapping[str, int]) -> str | None:
    """Return the label with the highest standing, of those with about as many runs as any."""
    most = max(runs.values(), default=0)
    able = [label for label in standings if runs[label] >= _ENOUGH * most]
    return max(able, key=standings.__getitem__, default=None)
