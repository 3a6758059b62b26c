"""evaluate, video and enjoy: of a run, a pattern or a study; analyses of what evaluate found."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from gymnasium.envs.toy_text.frozen_lake import FrozenLakeEnv
from PIL import Image

from prism.analysis import load
from prism.analysis.cli import main as read
from prism.benchmark.cli.main import main
from prism.benchmark.store import ledger
from prism.benchmark.store.rows import read_rows
from prism.benchmark.train.evaluate import evaluate_run
from prism.benchmark.util.text import rounded

WORDS = ["algo=q_learning,sarsa", "env=frozenlake", "budget=300", "evaluation.episodes=4"]
WORDS += ["env.kwargs.is_slippery=false"]  # so that its model and itself play alike
WORDS += ["seed=0,1", "tracking=disabled", "name=lake", "hydra/launcher=inline"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    assert main([*WORDS, f"results={folder}"]) == 0
    return folder / "lake"


@pytest.fixture(autouse=True)
def runs(made, tmp_path, monkeypatch) -> list[Path]:
    """Return the run folders of a study of four runs, in the order of its plan."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(made, tmp_path / "results" / "lake")
    study = Path("results/lake")
    return [study / "runs" / run["run_id"] for run in ledger.read_plan(study)["runs"]]


def kept(run: Path, name: str) -> dict:
    return json.loads((run / "evaluations" / f"{name}.json").read_text())


def test_a_study_is_evaluated_and_scored_by_what_was_found(runs, capsys):
    assert main(["evaluate", "results/lake", "--episodes", "30", "--seed", "7"]) == 0
    out = capsys.readouterr().out
    means = []
    for run in runs:
        found = kept(run, "new-30-seed7")
        assert found["mean"] == np.mean(found["returns"]) and len(found["returns"]) == 30
        assert found["mean"] == evaluate_run(run, 30, seed=7)["mean"]
        assert f"{run.name} " in out
        means.append(found["mean"])
    scores = load("results/lake", scores="evaluations/new-30-seed7")
    assert list(scores.scores.final) == means
    assert not set(scores.runs.protocol) & set(load("results/lake").runs.protocol)
    assert read(["table", "results/lake", "--scores", "evaluations/new-30-seed7.json"]) == 0
    assert "scored by evaluations/new-30-seed7.json, in place of" in capsys.readouterr().out
    before = (runs[0] / "evaluations" / "new-30-seed7.json").read_bytes()
    assert main(["evaluate", str(runs[0]), "--episodes", "30", "--seed", "7"]) == 0
    assert (runs[0] / "evaluations" / "new-30-seed7.json").read_bytes() == before


def test_the_final_evaluation_played_again_is_the_final_score(runs):
    assert main(["evaluate", "results/lake", "--episodes", "4", "--stream", "final"]) == 0
    again = load("results/lake", scores="evaluations/final-4").runs
    assert list(again.final) == [
        read_rows(run / "metrics.jsonl")[-1]["final/return"] for run in runs
    ]
    assert list(again.protocol) == list(load("results/lake").runs.protocol)


def test_a_pattern_and_several_words_name_runs_once(runs, capsys):
    pattern = "results/lake/runs/sarsa-*"
    words = ["evaluate", pattern, str(runs[2]), "--episodes", "2", "--name", "mine"]
    assert main(words) == 0
    assert [(run / "evaluations").exists() for run in runs] == [False, False, True, True]
    assert capsys.readouterr().out.count("sarsa-frozenlake-s") == 2
    assert read(["table", "results/lake", "--scores", "evaluations/mine"]) == 0
    out = capsys.readouterr().out
    assert "2 scored" in out
    assert "excluded: 2 of 2 runs of Q-learning" in out and "has no evaluations/mine; prism" in out


def test_runs_that_are_not_finished_are_left_out(runs, capsys):
    (runs[1] / "weights.pt").unlink()
    assert main(["evaluate", "results/lake", "--episodes", "2"]) == 0
    assert "left out: 1 run without weights, not finished" in capsys.readouterr().err


CHANGES = {  # what somebody makes of an evaluation -> what is said of it
    "is of other weights": {"weights": "0"},
    "is of another run": {"run_id": "x"},
    "has a mean that is not that of its returns": {"mean": 3.0},
    "number": {"returns": [None]},
    "is not an evaluation": {"returns": []},
}


