"""Load runs from one or more places into one ``Data``; a run that is not scored has a reason.

A run that is not scored has the reason in ``excluded``. If it has a ``flag`` as well, naming that
flag in ``include`` allows it:

=============  ===================================================================================
unfinished     failed, interrupted or running, or its rows or evaluations end before its budget.
               When included, it enters the curves up to where it stopped, and never the scores
over-long      has rows after the end of its budget
protocol       evaluated on other episodes than most runs of its environment, or in another form of
               the policy (greedy, sampled) than most runs of its label and environment
budget         trained for another budget than most runs of its environment
configuration  has another configuration than most runs of its label and environment
duplicate      has the label, environment and seed of another scored run, or is a copy of a scored
               run from another place and differs from it (``prism.analysis.load.merge``)
=============  ===================================================================================

A run whose data is broken has no flag and cannot be included. A run of unknown protocol is scored
and noted, but does not count when the most frequent protocol is determined. If two protocols are
equally frequent, loading fails unless ``include`` names "protocol".
"""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from prism.benchmark.store import schema

from ..errors import AnalysisError, count, unknown
from . import sources, study_folder
from .arrays import from_arrays
from .frames import MISSING, Frames, complete
from .merge import join
from .table import from_frame

UNFINISHED, OVER_LONG, DUPLICATE = "unfinished", "over-long", "duplicate"
PROTOCOL = "protocol"
# flag, what most runs have in common, of which group
MAJORITY = (
    (PROTOCOL, "episodes", ["env"]),
    (PROTOCOL, "protocol", ["label", "env"]),
    ("budget", "budget", ["env"]),
    ("configuration", "config", ["label", "env"]),
)
FLAGS = (UNFINISHED, OVER_LONG, *dict.fromkeys(flag for flag, *_ in MAJORITY), DUPLICATE)
_NAMED = 8  # seeds that a note names
_THIN = 0.5  # share of the usual number of values below which a curve is called thin
STATES = (schema.FINISHED, schema.FAILED, schema.INTERRUPTED, schema.RUNNING, MISSING)
Where = str | Path | Mapping[str, Any] | pd.DataFrame


