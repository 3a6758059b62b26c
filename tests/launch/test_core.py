import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmark import schema, store
from benchmark.errors import ConfigError
from benchmark.grid import sweep
from benchmark.job import Sweep
from benchmark.launch.core import launch, reason
from benchmark.launch.executors import Exit
from benchmark.launch.progress import Progress, clock
from benchmark.launch.report import summary
from benchmark.ledger import remaining, unfinished, write_plan
from tests.launch import fakes


def plan(tmp_path: Path, rates: list[float], *more: str) -> Sweep:
    lr = ",".join(map(str, rates))
    words = ("algo=dqn", "env=cartpole", "tracking=disabled", f"algo.lr={lr}", *more)
    return sweep((*words, f"results={tmp_path}"))


def states(planned: Sweep) -> dict[float, schema.Status | None]:
    return {
        job.config["algo"]["lr"]: store.read_status(store.run_dir(job, job.run_ids[-1]))
        for job in planned.jobs
    }


def test_a_crash_costs_its_own_job_only(tmp_path, capfd):
    rates = [fakes.RAISE, fakes.EXIT, fakes.KILL, fakes.SEGFAULT, fakes.RETURN, fakes.FINISH]
    planned = plan(tmp_path, rates, "seed=0,1")
    assert not launch(planned, "local", {"n_jobs": 2}, fakes.play)
    found = states(planned)
    assert found[fakes.FINISH]["state"] == schema.FINISHED
    reasons = {
        fakes.RAISE: "exit code 1: ValueError: the fake raises",
        fakes.EXIT: "exit code 3",
        fakes.KILL: "killed by SIGKILL",
        fakes.SEGFAULT: "killed by SIGSEGV",
        fakes.RETURN: "the job returned without finishing this run",
    }
    for rate, text in reasons.items():
        assert found[rate]["state"] == schema.FAILED
        assert found[rate]["reason"].startswith(text)
    for job in planned.jobs:
        if job.config["algo"]["lr"] == fakes.RAISE:
            error = store.run_dir(job, job.run_ids[0]) / "error.txt"
            assert "Traceback" in error.read_text()
            assert "Traceback" in (store.job_dir(job) / "log.txt").read_text()
    out = capfd.readouterr().out
    assert "12 runs, 2 finished, 10 failed" in out
    assert "NOT complete" in out
    assert "Traceback" not in out


def test_ctrl_c_asks_every_job_to_stop_and_starts_no_other(tmp_path, capfd):
    planned = plan(tmp_path, [fakes.ASK_TO_STOP, fakes.FINISH])
    assert not launch(planned, "local", {"n_jobs": 1}, fakes.play)
    found = states(planned)
    assert found[fakes.ASK_TO_STOP]["state"] == schema.INTERRUPTED
    assert found[fakes.FINISH] is None
    assert "stopping" in capfd.readouterr().out


def test_workers_stop_when_their_driver_is_killed(tmp_path):
    code = (
        "from tests.launch import fakes, test_core\n"
        "from pathlib import Path\n"
        "if __name__ == '__main__':\n"
        f"    planned = test_core.plan(Path({str(tmp_path)!r}), [fakes.FINISH])\n"
        "    test_core.launch(planned, 'local', {}, fakes.wait_for_ever)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code])
    pid_file = tmp_path / "adhoc" / "pid"
    try:
        worker = int(_until(lambda: pid_file.exists() and pid_file.read_text()))
    finally:
        driver.kill()
        driver.wait()
    _until(lambda: not _runs(worker))


def _until(condition, seconds: float = 30.0):
    end = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)
    return value


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_inline_contains_what_a_job_raises(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.RAISE, fakes.EXIT, fakes.FINISH])
    assert not launch(planned, "inline", {}, fakes.play)
    found = states(planned)
    assert found[fakes.RAISE]["reason"] == "exit code 1: ValueError: the fake raises"
    assert found[fakes.EXIT]["reason"] == "exit code 3: SystemExit: 3"
    assert found[fakes.FINISH]["state"] == schema.FINISHED


def test_inline_stops_where_its_job_was_interrupted(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH, fakes.RAISE])
    assert not launch(planned, "inline", {}, fakes.interrupted_inline)
    assert [status and status["state"] for status in states(planned).values()] == [
        schema.INTERRUPTED,
        None,
    ]


