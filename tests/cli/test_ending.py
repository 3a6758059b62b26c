"""What a sweep prints at its end: scores with their intervals, and what it is still writing."""

import re
from pathlib import Path

import pytest

from prism.analysis import load
from prism.analysis.report.brief import brief
from prism.benchmark.cli import ending
from prism.benchmark.cli.main import main
from prism.benchmark.store import records

LAKE = ["env=frozenlake", "budget=60", "evaluation.episodes=2", "tracking=disabled"]
LAKE += ["hydra/launcher=inline"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_a_sweep_ends_with_its_scores_and_status_has_them(capsys):
    words = [*LAKE, "algo=q_learning,sarsa", "seed=0,1,2", "name=two"]
    assert main(words) == 0
    out = capsys.readouterr().out
    scores = load("results/two").scores.groupby("label", sort=False).final
    for label, mean in scores.mean().items():
        (line,) = re.findall(rf"^{re.escape(str(label))} .*\[.*$", out, re.MULTILINE)
        assert line.split()[-4] == f"{mean:.3f}" and line.endswith("(3)")
    assert out.index("Final score") < out.index("complete after")
    assert main(["status", "results/two"]) == 0
    assert out.partition("Final score")[2].partition("\n\ncomplete")[0] in capsys.readouterr().out


def test_a_single_run_ends_with_a_line_of_its_score(capsys):
    assert main([*LAKE, "algo=q_learning", "seed=3"]) == 0
    out = capsys.readouterr().out
    (line,) = (line for line in out.splitlines() if line.startswith("score"))
    assert re.fullmatch(
        r"score    Q-learning on frozenlake: final score \d\.\d+ no interval, n = 1", line
    )


def test_only_the_runs_of_the_command_count(capsys):
    for seeds in ("0,1", "5,6,7"):
        assert main([*LAKE, "algo=q_learning", f"seed={seeds}"]) == 0
    assert [line for line in capsys.readouterr().out.splitlines() if line.endswith("n = 3")]
    assert brief(Path("results/adhoc")).endswith("n = 5")


def test_the_second_form_of_the_policy_has_a_table(capsys):
    words = ["algo=ppo", "env=cartpole", "budget=256", "evaluation.also=sampled", "seed=0,1"]
    words += ["algo.rollout=32", "evaluation.episodes=2", "evaluation.every=0", "name=ppo"]
    assert main([*words, "tracking=disabled", "hydra/launcher=inline"]) == 0
    out = capsys.readouterr().out
    scored = load("results/ppo")
    last = scored.metrics.groupby("run_id", observed=True)["final/return_sampled"].last()
    assert f"final score, sampled policy {last.mean():.2f}" in out


def test_runs_that_cannot_be_read_together_are_one_line(tmp_path, capsys, monkeypatch):
    assert main([*LAKE, "algo=q_learning", "seed=0,1", "name=q"]) == 0
    plan = records.read_json(Path("results/q/plan.json"))
    records.write_json(Path("results/q/plan.json"), plan | {"schema": 1})
    capsys.readouterr()
    ending.print_scores(Path("results/q"), 2)
    out = capsys.readouterr().out
    assert (
        out.startswith("\nscore    none: results/q/plan.json has schema 1") and out.count("\n") == 2
    )
    monkeypatch.setattr("prism.analysis.report.brief.load_runs", lambda *_: 1 / 0)
    ending.print_scores(Path("results/q"), 2)
    assert "score    none: a fault of Prism: ZeroDivisionError" in capsys.readouterr().out
    ending.print_scores(Path("results/q"), 3000)
    assert "3,000 runs are finished; their scores: prism table" in capsys.readouterr().out


def test_the_report_for_wandb_is_asked_for_and_announced(capsys, monkeypatch):
    sent = []
    monkeypatch.setattr("prism.benchmark.tracking.push.mirror_study", sent.append)
    words = [*LAKE[:-2], "algo=q_learning", "seed=0", "tracking=offline", "hydra/launcher=inline"]
    assert main([*words, "name=quiet"]) == 0
    assert sent == [] and "W&B" not in capsys.readouterr().out
    assert main([*words, "name=told", "tracking.report=true"]) == 0
    out = capsys.readouterr().out
    assert [path.name for path in sent] == ["told"]
    assert 0 < out.index("writing the report and sending it to W&B") < out.index("complete after")