@dataclass(frozen=True)
class Data:
    """All runs that were loaded.

    Attributes:
        studies: names of the studies.
        folders: the places that were read.
        runs: one row per run, as in ``prism.analysis.load.frames``, and the columns ``excluded``,
            ``flag``, ``included`` (the reason that ``include`` overruled) and ``partial`` (the run
            enters only the curves).
        metrics: all rows of all runs.
        records: ``run.json`` by run id, for runs that have one.
        skipped: incompatible pairs of algorithm and environment that a plan skipped.
        unplanned: run folders that are in no plan; they are ignored.
        notes: remarks that qualify the numbers.
        planned: whether the sources know every planned run; else nobody knows what is missing.
        include: the flags that are allowed.
        order: labels that come first in every table and figure.
        merged: runs of labels that equal another label to the bit; not in ``runs``, but counted.
    """

    studies: tuple[str, ...]
    folders: tuple[str, ...]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    records: dict[str, dict[str, Any]]
    skipped: list[schema.Skipped]
    unplanned: list[str]
    notes: list[str]
    planned: bool = True
    include: tuple[str, ...] = ()
    order: tuple[str, ...] = ()
    merged: pd.DataFrame = field(default_factory=pd.DataFrame)

    @property
    def all_runs(self) -> pd.DataFrame:
        """The runs, and the merged ones after them."""
        return pd.concat([self.runs, self.merged]) if len(self.merged) else self.runs

    @property
    def scored(self) -> pd.DataFrame:
        """The runs that are scored."""
        return self.runs[self.runs.excluded == ""]

    @cached_property
    def envs(self) -> list[str]:
        """Environments, in the order of the sources."""
        return list(dict.fromkeys(self.runs.env))

    @cached_property
    def labels(self) -> list[str]:
        """Labels in the order of tables and figures: full, base, other presets, variants."""
        rank = {schema.PRESET: 2, schema.LEAVE_ONE_OUT: 3, schema.ADD_ONE_IN: 4, schema.SWEEP: 5}
        full, base = ({pair[i] for pair in self.ablations} for i in (1, 0))

        def key(row: Any) -> int:
            return 0 if row.label in full else 1 if row.label in base else rank.get(row.kind, 6)

        rows = self.runs.drop_duplicates("label").itertuples()
        labels = [str(row.label) for row in sorted(rows, key=key)]
        return [*self.order, *(label for label in labels if label not in self.order)]

    @cached_property
    def ablations(self) -> list[tuple[str, str]]:
        """The (base, full) pairs of agents whose components were removed or added."""
        kinds = self.runs.kind.isin([schema.LEAVE_ONE_OUT, schema.ADD_ONE_IN])
        return list(dict.fromkeys(zip(self.runs.base[kinds], self.runs.full[kinds], strict=True)))

    def presented(self, rename: Mapping[str, str], order: Sequence[str]) -> "Data":
        """Return the same data with labels renamed and ordered.

        Raises:
            AnalysisError: a label does not exist, or two labels would have one name.
        """
        new = {label: rename.get(label, label) for label in self.labels}
        for label in rename:
            if label not in new:
                raise unknown("rename", label, new)
        for label in order:
            if label not in new.values():
                raise unknown("order", label, new.values())
        for label in (names := list(new.values())):
            if names.count(label) > 1:
                raise AnalysisError(f"rename: two labels would be called {label!r}")
        columns = {c: self.runs[c].replace(new) for c in ("label", "base", "full")}
        return replace(self, runs=self.runs.assign(**columns), order=tuple(dict.fromkeys(order)))

    @cached_property
    def bounds(self) -> dict[str, tuple[float, float]]:
        """Environment -> least and largest mean score that are possible; NaN if not known."""
        ends = self.runs.groupby("env", sort=False)[["lowest", "highest"]].agg(["min", "max"])
        return {
            str(env): (float(row["lowest", "min"]), float(row["highest", "max"]))
            for env, row in ends.iterrows()
        }

    def note(self, text: str) -> None:
        """Add a note, unless it is there already."""
        if text not in self.notes:
            self.notes.append(text)

    @property
    def running(self) -> bool:
        """Whether a run is running."""
        return bool((self.runs.state == schema.RUNNING).any())

    def counts(self) -> dict[str, int]:
        """Return the number of runs: planned, in each state, and scored.

        Where the plan is not known: those that were read and are not finished, and scored.
        """
        runs, scored = self.all_runs, len(self.scored) + len(self.merged)
        states = runs.state.value_counts()
        if not self.planned:
            others = {str(state): int(n) for state, n in states.items() if state != schema.FINISHED}
            read = {"read": len(runs)} if scored < len(runs) else {}
            return read | others | {"scored": scored}
        counts = {"planned": len(runs)} | {state: int(states.get(state, 0)) for state in STATES}
        counts |= {str(state): int(n) for state, n in states.items() if state not in counts}
        return counts | {"scored": scored}

    def size(self, label: str, env: str) -> tuple[int, int]:
        """Return how many runs of a cell (a label on an environment) are scored, and planned."""
        return self._sizes.get((label, env), (0, 0))

    def planned_of(self, label: str, env: str) -> float:
        """Return how many runs of a cell were planned; NaN if nobody knows."""
        return self.size(label, env)[1] if self.planned else np.nan

    def never_learned(self) -> dict[tuple[str, str], int]:
        """Return how many scored runs of a cell made no update, where there are any."""
        idle = self.scored[self.scored.updates == 0]
        return {
            (str(label), str(env)): len(runs)
            for (label, env), runs in idle.groupby(["label", "env"], sort=False)
        }

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


