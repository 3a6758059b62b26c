"""Which comparisons of a study are decided after a look at it, and which agents need more seeds.

The comparisons are those of the headlines: the components of each section, or all pairs of agents
where the best of them is sought. They are one family over all sections. A look tests those that
are open, by the test of the report; ``stats.over_looks`` corrects over the looks and the family.

A component is decided when its effect is shown, or when it never acted. Of agents, one is out when
it is shown to be behind another: it cannot be the best. What is decided gets no more seeds and is
not tested again, so that all open agents have the runs that were planned for a look.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from .. import stats
from ..errors import AnalysisError, count
from ..load.data import load
from .curves import curve_metric
from .design import Choice, families
from .pooled import SAME, Headline, headlines
from .sameness import merged
from .scores import FINAL, score_runs

LEVEL = 1 - stats.LEVEL
Key = tuple[str, str, str, str, str]  # section, base, full, and the two labels


class Tested(TypedDict):
    """One comparison at one look: ``one`` minus ``other``; ``p`` is None if it was not tested."""

    section: str
    base: str
    full: str
    one: str
    other: str
    effect: float
    p: float | None
    same: bool


class Record(TypedDict):
    """What is kept of a sequential test: the looks that were planned, and those that were made.

    Attributes:
        seeds: of every open agent at each planned look.
        reference: the label that agents are compared with, or None: the best is sought.
        looks: the comparisons of each look so far.
        open: labels that get more seeds; None before the first look.
    """

    seeds: list[int]
    reference: str | None
    looks: list[list[Tested]]
    open: list[str] | None


def check(folder: Path, reference: str | None) -> None:
    """Check that the comparisons of a study can be looked at, before anything runs.

    Raises:
        AnalysisError: there are none, or none with the reference.
    """
    data = load(str(folder))
    found = families(data, data.scored, FINAL, Choice(reference=reference))
    if not any(len(family.labels) > 1 for family in found):
        raise AnalysisError(f"{folder}: no two agents can be compared on its environments")


def look(folder: Path, record: Record) -> Record:
    """Return the record after one more look at the runs of a study.

    Raises:
        AnalysisError: the runs cannot be read together.
    """
    data = merged(load(str(folder)))
    scores = score_runs(data, curve_metric(data))
    found = headlines(data, scores, Choice(reference=record["reference"]))
    return after(record, found)


def after(record: Record, found: Sequence[Headline]) -> Record:
    """Return the record after a look that found these effects."""
    before = record["open"]
    tests: list[Tested] = []
    for headline in found:
        for test in headline.tests:
            active = before is None or {test.one, test.other} <= set(before)
            p = test.p if active and np.isfinite(test.p) else None
            tests.append(
                {"section": headline.section, "base": headline.base, "full": headline.full,
                 "one": test.one, "other": test.other, "effect": test.effect, "p": p,
                 "same": test.note.startswith(SAME)}
            )  # fmt: skip
    looks = [*record["looks"], tests]
    now: Record = {**record, "looks": looks}
    chosen = {(h.section, h.base, h.full) for h in found if h.chosen}
    out = _out(now, chosen)
    undecided = [t for t in tests if not _decided(t, out, chosen)]
    now["open"] = list(dict.fromkeys(x for t in undecided for x in (t["one"], t["other"])))
    return now


def _out(record: Record, chosen: set[tuple[str, str, str]]) -> set[Key | str]:
    """Return the comparisons that are decided, and the agents that cannot be the best."""
    out: set[Key | str] = set()
    for key, (p, effect) in corrected(record).items():
        if p < LEVEL:
            out.add(key)
            if key[:3] in chosen:
                out.add(key[4] if effect > 0 else key[3])
    for test in _same(record):
        out.add(_key(test))
        if _key(test)[:3] in chosen:
            out.add(test["other"])
    return out


def _same(record: Record) -> list[Tested]:
    """Return the comparisons of runs that were identical at a look, each once."""
    found = {_key(test): test for tests in record["looks"] for test in tests if test["same"]}
    return list(found.values())


def _decided(test: Tested, out: set[Key | str], chosen: set[tuple[str, str, str]]) -> bool:
    if _key(test)[:3] in chosen:
        return test["one"] in out or test["other"] in out
    return _key(test) in out


def _key(test: Tested) -> Key:
    return test["section"], test["base"], test["full"], test["one"], test["other"]


def corrected(record: Record) -> dict[Key, tuple[float, float]]:
    """Return the corrected p of every comparison and its effect at the look of its smallest p."""
    keys = list(dict.fromkeys(_key(test) for tests in record["looks"] for test in tests))
    place = {key: i for i, key in enumerate(keys)}
    p = np.full((len(record["looks"]), len(keys)), np.nan)
    effects = np.zeros(p.shape)
    for row, tests in enumerate(record["looks"]):
        for test in tests:
            effects[row, place[_key(test)]] = test["effect"]
            if test["p"] is not None:
                p[row, place[_key(test)]] = test["p"]
    least = np.where(np.isnan(p), np.inf, p).argmin(0)
    adjusted = stats.over_looks(p.tolist(), len(record["seeds"]))
    return {
        key: (float(adjusted[i]), float(effects[least[i], i]))
        for key, i in place.items()
        if np.isfinite(adjusted[i])
    }


def told(record: Record) -> list[str]:
    """Return what is decided and what is open after the looks so far, a line each."""
    done = len(record["looks"])
    n, found = record["seeds"][done - 1], corrected(record)
    lines = [f"look {done} of {len(record['seeds'])}, {n} seeds"]
    shown = sorted((p, key, effect) for key, (p, effect) in found.items() if p < LEVEL)
    for p, (*_, one, other), effect in shown:
        above, below = (one, other) if effect > 0 else (other, one)
        value = "< 0.001" if p < 0.001 else f"= {p:.3f}"
        lines.append(f"decided   {above} scores above {below} (p {value}, corrected)")
    for test in _same(record):
        lines.append(f"decided   {test['one']} and {test['other']}: the runs are identical")
    if record["open"]:
        lines.append(f"open      {', '.join(record['open'])}")
    lines.append(
        f"error     family-wise at most {LEVEL:.0%}, over {count(len(found), 'comparison')} and "
        f"{count(len(record['seeds']), 'planned look')}"
    )
    return lines


def begun(seeds: Sequence[int], reference: str | None) -> Record:
    """Return the record of a sequential test before its first look."""
    return {"seeds": list(seeds), "reference": reference, "looks": [], "open": None}


def checked(value: Any) -> Record:
    """Return a record that was read from a file.

    Raises:
        AnalysisError: it is none.
    """
    wrong = AnalysisError("it is no record of looks")
    if not isinstance(value, Mapping) or set(value) != set(Record.__annotations__):
        raise wrong
    looks, seeds, labels = value["looks"], value["seeds"], value["open"]
    if not (isinstance(looks, list) and isinstance(seeds, list) and len(looks) <= len(seeds)):
        raise wrong
    if not all(isinstance(n, int) and not isinstance(n, bool) for n in seeds) or (
        labels is not None and not all(isinstance(x, str) for x in labels)
    ):
        raise wrong
    names = set(Tested.__annotations__)
    for tests in looks:
        if not isinstance(tests, list) or any(
            not isinstance(test, Mapping) or set(test) != names for test in tests
        ):
            raise wrong
    return {**value}  # type: ignore[typeddict-item]