def test_finished_runs_are_skipped_and_the_rest_of_a_job_runs(tmp_path, capsys):
    assert launch(plan(tmp_path, [fakes.FINISH], "seed=0,1"), "inline", {}, fakes.play)
    again = plan(tmp_path, [fakes.FINISH], "seed=0,1")
    assert remaining(again) == []
    assert launch(again, "inline", {}, fakes.play)
    (job,) = remaining(plan(tmp_path, [fakes.FINISH], "seed=range(0,4)"))
    assert job.seeds == [2, 3]
    assert job.job_id == store.job_id(job.config, "dqn", "cartpole", [2, 3])


def test_the_longest_jobs_come_first(tmp_path):
    words = ("algo=dqn", "env=cartpole", "budget=100,300,200", f"results={tmp_path}")
    assert [job.config["budget"] for job in remaining(sweep(words))] == [300, 200, 100]


@pytest.mark.parametrize("stale", ["refuse", "rerun", "keep"])
def test_finished_runs_of_other_code(tmp_path, capsys, stale):
    first = plan(tmp_path, [fakes.FINISH])
    launch(first, "inline", {}, fakes.play)
    (job,) = first.jobs
    folder = store.run_dir(job, job.run_ids[0])
    store.write_json(folder / "run.json", {"code": "other"})
    planned = plan(tmp_path, [fakes.FINISH], f"stale={stale}")
    if stale == "refuse":
        with pytest.raises(ConfigError, match=r"1 finished runs .* stale=rerun"):
            remaining(planned)
    elif stale == "keep":
        assert remaining(planned) == []
    else:
        assert launch(planned, "inline", {}, fakes.play)
        assert store.read_json(folder / "run.json") == {"code": store.code_hash()}
        old = tmp_path / "adhoc" / "old" / f"{folder.name}-other"
        assert store.read_json(old / "run.json") == {"code": "other"}


def test_a_plan_only_grows(tmp_path):
    write_plan(plan(tmp_path, [fakes.FINISH], "seed=0,1"))
    path = tmp_path / "adhoc" / "plan.json"
    before = store.read_json(path)["runs"]
    write_plan(plan(tmp_path, [fakes.RAISE], "seed=0"))
    write_plan(plan(tmp_path, [fakes.FINISH], "seed=1,2"))
    runs = store.read_json(path)["runs"]
    assert runs[:2] == before
    assert [(run["variant"]["label"], run["seed"]) for run in runs] == [
        ("DQN, lr=0.001", 0),
        ("DQN, lr=0.001", 1),
        ("DQN, lr=0.002", 0),
        ("DQN, lr=0.001", 2),
    ]


def test_progress_reads_heartbeats(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH], "seed=0,1")
    (job,) = planned.jobs
    with Progress(planned, planned.jobs, {job.job_id: job}) as progress:
        assert progress.picture()[1] == "DQN, lr=0.001 on cartpole x 2 seeds: starting"
        beat = {"global_step": 25_000, "budget": 100_000, "wall": 10.0, "seeds": 2}
        beat |= {"budget": job.config["budget"], "train_return": 21.5, "eval_return": None}
        store.write_json(store.job_dir(job) / "heartbeat.json", beat)
        head, line = progress.picture()
    share = f"{25_000 / job.config['budget']:.0%}"
    assert head.startswith(f"0/1 jobs, {share}, 0 runs failed")
    assert "ETA" in head
    assert line == f"DQN, lr=0.001 on cartpole x 2 seeds: {share}, 5,000 steps/s, return 21.5"
    assert clock(3723.9) == "1:02:03"


def test_a_terminal_gets_a_picture_that_renews_itself(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    planned = plan(tmp_path, [fakes.FINISH])
    progress = Progress(planned, planned.jobs, {})
    progress.height = 3
    progress.say("kept")
    assert capsys.readouterr().out == "\x1b[3A\x1b[Jkept\n"


def test_summary_counts_every_planned_run(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH, fakes.RAISE], "seed=0,1")
    write_plan(planned)
    assert "4 runs, 4 planned" in summary(tmp_path / "adhoc")
    launch(planned, "inline", {}, fakes.play)
    text = summary(tmp_path / "adhoc")
    assert "4 runs, 2 finished, 2 failed" in text
    assert "DQN, lr=0.001          2/2" in text
    assert "failed: DQN, lr=0.002 on cartpole, seed 1, step 0" in text
    assert len(unfinished(planned)) == 2


def test_reasons():
    (job,) = sweep(("algo=dqn", "env=cartpole")).jobs
    assert reason(Exit(job, -9, "noise\n")) == "killed by SIGKILL: noise"
    assert reason(Exit(job, 5, "")) == "exit code 5"
