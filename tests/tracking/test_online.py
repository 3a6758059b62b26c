"""Training with the mirror online, against a server that works, fails, or is not there."""

import json
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import wandb

from prism.benchmark.store import records
from prism.benchmark.store.job import Job
from prism.benchmark.store.rows import timed_rows
from prism.benchmark.store.schema import STEP
from prism.benchmark.tracking import service
from prism.benchmark.tracking import wandb as mirror_module
from prism.benchmark.tracking.push import Pace, push
from prism.benchmark.tracking.tracker import settle
from prism.benchmark.tracking.wandb import wandb_id
from prism.benchmark.train.runner import Training, run_job
from tests.runs import Killed, job, stop
from tests.tracking.runs import own_service
from tests.wandb_server import Bucket, WandbServer

NO_TIME = Pace(1e9)


def online(folder: Path, **changes: Any) -> Job:
    """Return a job of two seeds that is mirrored online."""
    return job(folder, seeds=(3, 11), tracking__wandb="online", log_every=10, **changes)


def folders(work: Job) -> list[Path]:
    return [records.run_dir(work, run) for run in work.run_ids]


def local(folder: Path) -> list[dict[str, Any]]:
    rows = timed_rows(folder)
    return [{key: x for key, x in row.items() if x is not None} for row in rows]


def bucket(server: WandbServer, folder: Path) -> Bucket:
    return server.run(wandb_id(records.read_json(folder / "run.json")))


def held(server: WandbServer, folder: Path) -> list[dict[str, Any]]:
    """Return the rows as the server holds them, duplicates and all."""
    rows = bucket(server, folder).rows
    steps = [row["_step"] for row in rows]
    assert steps == sorted(set(steps))
    return [{k: x for k, x in row.items() if not k.startswith("_")} for row in rows]


def mirrored(folder: Path) -> str:
    status = records.read_status(folder)
    assert status and status["trackers"]
    return status["trackers"]["wandb"]


def test_two_frames_read_back_are_the_local_ones(wandb_server, tmp_path):
    work = online(tmp_path, tracking__tags=["mine"], tracking__notes="why")
    with own_service():
        run_job(work)
    local_rows, local_runs, rows, runs = [], [], [], []
    for folder in folders(work):
        record, status = (records.read_json(folder / f"{name}.json") for name in ("run", "status"))
        assert status["trackers"] == {"wandb": "online"}
        local_rows += [{"run_id": record["run_id"], **row} for row in local(folder)]
        local_runs.append({**record, **record["config"], "state": status["state"]})
    for run in wandb.Api().runs("stub/prism", {"tags": "mine"}, lazy=False):
        assert (run.state, run.job_type, run.notes) == ("finished", "train", "why")
        assert run.group == "test/CartPole-v1/dqn"
        record = json.loads(run.config["record"])
        runs.append({**record, **record["config"], "state": run.summary["state"]})
        for row in run.scan_history(use_cache=False):
            seen = {key: x for key, x in row.items() if not key.startswith("_")}
            rows.append({"run_id": record["run_id"], **seen})
        assert run.summary["final/return"] == rows[-1]["final/return"]
    assert len(rows) == 2 * 32
    for there, here in ((rows, local_rows), (runs, local_runs)):
        frames = [pd.DataFrame(x).sort_index(axis=1) for x in (there, here)]
        order = ["run_id", STEP] if STEP in frames[0] else ["run_id"]
        a, b = (frame.sort_values(order, ignore_index=True) for frame in frames)
        pd.testing.assert_frame_equal(a, b, check_dtype=False, check_exact=True)


def down(server: WandbServer) -> Callable[[], None]:
    server.stop()
    return server.start


def refusing(status: int) -> Callable[[WandbServer], Callable[[], None]]:
    def fail(server: WandbServer) -> Callable[[], None]:
        server.refuse = lambda _: status
        return lambda: setattr(server, "refuse", lambda _: None)

    return fail


def hanging(server: WandbServer) -> Callable[[], None]:
    server.gate.clear()
    return server.gate.set


FAULTS = {"down": down, "429": refusing(429), "500": refusing(500), "hanging": hanging}


@pytest.mark.parametrize(
    ("when", "fault"),
    [(when, fault) for when in ("start", "middle", "end") for fault in FAULTS],
)
def test_no_fault_of_the_server_delays_training_and_push_completes(
    wandb_server, tmp_path, monkeypatch, fault, when
):
    monkeypatch.setattr(service, "_PATIENCE", (0.3, 0.3))
    monkeypatch.setitem(mirror_module._SETTINGS, "init_timeout", 1.0)
    work = online(tmp_path)
    ticks = {"start": 0, "middle": 120, "end": 319}[when]
    mends: list[Callable[[], None]] = []

    def strike(training: Training) -> bool:
        started(training)
        mends.append(FAULTS[fault](wandb_server))
        return False

    with own_service():
        if when == "start":
            mends.append(FAULTS[fault](wandb_server))
        stop(work, ticks, strike if when != "start" else lambda _: False)
        assert [len(local(folder)) for folder in folders(work)] == [32, 32]  # nothing waited
        mends[0]()
    outcomes = list(push(folders(work), {}, NO_TIME))
    assert [outcome.problem for outcome in outcomes] == ["", ""]
    for folder in folders(work):
        assert held(wandb_server, folder) == local(folder)
        assert bucket(wandb_server, folder).state == "finished"
        assert mirrored(folder) == "pushed"


def started(training: Training) -> None:
    """Wait until every mirror of a training has sent what it was given."""
    done = threading.Event()
    service.service(os.getpid()).call(done.set)
    assert done.wait(60)
    assert {run.trackers.status["wandb"] for run in training.recorder.runs} == {"online"}


@pytest.mark.parametrize("how", ["asked", "killed"])
@pytest.mark.parametrize("lost", [0, 3])
def test_a_resumed_run_goes_on_in_its_wandb_run(wandb_server, tmp_path, how, lost):
    """``lost`` rows never arrived from the first attempt, e.g. because its machine died."""
    work = online(tmp_path, checkpoint_every=0)
    with own_service():
        if how == "asked":
            stop(work, 160)
        else:
            killed_behind_its_checkpoint(work)
    for folder in folders(work):
        history = bucket(wandb_server, folder).history
        assert len(history) == {"asked": 16, "killed": 20}[how]
        del history[len(history) - lost :]
    with own_service():
        run_job(work)
    for folder in folders(work):
        # Rows that a killed attempt had sent are not sent again: W&B keeps the time they took then.
        assert untimed(held(wandb_server, folder)) == untimed(local(folder))
        assert bucket(wandb_server, folder).state == "finished"
        assert mirrored(folder) == "online"


def untimed(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return rows without the columns that a second attempt cannot repeat."""
    return [{k: v for k, v in row.items() if not k.startswith("time/")} for row in rows]


def killed_behind_its_checkpoint(work: Job) -> None:
    """Kill a job at step 200 that has a checkpoint of step 160, when its rows have been sent."""

    def save(training: Training) -> bool:
        training._save()
        return False

    def kill(training: Training) -> bool:
        for run in training.recorder.runs:
            run.trackers.finish("running", None)
        settle(run.trackers for run in training.recorder.runs)
        raise Killed

    training, at = Training(work), {160: save, 200: kill}
    with pytest.raises(Killed):
        training.run(lambda: at.get(training.steps[0], lambda _: False)(training))
    training.close()
