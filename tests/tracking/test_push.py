"""wandb-push: whatever W&B has of a run, afterwards it has all of it, once."""

import json
from pathlib import Path

import pytest

from prism.benchmark.cli.main import main
from prism.benchmark.store import digests
from prism.benchmark.tracking.push import Pace, push, run_folders
from prism.benchmark.tracking.wandb import wandb_id
from prism.benchmark.util.errors import ConfigError
from tests.tracking.runs import ended_run, posts, record, row, status
from tests.wandb_server import Bucket, WandbServer

NO_HURRY = Pace(1e9)


def held(server: WandbServer, seed: int = 4) -> Bucket:
    return server.run(wandb_id(record(seed)))


def steps(bucket: Bucket) -> list[int]:
    return [line["global_step"] for line in bucket.rows]


def test_a_second_push_sends_nothing(wandb_server, tmp_path):
    paths = [ended_run(tmp_path, seed) for seed in (4, 5)]
    first = list(push(paths, {}, NO_HURRY))
    assert [(x.sent, x.rows, x.problem) for x in first] == [(30, 30, "")] * 2
    wandb_server.calls.clear()
    second = list(push(paths, {}, NO_HURRY))
    assert [(x.sent, x.rows, x.problem) for x in second] == [(0, 30, "")] * 2
    assert wandb_server.calls and posts(wandb_server) == []
    for seed in (4, 5):
        assert steps(held(wandb_server, seed)) == list(range(30))
        assert held(wandb_server, seed).state == "finished"
    assert json.loads((paths[0] / "status.json").read_text())["trackers"]["wandb"] == "pushed"


def test_what_is_lacking_is_sent_wherever_it_is(wandb_server, tmp_path):
    path = ended_run(tmp_path)
    list(push([path], {}, NO_HURRY))
    bucket = held(wandb_server)
    lines = bucket.history
    wrong = json.dumps({**json.loads(lines[20]), "loss/q": -1.0})
    bucket.history = [
        json.dumps({**json.loads(line), "_step": i})
        for i, line in enumerate([*lines[:5], *lines[8:20], wrong, *lines[21:25]])
    ]
    (again,) = push([path], {}, NO_HURRY)
    assert (again.sent, again.problem) == (9, "")
    assert steps(bucket)[-9:] == [5, 6, 7, 20, 25, 26, 27, 28, 29]
    last = {line["global_step"]: line["loss/q"] for line in bucket.rows}
    assert last == {step: row(step, 4)["loss/q"] for step in range(30)}
    (third,) = push([path], {}, NO_HURRY)
    assert (third.sent, third.problem) == (0, "")


def test_a_state_that_changed_afterwards_is_told(wandb_server, tmp_path):
    path = ended_run(tmp_path)
    list(push([path], {}, NO_HURRY))
    changed = status("failed", exit_code=1, reason="killed by SIGKILL")
    (path / "status.json").write_text(json.dumps(changed))
    (again,) = push([path], {}, NO_HURRY)
    assert (again.sent, again.problem) == (0, "")
    summary = json.loads(held(wandb_server).summary)
    assert (summary["state"], summary["reason"]) == ("failed", "killed by SIGKILL")
    assert held(wandb_server).state == "failed"


def test_rows_of_other_steps_are_named(wandb_server, tmp_path):
    path = ended_run(tmp_path, rows=40)
    list(push([path], {}, NO_HURRY))
    ended_run(tmp_path, rows=30)
    (again,) = push([path], {}, NO_HURRY)
    assert again.problem == "W&B has 10 rows at steps that the run does not have"


def test_a_server_that_refuses_now_and_then_is_asked_again(wandb_server, tmp_path):
    asked: list[str] = []

    def sometimes(name: str) -> int | None:
        asked.append(name)
        return {1: 429, 2: 500}.get(asked.count(name)) if name == "file_stream" else None

    wandb_server.refuse = sometimes
    (outcome,) = push([ended_run(tmp_path)], {}, NO_HURRY)
    assert (outcome.sent, outcome.problem) == (30, "")
    assert asked.count("file_stream") >= 3 and steps(held(wandb_server)) == list(range(30))


def test_a_server_that_is_away_costs_no_traceback(wandb_server, tmp_path, capsys):
    path = ended_run(tmp_path)
    wandb_server.refuse = lambda name: 403 if name == "Run" else None
    assert main(["wandb-push", str(tmp_path)]) == 1
    out = capsys.readouterr().out
    assert f"{path.name}: 0 of 30 rows sent, CommError" in out and "Traceback" not in out
    assert "0 of 1 runs are complete on W&B" in out
    assert json.loads((path / "status.json").read_text())["trackers"]["wandb"] == "offline"
    wandb_server.refuse = lambda _: None
    assert main(["wandb-push", str(tmp_path), "--project", "other", "--entity", "stub"]) == 0
    assert "1 of 1 runs are complete" in capsys.readouterr().out
    assert steps(wandb_server.run(wandb_id(record(4)), "other")) == list(range(30))


def test_a_run_whose_files_have_changed_is_not_sent(wandb_server, tmp_path, capsys):
    path = ended_run(tmp_path)
    sealed = status("finished", digests=digests.take(path, path.name))
    (path / "status.json").write_text(json.dumps(digests.sealed(sealed)))
    rows = path / "metrics.jsonl"
    rows.write_text(rows.read_text().replace('"global_step":7,', '"global_step":8,'))
    assert main(["wandb-push", str(tmp_path)]) == 1
    why = "metrics.jsonl has changed since the run finished; prism resume computes the run again"
    assert f"4: 0 of 30 rows sent, ConfigError: {why}" in capsys.readouterr().out
    assert posts(wandb_server) == []


def test_without_a_login_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    ended_run(tmp_path)
    assert main(["wandb-push", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "error: not logged in to W&B: set WANDB_API_KEY or run `wandb login`\n"
    )


def test_only_runs_that_have_ended_are_pushed(tmp_path):
    done, running = ended_run(tmp_path, 1), ended_run(tmp_path, 2, state="running")
    assert run_folders([tmp_path]) == [done]
    with pytest.raises(ConfigError, match="is running"):
        run_folders([running])
    with pytest.raises(ConfigError, match="neither a study nor a run folder"):
        run_folders([Path(tmp_path / "runs")])


def test_the_rate_is_kept():
    now = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        now[0] += seconds

    pace = Pace(30.0, clock=lambda: now[0], sleep=sleep)
    starts = []
    for work in (0.5, 5.0, 0.0, 0.0):
        pace.wait()
        starts.append(now[0])
        now[0] += work
    assert starts == [0.0, 2.0, 7.0, 9.0] and slept == [1.5, 2.0]
