"""One or several sources -> one ``Data``: every run is in it, what does not count says why.

Runs are never mixed in silence. A run that does not enter the scores carries the reason in
``excluded``, and in ``flag`` the kind that ``include`` must name to let it in all the same:

=============  ===================================================================================
unfinished     failed, interrupted, running, or its rows or evaluations end too soon: enters the
               curves up to where it got, never the scores
over-long      has rows behind the end of its budget
protocol       evaluated otherwise than most runs of its environment that say how
budget         trained for another budget than most runs of its environment
configuration  made by another configuration than most runs of its label and environment
duplicate      a further run of the same label, environment and seed, or a copy of a run that
               counts, from another place, which differs from it (``prism.analysis.load.merge``)
=============  ===================================================================================

A broken run has no flag: nothing lets it in. Runs that do not say how they were evaluated have no
vote on the protocol; they count, and are noted. Where as many runs have one protocol as another,
nothing is read unless ``include`` names it.
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError, nearest
from . import sources
from .arrays import from_arrays
from .frames import MISSING, Frames, complete
from .merge import join
from .table import from_frame

UNFINISHED, OVER_LONG, DUPLICATE = "unfinished", "over-long", "duplicate"
MAJORITY = {"protocol": ["env"], "budget": ["env"], "configuration": ["label", "env"]}
FLAGS = (UNFINISHED, OVER_LONG, *MAJORITY, DUPLICATE)
STATES = (schema.FINISHED, schema.FAILED, schema.INTERRUPTED, schema.RUNNING, MISSING)
Where = str | Path | Mapping[str, Any] | pd.DataFrame


@dataclass(frozen=True)
class Data:
    """What the sources hold.

    Attributes:
        studies: names of the studies.
        folders: what was read.
        runs: one row per run, as in ``prism.analysis.load.frames``, and ``excluded``, ``flag``, and
            ``partial`` for the runs that enter only the curves.
        metrics: all rows of all runs.
        records: ``run.json`` by run id, where there is one.
        skipped: incompatible pairs that a plan left out.
        unplanned: run folders that no plan names; they enter nothing.
        notes: what a reader of any number must know.
        include: the flags that were let in.
        order: labels that come first in every table and figure.
    """

    studies: tuple[str, ...]
    folders: tuple[str, ...]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    records: dict[str, dict[str, Any]]
    skipped: list[schema.Skipped]
    unplanned: list[str]
    notes: list[str]
    include: tuple[str, ...] = ()
    order: tuple[str, ...] = ()

    @property
    def scored(self) -> pd.DataFrame:
        """The runs that enter the scores."""
        return self.runs[self.runs.excluded == ""]

    @cached_property
    def envs(self) -> list[str]:
        """Environments in the order of the sources."""
        return list(dict.fromkeys(self.runs.env))

    @cached_property
    def labels(self) -> list[str]:
        """Labels in the order of every table and figure: full, base, other presets, variants."""
        rank = {schema.PRESET: 2, schema.LEAVE_ONE_OUT: 3, schema.ADD_ONE_IN: 4, schema.SWEEP: 5}
        full, base = ({pair[i] for pair in self.ablations} for i in (1, 0))

        def key(row: Any) -> int:
            return 0 if row.label in full else 1 if row.label in base else rank.get(row.kind, 6)

        rows = self.runs.drop_duplicates("label").itertuples()
        labels = [str(row.label) for row in sorted(rows, key=key)]
        return [*self.order, *(label for label in labels if label not in self.order)]

    @cached_property
    def ablations(self) -> list[tuple[str, str]]:
        """The (base, full) pairs whose components were taken out or put in."""
        kinds = self.runs.kind.isin([schema.LEAVE_ONE_OUT, schema.ADD_ONE_IN])
        return list(dict.fromkeys(zip(self.runs.base[kinds], self.runs.full[kinds], strict=True)))

    def presented(self, rename: Mapping[str, str], order: Sequence[str]) -> "Data":
        """Return the same data with other names for labels, and an order of them.

        Raises:
            AnalysisError: a label does not exist, or two would have one name.
        """
        new = {label: rename.get(label, label) for label in self.labels}
        for label in rename:
            if label not in new:
                raise AnalysisError(f"no label {label!r}; there are {nearest(label, new)}")
        for label in order:
            if label not in new.values():
                raise AnalysisError(f"no label {label!r}; there are {nearest(label, new.values())}")
        if len(set(new.values())) < len(new):
            raise AnalysisError("two labels would have one name")
        columns = {c: self.runs[c].replace(new) for c in ("label", "base", "full")}
        return replace(self, runs=self.runs.assign(**columns), order=tuple(dict.fromkeys(order)))

    def note(self, text: str) -> None:
        """Add a note, unless it is there already."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def running(self) -> bool:
        """Whether a run is running."""
        return bool((self.runs.state == schema.RUNNING).any())

    def counts(self) -> dict[str, int]:
        """Return how many runs were planned, and how many are in each state."""
        states = self.runs.state.value_counts()
        counts = {"planned": len(self.runs)} | {
            state: int(states.get(state, 0)) for state in STATES
        }
        counts |= {str(state): int(n) for state, n in states.items() if state not in counts}
        return counts | {"scored": len(self.scored)}

    def size(self, label: str, env: str) -> tuple[int, int]:
        """Return the runs of one cell that are scored, and those that were planned."""
        return self._sizes.get((label, env), (0, 0))

    @cached_property
    def _sizes(self) -> dict[tuple[str, str], tuple[int, int]]:
        counts = (
            (self.runs.excluded == "")
            .groupby([self.runs.label, self.runs.env])
            .agg(["sum", "size"])
        )
        return {
            (str(label), str(env)): (int(scored), int(planned))
            for (label, env), scored, planned in zip(
                counts.index, counts["sum"], counts["size"], strict=True
            )
        }