@pytest.mark.parametrize("told", CHANGES)
def test_an_evaluation_that_is_not_of_this_run_does_not_score_it(told, runs, capsys):
    assert main(["evaluate", "results/lake", "--episodes", "2", "--name", "e"]) == 0
    path = runs[0] / "evaluations" / "e.json"
    path.write_text(json.dumps(kept(runs[0], "e") | CHANGES[told]))
    frame = load("results/lake", scores="evaluations/e").runs
    assert told in frame.excluded[0] and (frame.excluded[1:] == "").all()


BAD = {
    "evaluate results/lake --name ../x": "--name='../x': take letters",
    "evaluate results/lake --name a/b": "--name='a/b': take letters",
    "evaluate results/lake --seed -1": "--seed=-1 must be at least 0",
    "enjoy results/lake --episodes 0": "--episodes=0 must be at least 1",
    "enjoy results/lake --fps 0": "--fps=0.0 must be above 0",
    "enjoy results/lake --render-mode human": "--render-mode=human needs a display",
    "enjoy results/lake --render-mode rgb": "--render-mode: unknown 'rgb'",
    "video results": "results is neither a study nor a run folder",
    "evaluate results/lak": "there is no folder results/lak; nearest: lake",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_words_are_one_line(words, monkeypatch, capsys):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER"):
        monkeypatch.delenv(name, raising=False)
    assert main(words.split()) == 2
    err = capsys.readouterr().err
    assert BAD[words] in err and err.count("\n") == 1


@pytest.mark.parametrize("scores", ["../x", "evaluations/../x", "/etc/passwd", "evaluations/a/b"])
def test_scores_are_read_from_nowhere_else(scores, capsys):
    assert read(["table", "results/lake", "--scores", scores]) == 2
    assert "write evaluations/<name>" in capsys.readouterr().err


def test_what_cannot_be_kept_is_still_shown(runs, monkeypatch, capsys):
    def refused(*_: object) -> None:
        raise PermissionError(13, "Permission denied", "there")

    monkeypatch.setattr("prism.benchmark.store.evaluations.records.write_json", refused)
    assert main(["evaluate", str(runs[0]), "--episodes", "2"]) == 0
    out, err = capsys.readouterr()
    assert "mean" in out and err == "not kept: there: Permission denied\n"


def test_enjoy_plays_the_episodes_of_the_evaluation_as_text(runs, capsys):
    words = ["--render-mode", "ansi", "--episodes", "2", "--seed", "7"]
    assert main(["enjoy", str(runs[0]), *words]) == 0
    out = capsys.readouterr().out
    first = evaluate_run(runs[0], 1, purpose="eval/final", seed=7)
    (length,) = [line for line in out.splitlines() if line.startswith("episode 1:")]
    assert length == f"episode 1: return {rounded(first['mean'])}, {first['length']:.0f} steps"
    assert "episode 2: return" in out and "FHFH" in out


def test_enjoy_opens_a_window_where_there_is_a_display(runs, monkeypatch, capsys):
    monkeypatch.setenv("SDL_VIDEODRIVER", "dummy")
    monkeypatch.setitem(FrozenLakeEnv.metadata, "render_fps", 10_000)
    assert main(["enjoy", str(runs[0]), "--episodes", "1"]) == 0
    out = capsys.readouterr().out
    assert "episode 1: return" in out and "FHFH" not in out


def test_videos_of_other_episodes_have_names_of_their_own(runs, capsys):
    assert main(["video", "results/lake/runs/*-s0-*", "--episodes", "2", "--seed", "5"]) == 0
    paths = list(map(Path, capsys.readouterr().out.splitlines()))
    assert [path.name for path in paths] == ["episode-episodes2-seed5.gif"] * 2
    for path in paths:
        Image.open(path).verify()
    assert not (paths[0].parent / "episode.gif").exists()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.123456, "0.1235"), (23.0, "23"), (123.456, "123.5"), (-0.5, "-0.5000"), (None, "-")],
)
def test_numbers_on_the_screen_have_four_digits(value, text):
    assert rounded(value) == text
