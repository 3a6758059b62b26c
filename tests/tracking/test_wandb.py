"""The W&B mirror, against the real SDK: offline, unreachable, killed, stuck."""

import json
import os
import signal
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import wandb

from prism.benchmark.tracking import service
from prism.benchmark.tracking import wandb as mirror_module
from prism.benchmark.tracking.wandb import WandbMirror, safe_id
from tests.tracking.runs import folder, own_service, record, row, tracking

Start = Callable[..., WandbMirror]


@pytest.fixture
def start(tmp_path):
    """Return a function that starts the mirror of one seed, on a service of this test alone."""
    with own_service():
        yield lambda seed=0, mode="offline": mirror_of(tmp_path, seed, mode)


def mirror_of(root: Path, seed: int, mode: str) -> WandbMirror:
    mirror = WandbMirror(folder(root, seed), tracking(mode))
    mirror.begin(record(seed), None)
    return mirror


def finish(*mirrors: WandbMirror, state: str = "finished") -> None:
    for mirror in mirrors:
        mirror.finish(state)
    WandbMirror.settle(mirrors)


def queued(mirror: WandbMirror) -> None:
    """Wait until all that was asked of the mirror has happened."""
    assert mirror._service.wait() is None


def recorded(run_folder: Path) -> list[dict]:
    """Read every W&B run below a run folder: id, group, tags, config, rows, exit code."""
    core = Path(wandb.__file__).parent / "bin" / "wandb-core"
    runs = []  # one that never got to its first record counts as none
    for path in sorted(run_folder.glob("wandb/offline-run-*/*.wandb")):
        lines = subprocess.check_output(
            [core, "leet", "inspect", "--json", "--run-file", path, path.parent], text=True
        )
        records = [json.loads(line) for line in lines.splitlines()]
        run = next((r["run"] for r in records if r["type"] == "run"), None)
        if run is None:
            continue
        run["config"] = run["config"]["update"]
        run["rows"] = [history_row(r["history"]) for r in records if r["type"] == "history"]
        run["exit"] = [r["exit"].get("exit_code", 0) for r in records if r["type"] == "exit"]
        runs.append(run)
    return runs


def history_row(history: dict) -> dict:
    return {key: value for key, value in history["item"].items() if not key.startswith("_")}


def test_seeds_of_a_job_are_runs_of_their_own(start, tmp_path):
    mirrors = [start(seed) for seed in range(3)]
    for step in range(20):
        for seed, mirror in enumerate(mirrors):
            mirror.log(row(step, seed))
    for mirror in mirrors:
        finish(mirror)
    assert wandb.run is None
    for seed, mirror in enumerate(mirrors):
        assert mirror.status == "offline"
        (run,) = recorded(folder(tmp_path, seed))
        assert run["run_id"] == f"quick-start-dqn-cartpole-s{seed}-0123abcdef-c0de"
        assert run["run_group"] == "quick start/cartpole/DQN + n-step"
        assert run["tags"] == ["cartpole", "dqn", "mine", "quick start"]
        assert (run["notes"], run["job_type"]) == ("why", "train")
        assert run["config"]["algo"] == {"lr": 0.001, "hidden": [64, 64]}
        assert run["config"]["seed"] == json.loads(run["config"]["record"])["seed"] == seed
        assert run["rows"] == [row(step, seed) for step in range(20)]
        assert run["exit"] == [0]


def test_missing_values_are_left_out(start, tmp_path):
    mirror = start()
    mirror.log({"global_step": 1, "nan": float("nan"), "none": None, "x": 2.0})
    finish(mirror)
    assert mirror.status == "offline"
    (run,) = recorded(folder(tmp_path, 0))
    assert run["rows"] == [{"global_step": 1, "x": 2.0}]


def test_rows_of_a_crashed_run_stay_its_own(start, tmp_path):
    crashed = start(0)  # its job died before finish: the process's W&B still holds it open
    crashed.log(row(1))
    after = start(1)
    after.log(row(2, 1))
    finish(after)
    finish(crashed, state="failed")
    assert (crashed.status, after.status) == ("offline", "offline")
    (first,), (second,) = recorded(folder(tmp_path, 0)), recorded(folder(tmp_path, 1))
    assert (first["rows"], first["exit"]) == ([row(1)], [1])
    assert (second["rows"], second["exit"]) == ([row(2, 1)], [0])


def test_a_killed_service_stops_the_mirror_not_the_training(start, tmp_path, capfd):
    mirrors = [start(0), start(1)]
    for mirror in mirrors:
        queued(mirror)
    kill_core()
    for mirror in mirrors:
        mirror.log(row(1))
        finish(mirror)
        assert mirror.status.startswith("lost: ")
    said = capfd.readouterr().err.count("mirror off, training goes on")
    assert 1 <= said <= 2  # the two may see the death differently
    after = start(2)
    after.log(row(2, 2))
    finish(after)
    assert after.status == "offline"
    assert [run["rows"] for run in recorded(folder(tmp_path, 2))] == [[row(2, 2)]]