def load(paths: Where | Sequence[Where], *, include: Collection[str] = (), **names: Any) -> Data:
    """Load runs from wherever they are.

    Args:
        paths: one place or several: a study folder, a CSV, Parquet or ``.npz`` file, anything else
            that a source accepts (``sources.py``), a frame, or ``{label: [runs, tasks]}``.
        include: flags of runs that count although they would be left out.
        names: ``tasks``, ``steps``, ``random``, ``reference`` of arrays.

    Raises:
        AnalysisError: a place cannot be read, or a flag does not exist.
    """
    for flag in include:
        if flag not in FLAGS:
            raise AnalysisError(f"no flag {flag!r}; there are {nearest(flag, FLAGS)}")
    many = isinstance(paths, Sequence) and not isinstance(paths, str)
    places: list[Any] = list(paths) if many else [paths]  # type: ignore[arg-type]
    folders = tuple(str(p) if isinstance(p, str | Path) else "in memory" for p in places)
    frames = join([_read(place, names) for place in places], folders)
    data = Data(
        studies=tuple(dict.fromkeys(frames.runs.study)),
        folders=folders,
        runs=_mark_excluded(frames.runs, tuple(include)),
        metrics=frames.metrics,
        records=frames.records,
        skipped=frames.skipped,
        unplanned=frames.unplanned,
        notes=frames.notes,
        include=tuple(include),
    )
    data.notes.extend(_remarks(data))
    return data


def _read(place: Where, names: dict[str, Any]) -> Frames:
    if isinstance(place, pd.DataFrame):
        return complete(from_frame(place, "the frame", "frame"), "the frame")
    if isinstance(place, Mapping):
        return complete(from_arrays(place, "the arrays", "arrays", **names), "the arrays")
    return sources.read(str(place))


def _mark_excluded(runs: pd.DataFrame, include: tuple[str, ...]) -> pd.DataFrame:
    """Add ``excluded``, ``flag`` and ``partial``, and take ``differs`` away."""
    faults = [_own_fault(run) for run in runs.to_dict("records")]
    runs = runs.assign(
        excluded=[why for why, _ in faults], flag=[flag for _, flag in faults], included=""
    )

    def settle(flag: str, reasons: pd.Series) -> None:
        column = "included" if flag in include else "excluded"
        runs.loc[reasons.index, column] = reasons
        runs.loc[reasons.index, "flag"] = flag

    long = runs[runs.flag == OVER_LONG]
    runs.loc[long.index, "excluded"] = ""
    settle(OVER_LONG, long.excluded)
    copies = runs[(runs.differs != "") & (runs.excluded == "")]
    settle(DUPLICATE, copies.differs)
    for flag, keys in MAJORITY.items():
        refuse = flag == "protocol" and flag not in include
        settle(flag, _minority(runs[runs.excluded == ""], flag, keys, refuse))
    scored = runs[runs.excluded == ""]
    repeats = scored[scored.duplicated(["label", "env", "seed"]) & (scored.differs == "")]
    firsts = (
        scored.drop_duplicates(["label", "env", "seed"]).set_index(["label", "env", "seed"]).run_id
    )
    first = [firsts[key] for key in zip(repeats.label, repeats.env, repeats.seed, strict=True)]
    settle(
        DUPLICATE,
        pd.Series(
            [f"same label, environment and seed as {x}" for x in first], repeats.index, dtype=object
        ),
    )
    runs["partial"] = (runs["rows"] > 0) & (runs.flag == UNFINISHED) & (UNFINISHED in include)
    return runs.drop(columns="differs")


