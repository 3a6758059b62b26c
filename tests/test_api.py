"""Prism from Python: what ``prism.run`` refuses before anything runs, and what it returns."""

import pytest

import prism
from prism.api import choice, run

QUICK = {
    "budget": 300,
    "evaluation__episodes": 2,
    "evaluation__periodic_episodes": 1,
    "log_every": 100,
    "tracking": "disabled",
}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ({"algo": "dqm", "env": "cartpole"}, "algo: unknown 'dqm'; nearest: dqn"),
        ({"algo": 3, "env": "cartpole"}, "algo: 3 is not a name; say algo='dqn'"),
        ({"algo": "dqn", "env": "env=cartpole"}, "env: 'env=cartpole' is not a name"),
        ({"algo": "dqn", "env": "cartpole", "seeds": 0, "seed": 1}, "seeds= or seed=, not both"),
        ({"algo": "dqn", "env": "cartpole", "algo__gama": 1}, "algo.gama: no such key"),
        ({"algo": "dqn", "env": "cartpole", "launcher": "slrum"}, "hydra/launcher: unknown"),
        (
            {"algo": "dqn", "env": "cartpole", "launcher": {"jobs": 2}},
            "launcher: got an unexp",
        ),
    ],
)
def test_mistakes_are_one_line_and_nothing_runs(words, line, elsewhere):
    with pytest.raises(prism.ConfigError) as told:
        run(**words)
    assert line in str(told.value) and "\n" not in str(told.value)
    assert list(elsewhere.iterdir()) == []


def test_a_call_trains_and_returns_the_study(capsys):
    study = run("q_learning", "frozenlake", seeds=range(2), algo__alpha=0.5, name="mine", **QUICK)
    assert "2 runs, 2 finished" in capsys.readouterr().out
    assert sorted(study.scores.seed) == [0, 1]
    again = run("q_learning", "frozenlake", seeds=range(2), algo__alpha=0.5, name="mine", **QUICK)
    assert "2 finished before, 0 to do" in capsys.readouterr().out
    assert again.scores.final.tolist() == prism.load("results/mine").scores.final.tolist()


def test_a_choice_is_swept():
    study = run("q_learning", "frozenlake", algo__gamma=choice(0.9, 0.99), name="two", **QUICK)
    assert len(study.runs) == 2 and study.runs.label.nunique() == 2
