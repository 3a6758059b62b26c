"""Every command answers on a study and on its export, and bad input is one line."""

import re

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.cli import COMMANDS, main
from prism.analysis.errors import AnalysisError
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
from prism.analysis.report import table


def out(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert f"python -m analysis {command} " in text
    assert "--take" in text


def test_table(capsys, rainbow):
    text = out(capsys, "table", rainbow, "--normalise", "min-max", "--format", "markdown")
    assert "optimality gap" in text
    assert re.search(r"\| Rainbow \| 0\.9\d+ \[", text)
    assert r"\toprule" in out(capsys, "table", rainbow, "--format", "latex")


def test_ablation(capsys, rainbow):
    text = out(
        capsys, "ablation", rainbow, "--correct", "Benjamini-Hochberg", "--test", "permutation"
    )
    assert "permutation of Welch's t" in text
    assert "Benjamini-Hochberg correction over the 6 comparisons" in text
    assert "removing multi-step hurts on 2 of 2 environments" in text


def test_power(capsys, rainbow):
    text = out(capsys, "power", rainbow, "--effect", "10", "--family", "6", "--format", "csv")
    assert text.startswith("env,metric,label,reference,n,n_reference,effect,")
    found = analysis.load(rainbow).power(effect=10.0, family=6)
    row = found[(found.label == "Rainbow - noisy") & (found.metric == "final")].iloc[0]
    assert 3 <= row.needed <= row.needed_safe <= 40
    assert row.power_50 > 0.99 > row.power_3
    decided = found[(found.label == "DQN") & (found.metric == "final")]
    assert set(decided.now) == {"stop: they differ"}


def test_profile(capsys, rainbow):
    assert "Share of runs above a normalised score" in out(capsys, "profile", rainbow)
    found = analysis.load(rainbow).profile([0.0, 0.5, 5.0])
    mine = found[found.label == "Rainbow"].set_index("above")
    assert mine.share[0.0] == 1
    assert mine.share[5.0] == 0
    assert (mine.low <= mine.share).all()


def test_curves_over_steps_and_over_the_clock(capsys, writer, tmp_path):
    study = writer("clock")
    for seed in range(3):
        path = study.run(study.variant("DQN"), "lake", seed, 50)
        times = [
            f'{{"global_step": {k * 500}, "wall": {k * 2.0}, "cpu": 1}}\n' for k in range(1, 21)
        ]
        (path / "timing.jsonl").write_text("".join(times))
    folder = study.plan()
    text = out(
        capsys, "curves", folder, "--axis", "wall-clock", "--out", tmp_path, "--width", "column"
    )
    assert "Seconds are those of the job" in text
    frame = pd.read_csv(tmp_path / "curves.csv")
    assert (frame.step.iloc[0], frame.step.iloc[-1]) == (2, 40)
    assert (tmp_path / "curves.pdf").stat().st_size > 1000


def test_an_export_comes_back_the_same(capsys, rainbow, tmp_path):
    assert "160 runs" in out(capsys, "export", rainbow, "--out", tmp_path)
    one, two = analysis.load(rainbow), analysis.load(tmp_path / "metrics.parquet")
    assert list(one.scores.final) == list(two.scores.final)
    assert list(one.scores.auc) == list(two.scores.auc)


def test_labels_can_be_renamed_and_ordered(capsys, rainbow, tmp_path):
    words = ["--rename", "Rainbow - noisy=quiet", "--order", "DQN", "quiet"]
    out(capsys, "curves", rainbow, "--out", tmp_path, *words)
    data = analysis.load(rainbow).data.presented({"Rainbow - noisy": "quiet"}, ["DQN", "quiet"])
    assert data.labels[:3] == ["DQN", "quiet", "Rainbow"]


def test_a_table_says_what_does_not_enter_it(capsys, broken):
    for command in ("table", "ablation", "power", "profile"):
        text = out(capsys, command, broken)
        assert text.startswith("runs: 20 planned, 15 finished, 1 failed, 2 interrupted, ")
        assert "left out: 4 of 10 runs of Rainbow on lake: failed; ValueError: loss is N" in text
        assert "(let in by --take unfinished)" in text
        assert "left out: 1 of 10 runs of Rainbow on lake: missing" in text
        assert "not in the plan" in text
    assert main(["table", str(broken), "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("label,env,")
    assert "left out: 4 of 10 runs of Rainbow on lake" in printed.err


def test_every_score_says_its_runs_and_what_is_wrong_with_it(capsys, tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {"label": label, "env": env, "seed": s, "final": 5 if env == "flat" else rng.normal()}
        for label, n in (("A", 6), ("B", 1), ("C", 6))
        for env in ("flat", "hill", "dale")
        for s in range(n)
    ]
    path = tmp_path / "runs.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    text = out(capsys, "table", path)
    assert re.search(r"^A +5.00 \[5.00, 5.00\] \(6\) .* \(6\)$", text, re.MULTILINE)
    assert re.search(r"^B .* \(1\)$", text, re.MULTILINE)
    assert "All runs are equal: A, flat; C, flat." in text
    assert "One run: no interval: B, flat; B, hill; B, dale." in text
    scaled = out(capsys, "table", path, "--normalise", "min-max")
    assert "Not normalised, for all runs score the same: flat." in scaled
    assert "flat" in out(capsys, "profile", path, "--normalise", "min-max")
    assert main(["profile", str(path)]) == 2
    assert "--normalise min-max needs none" in capsys.readouterr().err
    plan = out(capsys, "power", path)
    assert re.search(r"^hill +final +B +A +1 +6 .*go on: fewer than two runs$", plan, re.MULTILINE)


def test_numbers_have_no_exponent():
    cells = table.numbers([12071.3, 0.5, 1e-7, float("nan")])
    assert cells == ["12071", "0.5000", "0.0000001000", table.DASH]
    assert table.numbers([3.0, 12.0]) == ["3", "12"]


@pytest.fixture
def flat(tmp_path):
    """Arrays ``[runs, tasks]``, as rliable has them."""
    path = tmp_path / "scores.npz"
    runs = {label: np.random.default_rng(0).normal(size=(5, 3)) for label in "AB"}
    np.savez(path, **runs, random=[0, 0, 0], reference=[1, 1, 1])
    return path


def test_arrays_without_steps_make_a_report(capsys, flat, tmp_path):
    text = out(capsys, "report", flat, "--out", tmp_path / "report")
    assert "30 planned, 30 finished, 30 scored" in text
    assert "that have no curve of eval/return" in text
    assert not list((tmp_path / "report" / "figures").glob("curves*"))


def test_figures_without_a_curve_are_not_written(capsys, flat, rainbow, tmp_path):
    for where, axis in ((flat, "steps"), (rainbow, "wall-clock")):
        figures = tmp_path / axis
        assert main(["curves", str(where), "--axis", axis, "--out", str(figures)]) == 2
        assert f"over {axis}\n" in capsys.readouterr().err
        assert not figures.exists()


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
    assert found.note["B", "pond"] == "new: none of 4 runs is scored: failed"
    assert set(found.verdict["C"]) == {MISSING_NEW}
    assert found.note["C", "lake"].startswith("new has no run of it; labels there: ")
    assert found.p.notna().sum() == 3
    back = analysis.load(old).compare(analysis.load(new)).set_index(["label", "env"])
    assert back.verdict["C", "lake"] == MISSING_OLD
    text = out(capsys, "compare", tmp_path / "new.csv", "--against", tmp_path / "old.csv")
    assert "new: 16 planned, 12 finished, 4 failed, 12 scored\n" in text
    assert "old: 24 planned, 24 finished, 24 scored\n" in text
    assert "new: left out: 4 of 4 runs of B on pond: failed" in text
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
    assert set(found.note[lake]) == {f"{said}, let in by --take {flag}"}
    assert set(found.verdict[~lake]) == {UNDECIDED}
    asked = analysis.load(new, take=[flag]).compare(analysis.load(old, take=[flag]))
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plot", "x"], "invalid choice: 'plot'"),
        (["table"], "the following arguments are required: where"),
        (["compare", "{0}"], "compare needs --against OLD or --published FILE"),
        (["compare", "{0}", "--published", "none.csv"], "none.csv: no such file"),
        (["power", "{0}", "--reference", "Rainbo"], "no label 'Rainbo'; there are Rainbow"),
        (["curves", "{0}"], "curves needs --out DIR"),
        (["table", "{0}", "--normalise", "human"], "no environment has the scores"),
        (["curves", "{0}", "--out", "x", "--order", "DQ"], "no label 'DQ'; there are DQN"),
        (
            ["curves", "{0}", "--out", "x", "--rename", "DQN=Rainbow"],
            "two labels would have one name",
        ),
        (["curves", "{0}", "--out", "x", "--rename", "DQN"], "--rename DQN: say OLD=NEW"),
        (["power", "{0}", "--effect", "nan"], "effect: nan is no finite number"),
        (["power", "{0}", "--family", "-3"], "family: -3 comparisons; there is at least 1"),
        (["compare", "{0}", "--against", "{0}", "--margin", "-1"], "margin: -1.0 is no share"),
        (["report", "{0}", "--out", "{0}/plan.json"], "plan.json is a file; name a folder"),
        (["export", "{0}", "--out", "{0}/plan.json/sub"], "plan.json is a file; name a folder"),
    ],
)
def test_bad_input_is_one_line(rainbow, capsys, words, message):
    assert main([word.format(rainbow) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_what_cannot_be_read_or_written_is_one_line(rainbow, capsys, tmp_path, monkeypatch):
    (tmp_path / "empty.csv").touch()
    words = ["compare", str(rainbow), "--published", str(tmp_path / "empty.csv")]
    assert main(words) == 2
    assert "empty.csv: unreadable (No columns to parse" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(28, "No space left on device", "runs.csv")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert main(["export", str(rainbow), "--out", str(tmp_path / "tidy")]) == 2
    assert capsys.readouterr().err == "analysis: runs.csv: No space left on device\n"


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda study: study.aggregate("humans"), "no normalisation 'humans'; there are human"),
        (lambda study: study.ablation(test="wilcoxon"), "no test 'wilcoxon'; there are"),
        (lambda study: study.ablation(correction="holm"), "no correction 'holm'; there are Holm"),
        (lambda study: study.factorial("holm"), "no correction 'holm'; there are Holm"),
        (lambda study: study.power("Rainbo"), "no label 'Rainbo'; there are Rainbow"),
        (lambda study: study.curves("time/wal"), "no axis 'time/wal'; there are time/wall"),
        (lambda study: study.compare(study, float("nan")), "margin: nan is no share"),
    ],
)
def test_a_notebook_is_told_the_same(rainbow, ask, message):
    with pytest.raises(AnalysisError, match=message):
        ask(analysis.load(rainbow))


def test_the_command_of_a_run_plans_that_run(tmp_path):
    """What the report prints for a run asks the harness for the very same run ids."""
    import shlex

    from prism.analysis.report.runs import command
    from prism.benchmark.plan import grid
    from prism.benchmark.store import records

    common = ("env=acrobot", "algo.lr=1e-3", "evaluation.every=1500", "budget=15000", "seed=1,2")
    jobs = [
        job
        for own in (("algo=rainbow", "components=-noisy,none"), ("algo=dqn", "components=+double"))
        for job in grid.sweep((*own, *common, f"results={tmp_path}")).jobs
    ]
    assert len(jobs) == 3
    for job in jobs:
        record = {**records.run_record(job, 0)}
        _, _, _, *again = shlex.split(command(record))
        found = grid.sweep(tuple(w for w in again if w != "-m"))
        assert [run for j in found.jobs for run in j.run_ids] == job.run_ids, command(record)