def load(
    paths: Where | Sequence[Where],
    *,
    include: Collection[str] = (),
    scores: str | None = None,
    **names: Any,
) -> Data:
    """Load runs from one or more places.

    Args:
        paths: a study folder, a CSV, Parquet or ``.npz`` file, anything else that a source accepts
            (``sources.py``), a frame, or ``{label: [runs, tasks]}``; or a sequence of these.
        include: flags of runs to allow although they are excluded by default.
        scores: "evaluations/<name>", of a study's runs, in place of their final scores.
        names: ``tasks``, ``steps``, ``random`` and ``reference`` of arrays.

    Raises:
        AnalysisError: a place cannot be read, or a flag does not exist.
    """
    for flag in include:
        if flag not in FLAGS:
            raise unknown("include", flag, FLAGS)
    many = isinstance(paths, Sequence) and not isinstance(paths, str)
    places: list[Any] = list(paths) if many else [paths]  # type: ignore[arg-type]
    folders = tuple(str(p) if isinstance(p, str | Path) else "in memory" for p in places)
    return _data([_read(place, names, scores) for place in places], folders, tuple(include))


def load_runs(folder: Path, only: Collection[str] | None) -> Data:
    """Load some runs of a study folder, by their ids, or all; the others play no part.

    Raises:
        AnalysisError: it cannot be read, or it plans none of them.
    """
    frames = complete(study_folder.read(str(folder), only), str(folder))
    return _data([frames], (str(folder),), ())


def _data(parts: list[Frames], folders: tuple[str, ...], include: tuple[str, ...]) -> Data:
    frames = join(parts, folders)
    data = Data(
        studies=tuple(dict.fromkeys(frames.runs.study)),
        folders=folders,
        runs=_mark_excluded(frames.runs, include),
        metrics=frames.metrics,
        records=frames.records,
        skipped=frames.skipped,
        unplanned=frames.unplanned,
        notes=frames.notes,
        planned=frames.planned,
        include=include,
    )
    data.notes.extend(_remarks(data))
    return data


def _read(place: Where, names: dict[str, Any], scores: str | None) -> Frames:
    if scores is not None:
        if not isinstance(place, str | Path) or not (Path(place) / "plan.json").is_file():
            raise AnalysisError(f"scores: {scores} is for study folders; {place} is none")
        frames = study_folder.read(str(place), scores=scores)
        forms = [x for x in frames.metrics if str(x).startswith(f"{schema.FINAL_RETURN}_")]
        frames.metrics = frames.metrics.drop(columns=forms)  # of the final evaluation
        frames.notes.append(f"scored by {scores}, in place of the final evaluation")
        return complete(frames, str(place))
    if isinstance(place, pd.DataFrame):
        frames = complete(from_frame(place, "the frame", "frame"), "the frame")
        return sources.named(frames, "the frame")
    if isinstance(place, Mapping):
        frames = complete(from_arrays(place, "the arrays", "arrays", **names), "the arrays")
        return sources.named(frames, "the arrays")
    return sources.read(str(place))


def _mark_excluded(runs: pd.DataFrame, include: tuple[str, ...]) -> pd.DataFrame:
    """Add ``excluded``, ``flag``, ``included`` and ``partial``, and drop ``differs``."""
    faults = [_own_fault(run) for run in runs.to_dict("records")]
    runs = runs.assign(
        excluded=[reason for reason, _ in faults],
        flag=[flag for _, flag in faults],
        included="",
    )

    def record(flag: str, reasons: pd.Series) -> None:
        column = "included" if flag in include else "excluded"
        runs.loc[reasons.index, column] = reasons
        runs.loc[reasons.index, "flag"] = flag

    long = runs[runs.flag == OVER_LONG]
    runs.loc[long.index, "excluded"] = ""
    record(OVER_LONG, long.excluded)
    copies = runs[(runs.differs != "") & (runs.excluded == "")]
    record(DUPLICATE, copies.differs)
    runs["episodes"] = runs.protocol.str.partition("-")[0]  # without the form of the policy
    for flag, column, keys in MAJORITY:
        refuse = flag == PROTOCOL and flag not in include
        record(flag, _minority(runs[runs.excluded == ""], flag, column, keys, refuse))
    scored = runs[runs.excluded == ""]
    repeats = scored[scored.duplicated(["label", "env", "seed"]) & (scored.differs == "")]
    firsts = (
        scored.drop_duplicates(["label", "env", "seed"]).set_index(["label", "env", "seed"]).run_id
    )
    first = [firsts[key] for key in zip(repeats.label, repeats.env, repeats.seed, strict=True)]
    record(
        DUPLICATE,
        pd.Series(
            [f"same label, environment and seed as {x}" for x in first], repeats.index, dtype=object
        ),
    )
    runs["partial"] = (runs["rows"] > 0) & (runs.flag == UNFINISHED) & (UNFINISHED in include)
    return runs.drop(columns=["differs", "episodes"])


