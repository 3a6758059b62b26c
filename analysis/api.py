"""The analysis in a notebook: ``analysis.load("results/rainbow").ablation()``."""

import html
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store.schema import STEP

from . import stats
from .errors import AnalysisError, unknown
from .load.data import Data, Where
from .load.data import load as load_data
from .questions import compare as comparison
from .questions import curves, factorial, power
from .questions.ablation import ablate
from .questions.design import Choice
from .questions.pooled import Headline, headlines
from .questions.sameness import merged
from .questions.scores import FINAL, REFERENCE, aggregates, profiles, score_runs
from .questions.standing import standing
from .report.sentences import Sentence, sentences
from .report.table import Table
from .report.tables import score_tables

CORRECTIONS = (stats.HOLM, stats.BH, stats.NONE)


class Study:
    """The runs of one or more studies, and what can be computed from them as pandas frames.

    An agent without its components that equals the base agent to the bit stands once in ``data``
    and what follows from it; ``whole`` has all labels.
    """

    def __init__(self, data: Data) -> None:
        self.data, self.whole = merged(data), data

    def __repr__(self) -> str:
        """Return what it holds, and the final scores as text."""
        return "\n\n".join([self._head(), *(table.text() for table in self._tables())])

    def _repr_html_(self) -> str:
        """Return the same as HTML, for a notebook."""
        return f"<p>{html.escape(self._head())}</p>" + "".join(t.html() for t in self._tables())

    def _head(self) -> str:
        counts = ", ".join(f"{n} {name}" for name, n in self.data.counts().items() if n)
        return f"{', '.join(self.data.studies)}: {counts}"

    def _tables(self) -> list[Table]:
        return score_tables(self.data, self.data.scored)

    @property
    def runs(self) -> pd.DataFrame:
        """One row per planned run; ``excluded`` is the reason why a run is not scored."""
        return self.data.all_runs

    @property
    def metrics(self) -> pd.DataFrame:
        """All rows of all runs."""
        return self.data.metrics

    @cached_property
    def scores(self) -> pd.DataFrame:
        """The scored runs with final score, area under the curve and best snapshot."""
        return score_runs(self.data, self.metric)

    @cached_property
    def metric(self) -> str:
        """The metric of the learning curves."""
        return curves.curve_metric(self.data)

    def curves(self, axis: str = STEP) -> pd.DataFrame:
        """Return learning curves with intervals, over steps or over ``time/wall``."""
        _check("axis", axis, curves.AXES.values())
        return curves.learning_curves(self.data, self.metric, axis)

    def ablation(
        self, test: str = stats.AUTO, correction: str = stats.HOLM, reference: str | None = None
    ) -> pd.DataFrame:
        """Return the ablation: one row per environment, section, metric and label."""
        return ablate(self.data, self.scores, self._choice(test, correction, reference))

    def headlines(
        self,
        test: str = stats.AUTO,
        correction: str = stats.HOLM,
        reference: str | None = None,
        metric: str = FINAL,
    ) -> list[Headline]:
        """Return one effect per component, or agent, over all environments, corrected once.

        One ``Headline`` per section (components removed, components added, agents compared), each
        with ``.effects``, ``.frame()`` and ``.cells()`` (label x environment).
        """
        return headlines(self.data, self.scores, self._choice(test, correction, reference), metric)

    def _choice(self, test: str, correction: str, reference: str | None) -> Choice:
        _check("test", test, stats.TESTS)
        _check("correction", correction, CORRECTIONS)
        if reference is not None:
            _check("reference", reference, self.data.labels)
        return Choice(test, correction, reference)

    def factorial(self, correction: str = stats.HOLM) -> pd.DataFrame:
        """Return main effects, interactions and Shapley values of every complete factorial."""
        _check("correction", correction, CORRECTIONS)
        return factorial.effects(self.data, self.scores, Choice(correction=correction))

    def sentences(self) -> list[Sentence]:
        """Return the ablation in sentences."""
        return sentences(self.ablation(), self.headlines())

    def compare(self, old: "Study", margin: float = 0.05) -> pd.DataFrame:
        """Return the comparison with older runs: worse, not worse, better or undecided per cell."""
        if not 0 <= margin < np.inf:
            raise AnalysisError(f"margin: {margin} is not a share; 0.05 means 5%")
        return comparison.against(self.whole, old.whole, margin)

    def power(
        self,
        reference: str | None = None,
        family: int | None = None,
        effect: float | None = None,
        sizes: Sequence[int] = power.SIZES,
    ) -> pd.DataFrame:
        """Return power and the seeds needed; arguments as in ``questions.power.plan``."""
        if reference is not None:
            _check("reference", reference, self.data.labels)
        if family is not None and family < 1:
            raise AnalysisError(f"family: {family} comparisons; give at least 1")
        if effect is not None and not np.isfinite(effect):
            raise AnalysisError(f"effect: {effect} is not a finite number")
        return power.plan(self.data, self.scores, reference, family, effect, sizes)

    def standing(self, reference: str | None = None) -> pd.DataFrame:
        """Return mean ranks over environments and probabilities of improvement, with intervals."""
        if reference is not None:
            _check("reference", reference, self.data.labels)
        return standing(self.data, self.scores, reference)

    def aggregate(self, normalise: str = REFERENCE) -> pd.DataFrame:
        """Return median, IQM, mean and optimality gap over environments, with intervals."""
        return aggregates(self.data, self.scores, normalise)

    def profile(self, above: Sequence[float] = tuple(np.linspace(0, 2, 41))) -> pd.DataFrame:
        """Return performance profiles of the normalised scores."""
        return profiles(self.data, self.scores, np.asarray(above, float))

    def report(self, out: str | Path) -> Path:
        """Write the report into a folder and return the path of its page."""
        from .report.write import write  # seaborn takes a second to import

        return write(
            self.data, Path(out), f"analysis.load({self.data.folders!r}).report({str(out)!r})"
        ).page


def _check(key: str, name: str, names: Iterable[str]) -> None:
    names = list(names)
    if name not in names:
        raise unknown(key, name, names)


def load(
    where: Where | Sequence[Where],
    *,
    include: Collection[str] = (),
    scores: str | None = None,
    **names: Any,
) -> Study:
    """Load runs; arguments as in ``prism.analysis.load.data.load``."""
    return Study(load_data(where, include=include, scores=scores, **names))
