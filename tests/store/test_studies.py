"""What can be done to a whole study, from the command line and from its folder alone."""

import shutil
import time
from pathlib import Path

import pytest

from prism.benchmark.cli.main import main
from prism.benchmark.launch.core import launch
from prism.benchmark.plan.executors import InlineOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import leases, records, schema
from prism.benchmark.store.job import Sweep
from tests.launch import fakes

WORDS = ("algo=dqn", "env=cartpole,acrobot", "tracking=disabled", "algo.lr=0.001")


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let jobs finish at once, with rows that tell their folder."""
    monkeypatch.setattr(launch, "__defaults__", (fakes.rows,))


def planned(results: Path, *more: str) -> Sweep:
    return sweep((*WORDS, "seed=0,1", "name=s", f"results={results}", *more))


def ran(results: Path, *more: str) -> Path:
    assert launch(planned(results, *more), InlineOptions())
    return results / "s"


def plan(study: Path) -> schema.Plan:
    found: schema.Plan = records.read_json(study / "plan.json")
    return found


def told(words: list[str], capsys: pytest.CaptureFixture[str], code: int = 0) -> str:
    """Return what a command says."""
    capsys.readouterr()
    assert main(words) == code
    out, err = capsys.readouterr()
    return out if code == 0 else err


def running(study: Path, **changes: object) -> None:
    """Let this process hold a run of the study."""
    assert leases.Watch().take(planned(study.parent).jobs[0]) is not None


def test_extend_plans_the_same_new_seeds_for_every_cell(tmp_path, capsys):
    study = ran(tmp_path)
    ran(tmp_path, "seed=7", "env=acrobot")
    said = told(["extend", str(study), "seeds=+3"], capsys)
    assert said.startswith("6 runs planned")
    seeds: dict[str, list[int]] = {}
    for run in plan(study)["runs"]:
        seeds.setdefault(run["env"], []).append(run["seed"])
    assert seeds == {"cartpole": [0, 1, 8, 9, 10], "acrobot": [0, 1, 7, 8, 9, 10]}
    jobs = {run["job_id"] for run in plan(study)["runs"] if run["seed"] >= 8}
    assert len(jobs) == 2  # the new seeds of a cell train together
    again = planned(tmp_path, "seed=8,9,10").jobs
    ids = {run["run_id"] for run in plan(study)["runs"]}
    assert {run for job in again for run in job.run_ids} <= ids


def test_resume_runs_what_the_plan_holds_and_nothing_else(tmp_path, capfd):
    study = ran(tmp_path, "algo.gamma=0.9")
    main(["extend", str(study), "seeds=+1"])
    words = ["resume", str(study), "hydra/launcher=inline"]
    assert main(words) == 0
    out = capfd.readouterr().out
    assert "6 runs planned, 4 finished before, 2 to do in 2 jobs" in out
    assert "6 runs, 6 finished" in out
    record = records.read_json(next(study.glob("runs/*-s2-*/run.json")))
    assert record["config"]["algo"]["gamma"] == 0.9 and record["study"] == "s"
    assert main(words) == 0
    assert "6 finished before, 0 to do" in capfd.readouterr().out
    assert main(["resume", str(study), "algo.gamma=1"]) == 2
    assert "algo.gamma: resume cannot change the grid" in capfd.readouterr().err


def test_folders_of_two_machines_merge(tmp_path, capsys):
    one, two = ran(tmp_path / "one"), ran(tmp_path / "two", "seed=1,2", "env=cartpole")
    twin = planned(tmp_path / "two", "seed=1", "env=cartpole").jobs[0].run_ids[0]
    assert (one / "runs" / twin / "metrics.jsonl").read_bytes() != b""
    shutil.copy(one / "runs" / twin / "metrics.jsonl", two / "runs" / twin / "metrics.jsonl")
    said = told(["merge", str(one), str(two)], capsys)
    assert "copied 1 finished run, added 1 run to the plan" in said
    assert "5 runs, 5 finished" in said
    assert "copied 0 finished runs, added 0 runs" in told(["merge", str(one), str(two)], capsys)
    (two / "runs" / twin / "metrics.jsonl").write_text("else")
    before = (one / "plan.json").read_bytes()
    said = told(["merge", str(one), str(two)], capsys, 2)
    assert "1 runs are finished in both folders with different rows" in said and twin in said
    assert (one / "plan.json").read_bytes() == before


def test_what_another_study_gives_is_the_targets_in_its_records_too(tmp_path, capsys):
    """Else W&B would group it, and the report name it, by a study that it is not part of."""
    one = ran(tmp_path / "one")
    assert launch(planned(tmp_path / "two", "seed=2,3", "env=cartpole", "name=t"), InlineOptions())
    two = tmp_path / "two" / "t"
    path = next(two.glob("runs/*-s3-*")) / "status.json"
    records.write_json(path, {**records.read_json(path), "trackers": {"wandb": "online"}})
    said = told(["merge", str(one), str(two)], capsys)
    assert "copied 2 finished runs, added 2 runs to the plan" in said
    assert "W&B still has 1 run under the old study name. Send" in said
    assert {records.read_json(path)["study"] for path in one.glob("runs/*/run.json")} == {"s"}
    assert {records.read_json(path)["study"] for path in two.glob("runs/*/run.json")} == {"t"}
    assert "W&B still has 1 run" in told(["rename", str(two), "u"], capsys)


def test_folders_that_run_something_else_under_one_name_do_not_merge(tmp_path, capsys):
    one, two = ran(tmp_path / "one"), ran(tmp_path / "two", "seed=2,3")
    other = plan(two)
    cell = next(iter(other["cells"]))
    other["cells"][cell]["config"]["algo"]["gamma"] = 0.5
    records.write_json(two / "plan.json", other)
    before = (one / "plan.json").read_bytes()
    said = told(["merge", str(one), str(two)], capsys, 2)
    assert f"algo.gamma was 0.99 and is 0.5 in {two}, though both call it {cell}" in said
    assert (one / "plan.json").read_bytes() == before and len(list(one.glob("runs/*"))) == 4


def test_prune_drops_checkpoints_only(tmp_path, capsys):
    study = ran(tmp_path)
    kept = {path for path in study.rglob("*") if path.is_file()}
    for job in planned(tmp_path).jobs:
        folder = records.job_dir(job) / "checkpoint" / "blocks"
        folder.mkdir(parents=True)
        (folder / "x").write_bytes(b"x" * 500_000)
    assert "2 jobs would start over; confirm with --yes" in told(["prune", str(study)], capsys, 2)
    assert told(["prune", str(study), "--yes"], capsys).startswith("deleted 1.0 MB of checkpoints")
    assert {path for path in study.rglob("*") if path.is_file()} == kept


def test_a_renamed_study_is_still_the_same(tmp_path, capsys):
    study = ran(tmp_path)
    told(["rename", str(study), "better"], capsys)
    assert not study.exists() and plan(tmp_path / "better")["study"] == "better"
    again = planned(tmp_path, "name=better")
    assert launch(again, InlineOptions())
    assert "4 finished before, 0 to do" in capsys.readouterr().out
    renamed = [records.read_json(path) for path in tmp_path.glob("better/runs/*/run.json")]
    assert {record["study"] for record in renamed} == {"better"}
    ran(tmp_path)
    for name, why in (("better", "exists"), ("a/b", "not the name"), ("..", "not the name")):
        assert why in told(["rename", str(study), name], capsys, 2)


def test_delete_asks_for_yes(tmp_path, capsys):
    study = ran(tmp_path)
    assert "with its 4 runs: confirm with --yes" in told(["delete", str(study)], capsys, 2)
    assert study.exists()
    told(["delete", str(study), "--yes"], capsys)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("words", [["prune"], ["rename", "b"], ["delete", "--yes"], ["merge"]])
def test_a_running_study_is_left_alone(words, tmp_path, capsys):
    study = ran(tmp_path)
    running(study)
    command = [words[0], str(study), *(words[1:] or ([str(study)] if words == ["merge"] else []))]
    assert "is running (process" in told(command, capsys, 2)
    assert study.exists()


BAD = [
    (["resume"], "resume takes the folder of a study"),
    (["resume", "nowhere"], "there is no folder nowhere"),
    (["resume", "."], "not a study"),
    (["extend", ".", "seeds=+8"], "not a study"),
    (["extend", ".", "seeds=8"], "seeds=8: say how many seeds to add, such as seeds=+8"),
    (["stop", "."], "not a study"),
    (["logs", "."], "not a study"),
    (["delete", ".", "--yes"], "not a study"),
    (["submit", "algo=dqn"], "env is missing"),
    (["submit", *WORDS, "dry_run=true"], "dry_run: there is nothing to submit"),
]


@pytest.mark.parametrize(("words", "why"), BAD, ids=lambda words: " ".join(words)[:30])
def test_bad_input_is_one_line(words, why, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    said = told(words, capsys, 2)
    assert why in said and said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_logs_show_what_a_job_printed_and_why_a_run_failed(tmp_path, capsys):
    study = ran(tmp_path)
    job = planned(tmp_path).jobs[0]
    (records.job_dir(job) / "log.txt").parent.mkdir(parents=True, exist_ok=True)
    (records.job_dir(job) / "log.txt").write_text("".join(f"line {n}\n" for n in range(50)))
    (records.run_dir(job, job.run_ids[1]) / "error.txt").write_text("why it failed\n")
    said = told(["logs", str(study), "cartpole", "--lines", "2"], capsys)
    assert "line 48\nline 49\n" in said and "line 47" not in said and "why it failed" in said
    assert told(["logs", str(study), "acrobot"], capsys) == "the jobs printed nothing\n"
    line = told(["logs", str(study), "cartpol_"], capsys, 2)
    assert "no output from jobs matching cartpol_; nearest: " in line and "cartpole" in line


def test_status_tells_what_nobody_runs_any_more(tmp_path, capsys):
    study = ran(tmp_path)
    for job in planned(tmp_path).jobs:
        path = records.run_dir(job, job.run_ids[0]) / "status.json"
        records.write_json(path, {**records.read_json(path), "state": schema.RUNNING})
    running(study)
    said = told(["status", str(study)], capsys)
    assert "4 runs, 1 running, 2 finished, 1 interrupted" in said
    assert "1/2 (1 running)  1/2 (1 interrupted)" in said
    assert "interrupted: DQN, lr=0.001 on acrobot, seed 0, step 0 of 100000: its" in said


@pytest.mark.slow
def test_submit_detaches_and_stop_stops_from_anywhere(tmp_path, capsys):
    words = ["algo=dqn", "env=cartpole", "tracking=disabled", "budget=10_000_000", "name=s"]
    words += ["checkpoint_every=0", "algo.learning_starts=1000", f"results={tmp_path}"]
    said = told(["submit", "-m", *words, "hydra/launcher=inline"], capsys)
    assert said.startswith("submitted as process ")
    study = tmp_path / "s"
    assert main(["delete", str(study), "--yes"]) == 2  # the launch has not begun a job by now
    assert "is running (process" in capsys.readouterr().err
    try:
        wait(lambda: any(study.glob("runs/*/metrics.jsonl")))
    finally:
        said = told(["stop", str(study)], capsys)
    assert said.startswith("asked 1 running job to save")
    wait(lambda: "NOT complete after" in (study / "launch.log").read_text())
    (status,) = [records.read_json(path) for path in study.glob("runs/*/status.json")]
    assert (status["state"], status["reason"]) == (schema.INTERRUPTED, "asked to stop")
    assert any(study.glob("jobs/*/checkpoint/*.pt"))


@pytest.mark.slow
def test_stop_is_heard_by_a_launch_that_has_only_been_submitted(tmp_path, capsys):
    words = ["algo=dqn", "env=cartpole", "tracking=disabled", "budget=10_000_000", "name=s"]
    told(["submit", "-m", *words, "hydra/launcher=inline", f"results={tmp_path}"], capsys)
    assert told(["stop", str(tmp_path / "s")], capsys).startswith("asked 0 running jobs to save")
    wait(lambda: "NOT complete after" in (tmp_path / "s" / "launch.log").read_text())
    wait(lambda: not leases.of(tmp_path / "s"))


def wait(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