def _minority(
    runs: pd.DataFrame, flag: str, column: str, keys: list[str], refuse: bool
) -> pd.Series:
    """Return the reason for every run whose value is not the most frequent one of its group.

    Unknown values do not count when the most frequent one is determined. A run of unknown protocol
    is not excluded, only noted. A run of unknown configuration is excluded: otherwise it would be
    averaged with runs of a known one.

    Raises:
        AnalysisError: two values are equally frequent, and ``refuse`` is set.
    """
    reasons = {}
    for key, values in runs.groupby(keys, sort=False)[column]:
        counts = values[values != ""].value_counts(sort=False)
        if counts.empty:
            continue
        mode, *others = counts.index[counts == counts.max()]
        group, share = " on ".join(map(str, key)), "as many" if others else "most"
        if others and refuse:
            each = ", ".join(
                f"{count(n, 'run')} with {flag} {value}" for value, n in counts.items()
            )
            raise AnalysisError(
                f"{group}: {each}; no {flag} is the most frequent: analyse them separately, "
                f"or allow all with --include {flag}"
            )
        for row, value in values[values != mode].items():
            if value != "" or flag != PROTOCOL:
                norm = f"{share} runs of {group} have {mode}"
                reasons[row] = f"{flag} {value if value != '' else 'unknown'}, {norm}"
    return pd.Series(reasons, dtype=object)


def _own_fault(run: Mapping[Any, Any]) -> tuple[str, str]:
    """Return why a run is excluded, regardless of the other runs, and the flag that allows it."""
    end, budget = run["global_step"], run["budget"]
    finished = run["state"] == schema.FINISHED
    state = "" if finished else run["state"]
    reason = "; ".join(filter(None, [state, run["reason"], run["fault"]]))
    if run["fault"] or (run["differs"] and not finished):
        return "; ".join(filter(None, [reason, run["differs"]])), ""
    if not finished:
        return reason, UNFINISHED if run["rows"] else ""
    if end < budget:
        return f"finished, but its rows end at step {end} of {budget}", UNFINISHED
    if run["scored_at"] < budget:
        return (
            f"finished, but its score is from step {run['scored_at']:.0f} of {budget}",
            UNFINISHED,
        )
    if np.isnan(run["final"]):
        return f"finished without {schema.FINAL_RETURN}", ""
    if not np.isfinite(run["final"]):
        return f"{schema.FINAL_RETURN} is not finite", ""
    if end >= budget + run["lanes"]:  # the last tick takes a step in each lane
        return f"has rows after the end of its budget, up to step {end} of {budget}", OVER_LONG
    return "", ""


