"""Comparisons with older runs."""

import re

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.cli import main
from prism.analysis.questions.compare import (
    AGREES,
    BETTER,
    DIFFERS,
    IDENTICAL,
    MISSING_NEW,
    MISSING_OLD,
    NOT_COMPARED,
    NOT_TOLD,
    NOT_WORSE,
    UNDECIDED,
    WORSE,
    against,
    read_published,
    with_published,
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
    assert list(found.loc["B", "pond"][["n_new", "n_old"]]) == [0, 4]
    assert found.planned_new.isna().all()
    assert found.note["B", "pond"] == "new: 0 of 4 runs scored: failed"
    assert set(found.verdict["C"]) == {MISSING_NEW}
    assert found.note["C", "lake"].startswith("new has no label 'C'; valid: ")
    assert (found.verdict == IDENTICAL).sum() == 3
    back = analysis.load(old).compare(analysis.load(new)).set_index(["label", "env"])
    assert back.verdict["C", "lake"] == MISSING_OLD
    text = out(capsys, "compare", tmp_path / "new.csv", "--against", tmp_path / "old.csv")
    assert "new: 16 read, 4 failed, 12 scored\n" in text
    assert "old: 24 scored\n" in text
    assert "new: excluded: 4 of 4 runs of B on pond: failed" in text
    assert re.search(r"^B +pond +0 +4 .*missing in new", text, re.MULTILINE)


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
    assert set(found.verdict[~lake]) == {IDENTICAL}
    asked = analysis.load(new, include=[flag]).compare(analysis.load(old, include=[flag]))
    assert NOT_COMPARED not in set(asked.verdict)
    assert set(asked.note[lake]) == {said}


def test_a_study_against_itself():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"label": "A", "env": "e", "seed": range(6), "final": rng.normal(size=6)})
    found = analysis.load(frame).compare(analysis.load(frame.sample(frac=1, random_state=1)))
    assert list(found.verdict) == [IDENTICAL]
    assert found.p.isna().all()
    assert "an old mean near 0" in found.note[0]
    other = frame.assign(final=[*frame.final[:5], np.nextafter(frame.final[5], np.inf)])
    assert list(analysis.load(frame).compare(analysis.load(other)).verdict) != [IDENTICAL]


def test_seeds_with_an_effect_are_paired():
    rng = np.random.default_rng(0)
    luck = 50 * rng.normal(size=10)
    old, new = (
        pd.DataFrame({"label": "A", "env": "e", "seed": range(10), "final": mean + luck})
        for mean in (1000, 1010)
    )
    new.final += rng.normal(size=10)
    found = analysis.load(new).compare(analysis.load(old))
    assert list(found.test) == ["paired t"]
    assert list(found.verdict) == [BETTER]


def test_better_is_corrected_over_the_cells():
    """A difference told by its own test alone is told no more among twenty cells."""
    rng = np.random.default_rng(3)
    old = {f"e{i}": rng.normal(size=10) for i in range(20)}
    new = {env: rng.permutation(x) for env, x in old.items()}
    new["e0"] = new["e0"] + 1.1 * old["e0"].std(ddof=1)

    def study(scores):
        return analysis.load(
            pd.concat(
                pd.DataFrame({"label": "A", "env": env, "seed": range(10), "final": x + 100})
                for env, x in scores.items()
            )
        )

    row = study(new).compare(study(old), margin=0.0).set_index("env").loc["e0"]
    assert row.low > 0
    assert row.p < 0.05 < row.p_adjusted
    assert row.verdict == UNDECIDED


def test_a_loss_within_the_margin_is_not_worse():
    rng = np.random.default_rng(0)
    old = pd.DataFrame({"label": "A", "env": "e", "seed": range(10)})
    old["final"] = 100 + 0.2 * rng.normal(size=10)
    new = old.assign(final=98 + 0.2 * rng.normal(size=10))
    row = analysis.load(new).compare(analysis.load(old), margin=0.05).iloc[0]
    assert row.high < 0
    assert row.p_adjusted < 0.001
    assert row.verdict == NOT_WORSE
    assert analysis.load(new).compare(analysis.load(old), margin=0.01).verdict[0] == WORSE


def test_published_numbers_agree_only_inside_the_margin(tmp_path, capsys):
    rng = np.random.default_rng(1)
    rows = [
        {"label": "A", "env": env, "seed": s, "final": 100 + spread * rng.normal()}
        for env, spread in (("tight", 1), ("wide", 300), ("off", 1))
        for s in range(8)
    ]
    pd.DataFrame(rows).to_csv(tmp_path / "ours.csv", index=False)
    (tmp_path / "theirs.csv").write_text(
        "label,env,score,source\nA,tight,100,x\nA,wide,100,x\nA,off,90,x\n"
    )
    published = read_published(str(tmp_path / "theirs.csv"))
    found = with_published(analysis.load(str(tmp_path / "ours.csv")).data, published)
    assert list(found.verdict) == [AGREES, NOT_TOLD, DIFFERS]
    text = out(
        capsys, "compare", tmp_path / "ours.csv", "--published", tmp_path / "theirs.csv",
        "--margin", "0.5",
    )  # fmt: skip
    assert text.count("agrees") >= 3


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
