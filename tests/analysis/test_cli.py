"""Every command answers on a study and on its export, and bad input is one line."""

import re

import numpy as np
import pandas as pd
import pytest

import analysis
from analysis.cli import COMMANDS, main
from analysis.compare import BETTER, NOT_WORSE, UNDECIDED, WORSE, against


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
    assert text.startswith("env,metric,label,reference,n,effect,")
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
    assert main(["table", str(broken)]) == 0
    error = capsys.readouterr().err
    assert "note: 5 of 20 runs do not enter the scores (4 unfinished, 1 missing)" in error
    assert "not in the plan" in error


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
    ],
)
def test_bad_input_is_one_line(rainbow, capsys, words, message):
    assert main([word.format(rainbow) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_the_command_of_a_run_plans_that_run(tmp_path):
    """What the report prints for a run asks the harness for the very same run ids."""
    import shlex

    from analysis.report.runs import command
    from benchmark import grid, store

    common = ("env=acrobot", "algo.lr=1e-3", "evaluation.every=1500", "budget=15000", "seed=1,2")
    jobs = [
        job
        for own in (("algo=rainbow", "components=-noisy,none"), ("algo=dqn", "components=+double"))
        for job in grid.sweep((*own, *common, f"results={tmp_path}")).jobs
    ]
    assert len(jobs) == 3
    for job in jobs:
        record = {**store.run_record(job, 0)}
        _, _, _, *again = shlex.split(command(record))
        found = grid.sweep(tuple(w for w in again if w != "-m"))
        assert [run for j in found.jobs for run in j.run_ids] == job.run_ids, command(record)