def _minority(runs: pd.DataFrame, flag: str, keys: list[str], refuse: bool) -> pd.Series:
    """Say of every run that differs from most of its group in what it does; unknown has no vote.

    An unknown protocol is none that differs: a remark tells of it. An unknown configuration is, for
    such runs would be averaged with runs that have a known one.

    Raises:
        AnalysisError: as many runs have one value as another, and ``refuse`` is set.
    """
    column = {"configuration": "config"}.get(flag, flag)
    reasons = {}
    for key, values in runs.groupby(keys, sort=False)[column]:
        counts = values[values != ""].value_counts(sort=False)
        if counts.empty:
            continue
        mode, *others = counts.index[counts == counts.max()]
        group, share = " on ".join(map(str, key)), "as many" if others else "most"
        if others and refuse:
            each = ", ".join(f"{n} runs have {flag} {value}" for value, n in counts.items())
            raise AnalysisError(
                f"{group}: {each}; none is that of most: read them apart, "
                f"or let all in with --include {flag}"
            )
        for row, value in values[values != mode].items():
            if value != "" or flag != "protocol":
                norm = f"{share} runs of {group} have {mode}"
                reasons[row] = f"{flag} {value if value != '' else 'unknown'}, {norm}"
    return pd.Series(reasons, dtype=object)


def _own_fault(run: Mapping[Any, Any]) -> tuple[str, str]:
    """Say why a run does not count, whatever the others are, and which flag lets it in."""
    end, budget = run["global_step"], run["budget"]
    finished = run["state"] == schema.FINISHED
    why = "; ".join(filter(None, ["" if finished else run["state"], run["reason"], run["fault"]]))
    if run["fault"] or (run["differs"] and not finished):
        return "; ".join(filter(None, [why, run["differs"]])), ""
    if not finished:
        return why, UNFINISHED if run["rows"] else ""
    if end < budget:
        return f"finished, but its rows end at step {end} of {budget}", UNFINISHED
    if run["scored_at"] < budget:
        return f"finished, but its score is of step {run['scored_at']:.0f} of {budget}", UNFINISHED
    if np.isnan(run["final"]):
        return f"finished without {schema.FINAL_RETURN}", ""
    if not np.isfinite(run["final"]):
        return f"{schema.FINAL_RETURN} is not finite", ""
    if end > budget:
        return f"it has rows behind the end of its budget, up to step {end} of {budget}", OVER_LONG
    return "", ""


def _remarks(data: Data) -> Iterator[str]:
    """Yield what a reader of any number must know."""
    for flag in data.include:
        rows = data.runs[(data.runs.included != "") & (data.runs.flag == flag)]
        if len(rows):
            examples = "; ".join(f"{r.run_id}: {r.included}" for r in rows.head(3).itertuples())
            yield f"included by request: {len(rows)} runs with flag {flag} ({examples})"
    all_off = data.runs[(data.runs.kind == schema.LEAVE_ONE_OUT) & data.runs.component.isna()]
    for row in all_off.drop_duplicates("label").to_dict("records"):
        if row["overrides"] != "{}":
            yield f"{row['label']} is not {row['base']}: it differs in {row['overrides']}"
    for env, runs in data.scored.groupby("env", sort=False):
        unknown, others = runs[runs.protocol == ""], runs[runs.protocol != ""]
        if len(unknown) and len(others):
            yield (
                f"{env}: {len(unknown)} runs do not say how they were evaluated "
                f"({', '.join(unknown.label.unique())}); they count beside protocol "
                f"{', '.join(others.protocol.unique())}"
            )
    codes = sorted(filter(None, data.scored.code.unique()))
    if len(codes) > 1:
        yield f"the runs were made by {len(codes)} versions of the code: {', '.join(codes)}"
    scored = data.scored
    references = scored.groupby("env", sort=False)[["random", "reference"]].nunique().max(axis=1)
    for env in references.index[references > 1]:
        yield f"{env}: runs carry different random or reference scores"


def switched_on(runs: pd.DataFrame) -> list[frozenset[str]]:
    """Return the components that are on, for every run."""
    return [frozenset(json.loads(text)) for text in runs.on]
