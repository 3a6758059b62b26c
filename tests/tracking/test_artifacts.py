"""Weights and video on W&B: sent once, whoever sends them, and nothing without being asked."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from prism.benchmark.store import records
from prism.benchmark.store.job import Job
from prism.benchmark.store.spec import RunSpec
from prism.benchmark.tracking import service
from prism.benchmark.tracking.push import Pace, push
from prism.benchmark.tracking.wandb import wandb_id
from prism.benchmark.train import video
from prism.benchmark.train.runner import run_job
from tests.runs import job, same_results, stop
from tests.tracking.runs import own_service, posts
from tests.tracking.test_wandb import recorded
from tests.wandb_server import WandbServer

ASKED = {"tracking__artifacts": True, "tracking__video": True, "evaluation__every": 80}
NO_TIME = Pace(1e9)


def work(folder: Path, mode: str = "online", **changes: Any) -> Job:
    return job(folder, seeds=(3, 11), tracking__wandb=mode, **changes)


def folders(done: Job) -> list[Path]:
    return [records.run_dir(done, run) for run in done.run_ids]


def held(server: WandbServer, folder: Path) -> dict[str, bytes]:
    """Return what the server has of a run beside its rows: weights by alias, and the video."""
    name = wandb_id(records.read_json(folder / "run.json"))
    found = {}
    for key, sent in server.artifacts.items():
        if sent["artifactCollectionName"] == f"{name[-120:]}-weights":
            (alias,) = [x["alias"] for x in sent["aliases"] if x["alias"] != "latest"]
            assert alias not in found, "sent twice"
            found[alias] = server.blobs[f"{key}/weights.pt"]
    bucket = server.run(name)
    video = json.loads(bucket.summary).get("video")
    return found | ({"video": bucket.files[video["path"]]} if video else {})


def local(folder: Path) -> dict[str, bytes]:
    names = {"last": "weights.pt", "best": "best.pt", "video": "media/episode.gif"}
    return {key: (folder / name).read_bytes() for key, name in names.items()}


def test_weights_and_video_are_sent_once(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setattr(service, "_PATIENCE", (0.0, 0.0))  # enough for rows, not for files
    done = work(tmp_path, **ASKED)
    with own_service():
        run_job(done)
    for folder in folders(done):
        assert held(wandb_server, folder) == local(folder)
        status = records.read_status(folder)
        assert status and status["trackers"]["wandb"] == "online"
    wandb_server.calls.clear()
    assert [x.problem for x in push(folders(done), {}, NO_TIME)] == ["", ""]
    assert posts(wandb_server) == []


def test_what_was_not_asked_for_is_not_there(wandb_server, tmp_path):
    asked, plain = work(tmp_path / "asked", "disabled", **ASKED), work(tmp_path / "plain")
    plain.spec = plain.spec.changed({"evaluation.every": 80})
    with own_service():
        run_job(asked)
        run_job(plain)
    same_results(asked, plain)
    for folder in folders(plain):
        assert held(wandb_server, folder) == {}
        assert not (folder / "best.pt").exists() and not (folder / "media").exists()


def test_push_sends_what_an_offline_run_kept(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_DATA_DIR", str(tmp_path / "data"))
    done = work(tmp_path, "offline", **ASKED)
    with own_service():
        run_job(done)
    staged = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert staged == []  # the weights stay where they are
    for folder in folders(done):
        assert [run["exit"] for run in recorded(folder)] == [[0]]
    outcomes = list(push(folders(done), {}, NO_TIME))
    assert [x.problem for x in outcomes] == ["", ""]
    for folder in folders(done):
        assert held(wandb_server, folder) == local(folder)


def test_a_resumed_run_sends_what_an_uninterrupted_one_would(wandb_server, tmp_path):
    resumed = work(tmp_path / "resumed", **ASKED)
    whole = work(tmp_path / "whole", "disabled", **ASKED)
    with own_service():
        stop(resumed, 170)
        assert not wandb_server.artifacts
        run_job(resumed)
        run_job(whole)
    for ours, theirs in zip(folders(resumed), folders(whole), strict=True):
        assert held(wandb_server, ours) == local(ours) == local(theirs)


def test_a_refused_upload_is_made_good_by_push(wandb_server, tmp_path, capfd):
    wandb_server.refuse = lambda name: 403 if name == "blob" else None
    done = work(tmp_path, **ASKED)
    with own_service():
        run_job(done)
    for folder in folders(done):
        status = records.read_status(folder)
        assert status and status["state"] == "finished"
        assert status["trackers"]["wandb"].startswith("lost: ")
    wandb_server.refuse = lambda _: None
    wandb_server.artifacts.clear()
    assert [x.problem for x in push(folders(done), {}, NO_TIME)] == ["", ""]
    for folder in folders(done):
        assert held(wandb_server, folder) == local(folder)
    assert "mirror off, training goes on" in capfd.readouterr().err


def test_nothing_of_an_earlier_attempt_is_left(tmp_path, monkeypatch):
    done = work(tmp_path, "disabled", **ASKED)
    run_job(done)
    monkeypatch.setattr(video, "record", lambda *_: 1 / 0)
    done.spec = done.spec.changed({"tracking.artifacts": False})
    run_job(done)
    for folder in folders(done):
        assert not (folder / "best.pt").exists()
        assert not (folder / "media" / "episode.gif").exists()


def test_a_job_planned_before_there_were_such_settings_runs(tmp_path):
    done = work(tmp_path, "disabled")
    older = deepcopy(done.spec.record)
    for key in ("artifacts", "video"):
        del older["tracking"][key]
    done.spec = RunSpec.parse(older)
    run_job(done)
    assert [records.read_status(path)["state"] for path in folders(done)] == ["finished"] * 2


@pytest.mark.parametrize("key", ["artifacts", "video"])
def test_each_is_asked_for_by_itself(tmp_path, key):
    done = work(tmp_path, "disabled", **{f"tracking__{key}": True, "evaluation__every": 80})
    run_job(done)
    for folder in folders(done):
        assert (folder / "best.pt").exists() == (key == "artifacts")
        assert (folder / "media" / "episode.gif").exists() == (key == "video")
