"""Every command answers on a study and on its export, and bad input is one line."""

import re

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.cli import COMMANDS, main
from prism.analysis.errors import AnalysisError


def out(capsys, *words):
    assert main([str(word) for word in words]) == 0
    return capsys.readouterr().out


def unwrapped(text):
    return " ".join(text.split())


def test_without_words_it_says_what_to_do_first(capsys):
    first = out(capsys).splitlines()
    commands = [line.split()[1] for line in first if line.startswith("  prism")]
    assert len(commands) == 5 and set(commands) <= set(COMMANDS)


def test_help_lists_every_command(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    listed = {line.split()[0] for line in capsys.readouterr().out.splitlines() if line.strip()}
    assert set(COMMANDS) <= listed


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(capsys, command):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    text = capsys.readouterr().out
    assert f"prism {command} " in text
    assert "--include" in text


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
    assert "Benjamini-Hochberg correction over 6 comparisons" in unwrapped(text)
    assert "Removing multi-step costs 7" in text
    assert "gap from DQN to Rainbow over 2 environments (Benjamini-Hochberg p < 0.001" in text


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
    assert "Seconds are wall-clock time of the job" in text
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
        assert "excluded: 4 of 10 runs of Rainbow on lake: failed; ValueError: loss is N" in text
        assert "--include" not in text  # unfinished runs never enter scores
        assert "excluded: 1 of 10 runs of Rainbow on lake: missing" in text
        assert "not in the plan" in text
    assert main(["table", str(broken), "--format", "csv"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("label,env,")
    assert "excluded: 4 of 10 runs of Rainbow on lake" in printed.err


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
    assert "Not normalised (all runs have the same score): flat." in scaled
    assert "flat" in out(capsys, "profile", path, "--normalise", "min-max")
    assert main(["profile", str(path)]) == 2
    assert "--normalise min-max needs none" in capsys.readouterr().err
    plan = out(capsys, "power", path)
    assert re.search(
        r"^hill +final +B +A +1 +6 .*continue: fewer than two runs$", plan, re.MULTILINE
    )


@pytest.fixture
def flat(tmp_path):
    """Arrays ``[runs, tasks]``, as rliable has them."""
    path = tmp_path / "scores.npz"
    runs = {label: np.random.default_rng(0).normal(size=(5, 3)) for label in "AB"}
    np.savez(path, **runs, random=[0, 0, 0], reference=[1, 1, 1])
    return path


def test_arrays_without_steps_make_a_report(capsys, flat, tmp_path):
    text = out(capsys, "report", flat, "--out", tmp_path / "report")
    assert "runs: 30 scored" in text
    assert "no run has a curve of eval/return" in text
    assert not list((tmp_path / "report" / "figures").glob("curves*"))


def test_figures_without_a_curve_are_not_written(capsys, flat, rainbow, tmp_path):
    for where, axis in ((flat, "steps"), (rainbow, "wall-clock")):
        figures = tmp_path / axis
        assert main(["curves", str(where), "--axis", axis, "--out", str(figures)]) == 2
        assert f"over {axis}\n" in capsys.readouterr().err
        assert not figures.exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["plot", "x"], "command: unknown 'plot'; "),
        (
            ["table"],
            "missing: WHERE; see prism table --help",
        ),
        (["compare", "{0}"], "compare: give --against WHERE or --published CSV"),
        (["compare", "{0}", "--published", "none.csv"], "none.csv: no such file"),
        (
            ["power", "{0}", "--reference", "Rainbo"],
            "reference: unknown 'Rainbo'; nearest: Rainbow",
        ),
        (["curves", "{0}"], "curves: --out DIR is required"),
        (
            ["table", "{0}", "--normalise", "human"],
            "--normalise human: no environment has human scores",
        ),
        (["curves", "{0}", "--out", "x", "--order", "DQ"], "order: unknown 'DQ'; nearest: DQN"),
        (
            ["curves", "{0}", "--out", "x", "--rename", "DQN=Rainbow"],
            "rename: two labels would be called 'Rainbow'",
        ),
        (["curves", "{0}", "--out", "x", "--rename", "DQN"], "--rename DQN: write OLD=NEW"),
        (["power", "{0}", "--effect", "nan"], "effect: nan is not a finite number"),
        (["power", "{0}", "--family", "-3"], "family: -3 comparisons; give at least 1"),
        (["compare", "{0}", "--against", "{0}", "--margin", "-1"], "margin: -1.0 is not a share"),
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
    assert "empty.csv: cannot be read (No columns to parse" in capsys.readouterr().err

    def full(*_, **__):
        raise OSError(28, "No space left on device", "runs.csv")

    monkeypatch.setattr(pd.DataFrame, "to_csv", full)
    assert main(["export", str(rainbow), "--out", str(tmp_path / "tidy")]) == 2
    assert capsys.readouterr().err.startswith("error: runs.csv: No space left on device: no space")


@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda study: study.aggregate("humans"), "normalise: unknown 'humans'; nearest: human"),
        (lambda study: study.ablation(test="wilcoxon"), "test: unknown 'wilcoxon'; nearest: welch"),
        (
            lambda study: study.ablation(correction="holm"),
            "correction: unknown 'holm'; nearest: Holm",
        ),
        (lambda study: study.factorial("holm"), "correction: unknown 'holm'; nearest: Holm"),
        (lambda study: study.power("Rainbo"), "reference: unknown 'Rainbo'; nearest: Rainbow"),
        (lambda study: study.curves("time/wal"), "axis: unknown 'time/wal'; nearest: time/wall"),
        (lambda study: study.compare(study, float("nan")), "margin: nan is not a share"),
    ],
)
def test_a_notebook_is_told_the_same(rainbow, ask, message):
    with pytest.raises(AnalysisError, match=message):
        ask(analysis.load(rainbow))