def kill_core() -> None:
    (pid,) = service._cores()
    os.kill(pid, signal.SIGKILL)


def test_a_service_that_does_not_end_is_killed(start, monkeypatch):
    queued(start(0))
    (pid,) = service._cores()
    monkeypatch.setattr(service, "_TEARDOWN", 0.05)
    release = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(service, "_teardown", release.wait)
        service.teardown()
    release.set()
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL


def test_a_row_that_wandb_refuses_stops_only_its_own_mirror(start):
    bad, good = start(0), start(1)
    queued(bad)
    bad._run.log = lambda _: (_ for _ in ()).throw(TypeError("not a number"))
    for mirror in (bad, good):
        mirror.log(row(1))
        finish(mirror)
    assert (bad.status, good.status) == ("lost: TypeError: not a number", "offline")


def test_an_unwritable_folder_loses_the_mirror_instead_of_moving_it(start, tmp_path, capfd):
    (folder(tmp_path, 0) / "wandb").write_text("a file where a folder should be")
    mirror = start(0)
    mirror.log(row(1))
    finish(mirror)
    assert mirror.status.startswith("lost: ")
    assert "mirror off" in capfd.readouterr().err


@pytest.mark.parametrize("key", ["", "0123456789" * 4])
def test_an_online_start_that_fails_records_offline(start, tmp_path, monkeypatch, capfd, key):
    monkeypatch.setitem(mirror_module._SETTINGS, "init_timeout", 3.0)
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")  # nothing listens there
    monkeypatch.setenv("WANDB_API_KEY", key)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    mirrors = [start(seed, "online") for seed in range(2)]
    for mirror in mirrors:
        mirror.log(row(1))
        finish(mirror)
        assert mirror.status == "offline"
    assert capfd.readouterr().err.count("recording offline") == 1
    for seed in range(2):
        assert [run["rows"] for run in recorded(folder(tmp_path, seed)) if run["exit"]] == [
            [row(1)]
        ]
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not key or not [path for path in files if key.encode() in path.read_bytes()]


def test_a_stuck_service_is_given_up_once(start, monkeypatch):
    mirrors = [start(0), start(1)]
    queued(mirrors[1])
    release = threading.Event()
    monkeypatch.setattr(service, "_PATIENCE", (0.05, 0.05))
    mirrors[0]._service.call(release.wait)
    for mirror in mirrors:
        finish(mirror)
        assert mirror.status == "lost: the service does not answer"
    release.set()


def test_a_row_waits_for_others_but_not_for_ever(start, monkeypatch):
    hurries = []
    call = service.Service.call

    def noted(self, function, hurry=True):
        hurries.append(hurry)
        call(self, function, hurry)

    monkeypatch.setattr(service.Service, "call", noted)
    monkeypatch.setattr(service, "_GATHER", 0.01)
    mirror = start(0)
    mirror.log(row(1))
    assert hurries == [True, False]
    arrived = threading.Event()
    mirror._service.call(arrived.set, hurry=False)
    assert arrived.wait(60)
    finish(mirror)
    assert mirror.status == "offline"


def test_a_mirror_that_is_given_up_before_its_turn_opens_nothing(start, tmp_path, monkeypatch):
    release, idle = threading.Event(), threading.Event()
    monkeypatch.setattr(service, "_PATIENCE", (0.05, 0.05))
    shared = service.service(os.getpid())
    shared.call(release.wait)
    finish(*(start(seed) for seed in range(2)))
    shared.call(idle.set)
    release.set()
    assert idle.wait(60)
    assert [recorded(folder(tmp_path, seed)) for seed in range(2)] == [[], []]
    assert not list(tmp_path.glob("runs/*/wandb"))


@pytest.mark.parametrize(
    ("asked", "environment", "status"),
    [
        ("disabled", "online", "disabled"),
        ("auto", "disabled", "disabled"),
        ("auto", "offline", "offline"),
        ("auto", None, "offline"),  # not logged in
    ],
)
def test_mode(start, tmp_path, monkeypatch, asked, environment, status):
    monkeypatch.delenv("WANDB_MODE")
    if environment:
        monkeypatch.setenv("WANDB_MODE", environment)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    mirror = start(0, asked)
    mirror.log(row(1))
    finish(mirror)
    assert mirror.status == status
    assert (folder(tmp_path, 0) / "wandb").exists() == (status != "disabled")


def test_ids_hold_only_what_wandb_allows():
    assert safe_id("a b:c/d,e#f?g;h'i") == "a-b-c-d-e-f-g-h-i"
    assert safe_id("x" * 200 + "-hash") == "x" * 123 + "-hash"
