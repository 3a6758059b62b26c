"""Join the frames of several places; a run that is in more than one of them counts once.

Two runs are copies of each other if run id, label, environment and seed are the same. The first
finished copy counts, or else the first copy. A copy that is equal, or that was never started, is
dropped. A copy that differs is kept under a new id (``run_id@study``), and the column
``differs`` lists what differs.
"""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import pandas as pd

from prism.benchmark.store.schema import FINISHED

from ..errors import count
from .frames import CPU, MISSING, WALL, Frames

_SAME = ["run_id", "label", "env", "seed"]
_FACTS = {"code": "code", "config": "configuration", "protocol": "protocol", "budget": "budget"}
_Sums = Mapping[tuple[int, str], int]


def join(frames: list[Frames], places: Sequence[str]) -> Frames:
    """Join the frames of several places, and add the column ``differs`` to ``runs``.

    Args:
        frames: one per place.
        places: their names, for messages.
    """
    if len(frames) == 1:
        frames[0].runs["differs"] = ""
        return frames[0]
    runs = pd.concat([one.runs.assign(place=i) for i, one in enumerate(frames)], ignore_index=True)
    runs["old"], runs["identity"] = runs.run_id, runs.groupby(_SAME, sort=False).ngroup()
    best = runs.assign(late=runs.state != FINISHED).sort_values(["late", "place"], kind="stable")
    repeat = best.duplicated("identity")
    primary = best[~repeat].set_index("identity").to_dict("index")
    sums = _sums(frames, set(best.run_id[repeat]))
    differs: dict[Any, str] = {}
    identical: list[Any] = []
    words: dict[str, list[str]] = defaultdict(list)
    for row, copy in best[repeat].to_dict("index").items():
        run = primary[copy["identity"]]
        what = ", ".join(_differences(run, copy, sums))
        if what and copy["state"] != MISSING:
            source, other = places[copy["place"]], places[run["place"]]
            differs[row] = f"copy from {source} of {run['old']} in {other}; differs in {what}"
            words[source].append(what)
        else:
            identical.append(row)
    runs["differs"] = [differs.get(row, "") for row in runs.index]
    notes = [note for one in frames for note in one.notes]
    notes += _notes(words, sum(runs.state[row] != MISSING for row in identical))
    runs = runs.drop(index=identical).assign(late=runs.differs != "")
    runs = runs.sort_values(["late", "identity"], kind="stable", ignore_index=True)
    runs["run_id"] = list(_own_ids(runs))
    parts: list[pd.DataFrame] = []
    records: dict[str, dict[str, Any]] = {}
    for place, one in enumerate(frames):
        source = runs[runs.place == place]
        ids = dict(zip(source.old, source.run_id, strict=True))
        rows = one.metrics[one.metrics.run_id.isin(ids)]
        parts.append(rows.assign(run_id=rows.run_id.astype(str).map(ids)))
        records |= {ids[run_id]: x for run_id, x in one.records.items() if run_id in ids}
    metrics = pd.concat(parts, ignore_index=True)
    return Frames(
        runs=runs.drop(columns=["place", "old", "identity", "late"]),
        metrics=metrics.assign(run_id=pd.Categorical(metrics.run_id, list(runs.run_id))),
        records=records,
        skipped=[pair for one in frames for pair in one.skipped],
        unplanned=[name for one in frames for name in one.unplanned],
        notes=notes,
        planned=all(one.planned for one in frames),
    )


def _differences(run: Mapping[Any, Any], copy: Mapping[Any, Any], sums: _Sums) -> Iterator[str]:
    """Yield what differs between two copies of a run; unknown values do not differ."""
    for column, word in _FACTS.items():
        if run[column] != copy[column] and "" not in (run[column], copy[column]):
            yield word
    if run["state"] != copy["state"]:
        yield "state"
    ours, theirs = (sums.get((one["place"], one["old"])) for one in (run, copy))
    if run["rows"] != copy["rows"] or ours != theirs:
        yield "rows"
    if run["final"] != copy["final"] and not pd.isna([run["final"], copy["final"]]).all():
        yield "score"


def _sums(frames: list[Frames], run_ids: Collection[str]) -> dict[tuple[int, str], int]:
    """Return a hash of every run's rows, by place and run id, over the columns all places share.

    Clock times are left out: only runs that were read from a folder have them.
    """
    parts = {i: one.metrics[one.metrics.run_id.isin(run_ids)] for i, one in enumerate(frames)}
    parts = {i: rows for i, rows in parts.items() if len(rows)}
    common = [set(rows.columns) - {"run_id", WALL, CPU} for rows in parts.values()]
    columns = sorted(set.intersection(*common)) if common else []
    sums = {}
    for place, rows in parts.items():
        hashes = pd.util.hash_pandas_object(rows[columns].astype(float), index=False)
        for run_id, total in hashes.groupby(rows.run_id.astype(str)).sum().items():
            sums[place, str(run_id)] = int(total)
    return sums


def _notes(words: Mapping[str, list[str]], identical: int) -> Iterator[str]:
    if identical:
        yield f"equal in several places and counted once: {count(identical, 'run')}"
    for place, entries in words.items():
        each = ", ".join(dict.fromkeys(word for what in entries for word in what.split(", ")))
        yield f"copies with different {each}: {count(len(entries), 'run')} of {place}"


def _own_ids(runs: pd.DataFrame) -> Iterator[str]:
    """Yield a unique id for every run: a repeated id gets its study as a suffix."""
    ids: set[str] = set()
    for run_id, study in zip(runs.run_id, runs.study, strict=True):
        name, number = run_id, 1
        while name in ids:
            name = f"{run_id}@{study}" + (f"-{number}" if number > 1 else "")
            number += 1
        ids.add(name)
        yield name
