"""The video: the first evaluation episode, frame by frame, of any environment that has pictures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from prism.benchmark.cli.main import main
from prism.benchmark.envs.episodes import FINAL, PERIODIC
from prism.benchmark.store import checkpoint, records
from prism.benchmark.store.job import Job
from prism.benchmark.store.rows import read_rows
from prism.benchmark.train import video
from prism.benchmark.train.evaluate import Evaluator, load_run
from tests.runs import finished, job, metrics, status

FAST = {"budget": 80, "evaluation__every": 0}


def trained(folder: Path, env: str, **changes: object) -> tuple[Job, Path]:
    done = finished(job(folder, env=env, seeds=(3,), **{**FAST, **changes}))
    return done, records.run_dir(done, done.run_ids[0])


def shown(path: Path) -> int:
    """Return how many frames a video shows; equal ones in a row are stored as a longer one."""
    image = Image.open(path)
    times = []
    for frame in range(image.n_frames):
        image.seek(frame)
        times.append(image.info["duration"])
    return round(sum(times) / np.gcd.reduce(times))


def test_the_frames_are_those_of_the_first_evaluation_episode(tmp_path):
    _, folder = trained(tmp_path, "cartpole")
    _, spec, agent = load_run(folder)
    evaluator = Evaluator(spec, [3], FINAL, 1, torch.device("cpu"))
    (length,) = evaluator(agent).lengths[0]
    path = video.record(folder)
    assert shown(path) == length + 1
    assert Image.open(path).size == (300, 200)
    before = path.read_bytes()
    assert video.record(folder).read_bytes() == before


@pytest.mark.parametrize("env", ["minatar_breakout", "frozenlake", "mountaincar"])
def test_environments_with_pictures(tmp_path, env):
    _, folder = trained(tmp_path, env, env__horizon=20)
    assert 2 <= shown(video.record(folder)) <= 21


def test_an_environment_without_pictures_is_named(tmp_path, capsys):
    done, folder = trained(tmp_path, "random_walk", tracking__video=True)
    line = "env.id: Prism/RandomWalk-v0 cannot be rendered: it has no render mode 'rgb_array'"
    assert capsys.readouterr().err == f"no video of {folder.name}: {line}\n"
    assert status(done, 0)["state"] == "finished"
    assert main(["video", str(folder)]) == 2
    assert capsys.readouterr().err == f"error: {line}\n"


def test_the_command_tells_where_the_video_is(tmp_path, capsys):
    done, folder = trained(tmp_path, "cartpole")
    before = metrics(done)
    assert main(["video", str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder}/media/episode.gif\n"
    assert metrics(done) == before
    (folder / "weights.pt").unlink()
    assert main(["video", str(folder)]) == 2
    assert "has no weights: it is not finished" in capsys.readouterr().err


def test_the_best_weights_score_what_their_row_says(tmp_path):
    changes = {"tracking__artifacts": True, "budget": 320, "evaluation__every": 40}
    _, folder = trained(tmp_path, "cartpole", **changes)
    scores = [
        row["eval/return"] for row in read_rows(folder / "metrics.jsonl") if "eval/return" in row
    ]
    assert len(scores) == 8 and scores.index(max(scores)) < 7
    _, spec, agent = load_run(folder)
    evaluator = Evaluator(
        spec, [3], PERIODIC, spec.evaluation.periodic_episodes, torch.device("cpu")
    )
    for file, score in (("best.pt", max(scores)), ("weights.pt", scores[-1])):
        agent.load({"policy": checkpoint.load(folder / file)})
        assert evaluator(agent).returns.mean() == score
