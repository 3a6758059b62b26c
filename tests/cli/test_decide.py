"""``prism extend until=decided``: seeds are run where comparisons are open, and then no more."""

import json
from collections import Counter
from pathlib import Path

import pytest

from prism.analysis.questions import adaptive
from prism.benchmark.cli import decide
from prism.benchmark.cli.main import main
from prism.benchmark.launch.core import launch
from prism.benchmark.store import records, studies
from tests.launch import fakes

SMALL = ["evaluation.episodes=1", "tracking=disabled", "hydra/launcher=inline"]
LAKE = [*SMALL, "env=frozenlake", "budget=60", "name=lake"]
STUDY = Path("results/lake")
UNTIL = ["extend", str(STUDY), "until=decided"]


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def planned(study: Path) -> Counter[str]:
    plan = records.read_json(study / "plan.json")
    return Counter(run["variant"]["label"] for run in plan["runs"])


@pytest.fixture
def three(monkeypatch):
    """A study of three agents whose jobs end at once, and looks that leave open what is told."""
    monkeypatch.setattr(launch, "__defaults__", (fakes.rows,))
    assert main([*LAKE, "algo=q_learning,sarsa,expected_sarsa", "seed=0,1"]) == 0
    answers: list[list[str]] = []

    def look(folder, record):
        return {**record, "looks": [*record["looks"], []], "open": answers.pop(0)}

    monkeypatch.setattr(adaptive, "look", look)
    return answers


@pytest.mark.slow
def test_agents_without_a_difference_run_to_the_last_look(capsys):
    assert main([*LAKE, "algo=q_learning,sarsa", "seed=0,1"]) == 0
    assert main([*UNTIL, "max_seeds=3", "step=1", "hydra/launcher=inline"]) == 0
    out = capsys.readouterr().out
    assert "look 2 of 2, 3 seeds\nopen      Q-learning, Sarsa" in out
    assert "error     family-wise at most 5%, over 1 comparison and 2 planned looks" in out
    assert "the last look is made; not decided: Q-learning, Sarsa" in out
    assert planned(STUDY) == {"Q-learning": 3, "Sarsa": 3}


@pytest.mark.slow
def test_agents_that_differ_are_decided_and_get_no_more_seeds(capsys):
    words = [*SMALL, "algo=q_learning,dyna_q", "env=dyna_maze", "budget=600", "name=maze"]
    assert main([*words, "seed=0,1,2"]) == 0
    study = Path("results/maze")
    again = ["extend", str(study), "until=decided", "max_seeds=30", "step=3"]
    assert main([*again, "hydra/launcher=inline"]) == 0
    out = capsys.readouterr().out
    assert "look 1 of 10, 3 seeds\nopen      Q-learning, Dyna-Q" in out
    assert "decided   Dyna-Q scores above Q-learning (p " in out
    assert "all comparisons are decided" in out
    counts = planned(study)
    assert counts["Dyna-Q"] == counts["Q-learning"] < 30
    assert main(again) == 0  # nothing is left to do
    assert "all comparisons are decided" in capsys.readouterr().out
    assert planned(study) == counts


def test_seeds_are_planned_for_open_agents_up_to_the_last_look(three, capsys):
    three += [["Sarsa", "Q-learning"], ["Sarsa", "Q-learning"], ["Sarsa"]]
    assert main([*UNTIL, "max_seeds=7", "step=3", "hydra/launcher=inline"]) == 0
    assert planned(STUDY) == {"Sarsa": 7, "Q-learning": 7, "Expected Sarsa": 2}
    record = json.loads((STUDY / decide.FILE).read_text())
    assert record["seeds"] == [2, 5, 7]
    assert "the last look is made; not decided: Sarsa" in capsys.readouterr().out


def test_a_command_that_was_stopped_goes_on_and_spends_no_look_twice(three, monkeypatch, capsys):
    three += [["Sarsa", "Q-learning"], []]
    words = [*UNTIL, "max_seeds=4", "hydra/launcher=inline"]
    extend = studies.extend

    def killed(*args):
        extend(*args)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(studies, "extend", killed)
        decide.until(words[1:], lambda study, more: True)
    assert len(json.loads((STUDY / decide.FILE).read_text())["looks"]) == 1
    assert main(words) == 0
    assert planned(STUDY) == {"Sarsa": 4, "Q-learning": 4, "Expected Sarsa": 2}
    assert not three


def test_runs_that_did_not_finish_make_no_look(three, capsys):
    code = decide.until([str(STUDY), "until=decided", "max_seeds=4"], lambda study, more: False)
    assert code == 1
    out = capsys.readouterr().out
    assert f"continue with prism extend {STUDY} until=decided max_seeds=4" in out
    assert json.loads((STUDY / decide.FILE).read_text())["looks"] == []
    decide.until([str(STUDY), "until=decided", "max_seeds=6"], lambda study, more: False)
    assert json.loads((STUDY / decide.FILE).read_text())["seeds"] == [2, 4, 6]  # none was made


def test_other_looks_are_refused_once_the_budget_is_planned(three, capsys):
    three += [["Sarsa", "Q-learning"], ["Sarsa", "Q-learning"]]
    assert main([*UNTIL, "max_seeds=4", "hydra/launcher=inline"]) == 0
    seeds = json.loads((STUDY / decide.FILE).read_text())["seeds"]
    assert seeds == [2, 4]
    for change in (["max_seeds=8"], ["max_seeds=4", "reference=Sarsa"], ["max_seeds=4", "step=1"]):
        assert main([*UNTIL, *change]) == 2
        assert "looked at with 2, 4 seeds: its error budget is" in capsys.readouterr().err
    (STUDY / decide.FILE).write_text("[1]")
    assert main([*UNTIL, "max_seeds=4"]) == 2
    assert "it is no record of looks" in capsys.readouterr().err


BAD = {
    "max_seeds is missing": [],
    "max_seeds=0: it is a number of seeds": ["max_seeds=0"],
    "step=x: it is a number of seeds": ["max_seeds=4", "step=x"],
    "max_seeds=1: there are 2 seeds already": ["max_seeds=1"],
    "unknown 'Sarsaa'; nearest: Sarsa": ["max_seeds=4", "reference=Sarsaa"],
    "speed": ["max_seeds=4", "speed=3"],
}


@pytest.mark.parametrize(("why", "words"), BAD.items(), ids=lambda x: str(x)[:20])
def test_bad_words_are_told_before_anything_runs(three, why, words, capsys):
    assert main([*UNTIL, *words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert why in line
    assert planned(STUDY)["Sarsa"] == 2


def test_cells_with_unequal_seeds_and_lone_agents_are_refused(three, capsys):
    assert main(["extend", str(STUDY), "until=never"]) == 2
    assert "until: unknown 'never'; nearest: decided" in capsys.readouterr().err
    studies.extend(STUDY, 1, ["Sarsa"])
    assert main([*UNTIL, "max_seeds=9"]) == 2
    assert "every cell needs as many before the first look" in capsys.readouterr().err
    assert main([*SMALL, "env=frozenlake", "budget=60", "algo=sarsa", "seed=0", "name=one"]) == 0
    assert main(["extend", "results/one", "until=decided", "max_seeds=9"]) == 2
    assert "no two agents can be compared" in capsys.readouterr().err


def test_help_tells_what_it_takes(capsys):
    assert main(["extend", "results/x", "until=decided", "--help"]) == 0
    assert "max_seeds " in capsys.readouterr().out
