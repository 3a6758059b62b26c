"""Comparisons with older runs."""

import re

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.cli import main
from prism.analysis.questions.compare import (
    BETTER,
    MISSING_NEW,
    MISSING_OLD,
    NOT_COMPARED,
    NOT_WORSE,
    UNDECIDED,
    WORSE,
    against,
)


def out(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def pair(new, old, n=10):
    rng = np.random.default_rng(0)
    rows = [
        {"label": "A", "env": env, "seed": s, "final": mean + rng.normal(), "place": place}
        for place, means in (("new", new), ("old", old))
        for env, mean in means.items()
        for s in range(n)
    ]
    frame = pd.DataFrame(rows)
    return (analysis.load(frame[frame.place == x].drop(columns="place")) for x in ("new", "old"))


def test_is_the_new_code_worse():
    new, old = pair({"a": 100, "b": 90, "c": 110, "d": 10}, {"a": 100, "b": 100, "c": 100, "d": 10})
    found = new.compare(old).set_index("env")
    assert list(found.verdict) == [NOT_WORSE, WORSE, BETTER, UNDECIDED]
    assert found.margin["a"] == pytest.approx(5, abs=0.1)


def sides(tmp_path):
    """Two tables: of the new one, B crashed on one environment and C was not run at all."""
    rng = np.random.default_rng(0)
    rows = [
        {"label": x, "env": env, "seed": s, "global_step": 100, "final": 10 + rng.normal()}
        for x in "ABC"
        for env in ("lake", "pond")
        for s in range(4)
    ]
    old = pd.DataFrame(rows).assign(state="finished", protocol="p1", budget=100)
    new = old[old.label != "C"].copy()
    new.loc[(new.label == "B") & (new.env == "pond"), "state"] = "failed"
    return new, old


def test_what_only_one_side_has_is_a_row(capsys, tmp_path):
    new, old = sides(tmp_path)
    for frame, name in ((new, "new.csv"), (old, "old.csv")):
        frame.to_csv(tmp_path / name, index=False)
    found = analysis.load(new).compare(analysis.load(old)).set_index(["label", "env"])
    assert found.verdict["B", "pond"] == MISSING_NEW
    assert list(found.loc["B", "pond"][["n_new", "planned_new", "n_old"]]) == [0, 4, 4]
    assert found.note["B", "pond"] == "new: 0 of 4 runs scored: failed"
    assert set(found.verdict["C"]) == {MISSING_NEW}
    assert found.note["C", "lake"].startswith("new has no label 'C'; valid: ")
    assert found.p.notna().sum() == 3
    back = analysis.load(old).compare(analysis.load(new)).set_index(["label", "env"])
    assert back.verdict["C", "lake"] == MISSING_OLD
    text = out(capsys, "compare", tmp_path / "new.csv", "--against", tmp_path / "old.csv")
    assert "new: 16 planned, 12 finished, 4 failed, 12 scored\n" in text
    assert "old: 24 planned, 24 finished, 24 scored\n" in text
    assert "new: excluded: 4 of 4 runs of B on pond: failed" in text
    assert re.search(r"^B +pond +0/4 +4/4 .*missing in new", text, re.MULTILINE)


@pytest.mark.parametrize(("flag", "other"), [("protocol", "p2"), ("budget", 200)])
def test_other_protocols_and_budgets_are_not_compared_unless_asked_for(tmp_path, flag, other):
    _, old = sides(tmp_path)
    new = old.copy()
    mine = new.env == "lake"
    new[flag] = new[flag].where(~mine, other)
    if flag == "budget":
        new["global_step"] = new.budget
    found = analysis.load(new).compare(analysis.load(old))
    lake = found.env == "lake"
    assert set(found.verdict[lake]) == {NOT_COMPARED}
    assert found.difference[lake].isna().all()
    said = f"{flag} {other} against {'p1' if flag == 'protocol' else 100}"
    assert set(found.note[lake]) == {f"{said} (--include {flag} allows it)"}
    assert set(found.verdict[~lake]) == {UNDECIDED}
    asked = analysis.load(new, include=[flag]).compare(analysis.load(old, include=[flag]))
    assert NOT_COMPARED not in set(asked.verdict)
    assert set(asked.note[lake]) == {said}


@pytest.mark.slow
def test_not_worse_is_rarely_said_of_what_is_worse_by_the_margin():
    rng, said = np.random.default_rng(1), 0
    for _ in range(200):
        frames = [
            analysis.load(pd.DataFrame({"label": "A", "env": "e", "seed": range(6), "final": x}))
            for x in (rng.normal(95, 1, 6), rng.normal(100, 1, 6))
        ]
        said += against(frames[0].data, frames[1].data, 0.05).verdict[0] == NOT_WORSE
    assert said / 200 <= 0.06