def _remarks(data: Data) -> Iterator[str]:
    """Yield remarks that qualify the numbers."""
    for flag in data.include:
        rows = data.runs[(data.runs.included != "") & (data.runs.flag == flag)]
        if len(rows):
            examples = "; ".join(f"{r.run_id}: {r.included}" for r in rows.head(3).itertuples())
            yield f"included with --include {flag}: {count(len(rows), 'run')} ({examples})"
    all_off = data.runs[(data.runs.kind == schema.LEAVE_ONE_OUT) & data.runs.component.isna()]
    for row in all_off.drop_duplicates("label").to_dict("records"):
        if row["overrides"] != "{}":
            yield f"{row['label']} is not {row['base']}; these settings differ: {row['overrides']}"
    remarks = data.scored[(data.scored.state == schema.FINISHED) & (data.scored.reason != "")]
    for _, runs in remarks.groupby(["label", "env"], sort=False):
        first = runs.iloc[0]
        yield f"{first.label} on {first.env}, {count(len(runs), 'run')}: {first.reason}"
    yield from _thin_curves(data)
    yield from _lone_seeds(data)
    for (label, place), idle in data.never_learned().items():
        yield f"{label} on {place}: {idle}/{data.size(label, place)[0]} never learned: no update"
    for env, runs in data.scored.groupby("env", sort=False):
        blank, others = runs[runs.protocol == ""], runs[runs.protocol != ""]
        if len(blank) and len(others):
            yield (
                f"{env}: unknown evaluation protocol: {count(len(blank), 'run')} of "
                f"{', '.join(blank.label.unique())}; compared with runs of protocol "
                f"{', '.join(others.protocol.unique())}"
            )
        forms = runs.protocol.str.partition("-")[2]
        labels = runs.label.groupby(forms[forms != ""]).unique()
        if len(labels) > 1:
            told = "; ".join(f"{form} {', '.join(names)}" for form, names in labels.items())
            yield f"{env}: policies are evaluated in different forms: {told}"
    codes = sorted(filter(None, data.scored.code.unique()))
    if len(codes) > 1:
        yield f"the runs come from {len(codes)} versions of the code: {', '.join(codes)}"
    scored = data.scored
    references = scored.groupby("env", sort=False)[["random", "reference"]].nunique().max(axis=1)
    for env in references.index[references > 1]:
        yield f"{env}: the random or reference scores differ between runs"


def _lone_seeds(data: Data) -> Iterator[str]:
    """Yield which seeds of other labels a label lacks, where no plan tells what is missing."""
    if data.planned:
        return
    for env, runs in data.scored.groupby("env", sort=False):
        seeds = {str(label): set(group.seed) for label, group in runs.groupby("label", sort=False)}
        every = sorted(set().union(*seeds.values()))
        lacking: dict[tuple[int, ...], list[str]] = {}
        for label, own in seeds.items():
            lacking.setdefault(tuple(x for x in every if x not in own), []).append(label)
        for missing, labels in lacking.items():
            if missing and len(missing) < len(every) and max(map(len, seeds.values())) > 1:
                more = ", ..." if len(missing) > _NAMED else ""
                names = ", ".join(map(str, missing[:_NAMED])) + more
                yield f"{env}: {', '.join(labels)} without seeds that other labels have: {names}"


def _thin_curves(data: Data) -> Iterator[str]:
    """Yield which runs have much fewer values in their curves than others of their cell."""
    runs = data.scored[["run_id", "label", "env"]]
    for name in (schema.EVAL_RETURN, schema.TRAIN_RETURN):
        if name not in data.metrics:
            continue
        values = data.metrics.groupby("run_id", observed=False)[name].count()
        counts = values.reindex(runs.run_id).fillna(0).set_axis(runs.index)
        usual = counts.groupby([runs.label, runs.env]).transform("median")
        thin = runs.assign(n=counts, usual=usual)[counts < _THIN * usual]
        for (label, env), group in thin.groupby(["label", "env"], sort=False):
            first = group.iloc[0]
            yield (
                f"{label} on {env}, {count(len(group), 'run')}: thin curve, {first.run_id} has "
                f"{first.n:.0f} values of {name}, others have {first.usual:.0f}"
            )


def switched_on(runs: pd.DataFrame) -> list[frozenset[str]]:
    """Return the set of active components of every run."""
    return [frozenset(json.loads(text)) for text in runs.on]
