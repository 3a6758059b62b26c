import importlib
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prism.benchmark.cli.main import main
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.launch import task
from prism.benchmark.launch.core import launch
from prism.benchmark.launch.report import summary
from prism.benchmark.plan.executors import InlineOptions, LocalOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import identity, leases, ledger, provenance, records, schema
from prism.benchmark.store.job import Sweep
from prism.benchmark.store.ledger import planned_jobs, read_plan, remaining, unfinished, write_plan
from prism.benchmark.util.errors import ConfigError
from tests.launch import fakes


def plan(tmp_path: Path, rates: list[float], *more: str) -> Sweep:
    lr = ",".join(map(str, rates))
    words = ("algo=dqn", "env=cartpole", "tracking=disabled", f"algo.lr={lr}", *more)
    return sweep((*words, f"results={tmp_path}"))


def states(planned: Sweep) -> dict[float, schema.Status | None]:
    return {
        job.spec.algo.lr: records.read_status(records.run_dir(job, job.run_ids[-1]))
        for job in planned.jobs
    }


def test_ctrl_c_asks_every_job_to_stop_and_starts_no_other(tmp_path, capfd):
    planned = plan(tmp_path, [fakes.ASK_TO_STOP, fakes.FINISH])
    assert not launch(planned, LocalOptions(**{"n_jobs": 1}), fakes.play)
    found = states(planned)
    assert found[fakes.ASK_TO_STOP]["state"] == schema.INTERRUPTED
    assert found[fakes.FINISH] is None
    assert "stopping" in capfd.readouterr().out


@pytest.mark.slow
def test_workers_stop_when_their_driver_is_killed(tmp_path):
    code = (
        "from tests.launch import fakes, test_core\n"
        "from pathlib import Path\n"
        "from prism.benchmark.plan.executors import LocalOptions\n"
        "if __name__ == '__main__':\n"
        f"    planned = test_core.plan(Path({str(tmp_path)!r}), [fakes.FINISH])\n"
        "    test_core.launch(planned, LocalOptions(), fakes.wait_for_ever)\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code])
    pid_file = tmp_path / "adhoc" / "pid"
    try:
        worker = int(_until(lambda: pid_file.exists() and pid_file.read_text()))
    finally:
        driver.kill()
        driver.wait()
    _until(lambda: not _runs(worker))


def _until(condition, seconds: float = 120.0):
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
    assert not launch(planned, InlineOptions(), fakes.play)
    found = states(planned)
    assert found[fakes.RAISE]["reason"] == "exit code 1: ValueError: the fake raises"
    assert found[fakes.EXIT]["reason"] == "exit code 3: SystemExit: 3"
    assert found[fakes.FINISH]["state"] == schema.FINISHED


def test_inline_stops_where_its_job_was_interrupted(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH, fakes.RAISE])
    assert not launch(planned, InlineOptions(), fakes.interrupted_inline)
    assert [status and status["state"] for status in states(planned).values()] == [
        schema.INTERRUPTED,
        None,
    ]


def test_finished_runs_are_skipped_and_the_rest_of_a_job_runs(tmp_path, capsys):
    assert launch(plan(tmp_path, [fakes.FINISH], "seed=0,1"), InlineOptions(), fakes.play)
    again = plan(tmp_path, [fakes.FINISH], "seed=0,1")
    assert remaining(again) == []
    assert launch(again, InlineOptions(), fakes.play)
    (job,) = remaining(plan(tmp_path, [fakes.FINISH], "seed=range(0,4)"))
    assert job.seeds == [2, 3]
    assert job.job_id == identity.job_id(job.spec, "dqn", "cartpole", [2, 3])


def test_the_longest_jobs_come_first(tmp_path):
    words = ("algo=q_learning", "env=taxi", "budget=100,300,200", f"results={tmp_path}")
    assert [job.spec.budget for job in remaining(sweep(words))] == [300, 200, 100]


def test_jobs_of_several_processes_take_as_many_slots(tmp_path, capsys, monkeypatch):
    planned = plan(tmp_path, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    for job, cpus in zip(planned.jobs, [1, 1, 2, 1, 3, 1], strict=True):
        monkeypatch.setattr(job.spec.algo, "cpus", cpus, raising=False)
    runner = fakes.Together(slots=2)
    options: Any = SimpleNamespace(build=lambda run, jobs: runner)
    assert launch(planned, options, fakes.play)
    assert runner.batches == [[1, 1], [2], [1], [3], [1]]


@pytest.mark.parametrize("stale", ["refuse", "rerun", "keep"])
def test_finished_runs_of_other_code(tmp_path, capsys, stale):
    first = plan(tmp_path, [fakes.FINISH])
    launch(first, InlineOptions(), fakes.play)
    (job,) = first.jobs
    folder = records.run_dir(job, job.run_ids[0])
    record = records.read_json(folder / "run.json") | {"code": "other"}
    records.write_json(folder / "run.json", record)
    planned = plan(tmp_path, [fakes.FINISH], f"stale={stale}")
    if stale == "refuse":
        with pytest.raises(ConfigError, match=r"1 finished runs .* stale=rerun"):
            remaining(planned)
    elif stale == "keep":
        assert remaining(planned) == []
    else:
        assert launch(planned, InlineOptions(), fakes.play)
        assert records.read_json(folder / "run.json")["code"] == provenance.code_hash()
        old = tmp_path / "adhoc" / "old" / f"{folder.name}-other"
        assert records.read_json(old / "run.json") == record


def test_the_code_of_other_packages_counts(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)

    def hashed(agent="prism.algos.dqn.dqn:DQN", imports=None):
        provenance._hash_of.cache_clear()
        importlib.invalidate_caches()
        env = EnvConfig(imports=imports)
        spec: Any = SimpleNamespace(algo=SimpleNamespace(agent=agent), env=env)
        return provenance.code_hash(spec)

    ours = provenance.code_hash()
    assert hashed() == ours == hashed(imports="prism.benchmark.envs")
    package, module = tmp_path / "prism_outside" / "deep", tmp_path / "prism_module.py"
    package.mkdir(parents=True)
    places = [(package / "agent.py", "prism_outside.deep.agent:A"), (module, "prism_module:A")]
    for path, agent in places:
        path.write_text("one = 1")
        before = hashed(agent)
        assert before.startswith(f"{ours}-") and before == hashed(imports=agent.split(":")[0])
        path.write_text("one = 2")
        assert hashed(agent) != before
        for beside in ("beside.py", "prism_outside/.venv/x.py", "prism_outside/notes.txt"):
            before = hashed(agent)
            (tmp_path / beside).parent.mkdir(exist_ok=True)
            (tmp_path / beside).write_text("x = 1")
            assert hashed(agent) == before, beside
    both = hashed(places[0][1], "prism_module")
    assert both.startswith(f"{ours}-") and both not in {hashed(agent) for _, agent in places}
    assert hashed("prism_nowhere:A") != ours  # what cannot be found says so when it is built
    assert hashed("__main__:A") != ours


def test_results_of_an_outside_environments_other_code_are_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "prism_envs.py").write_text("size = 1")
    more = ("env=gym", "env.id=CartPole-v1", "env.imports=prism_envs")
    planned = plan(tmp_path, [fakes.FINISH], *more)
    launch(planned, InlineOptions(), fakes.play)
    assert remaining(planned) == []
    (tmp_path / "prism_envs.py").write_text("size = 2")
    provenance._hash_of.cache_clear()
    with pytest.raises(ConfigError, match=r"1 finished runs .* were made by other code"):
        remaining(planned)


def test_a_plan_is_not_overwritten_by_another_config_of_the_same_name(tmp_path):
    """As after a change of a default: the ids, which leave defaults out, stay as they are."""
    planned = plan(tmp_path, [fakes.FINISH])
    write_plan(planned)
    path = tmp_path / "adhoc" / "plan.json"
    old = records.read_json(path)
    (cell,) = old["cells"].values()
    new = cell["config"]["algo"]["exploration"]["end"]
    cell["config"]["algo"]["exploration"]["end"] = 0.77
    cell["config"]["algo"]["label"] = "another name"  # is no part of what is computed
    del cell["config"]["algo"]["compile"]  # a newer version has one key more
    records.write_json(path, old)
    before = path.read_bytes()
    told = rf"^algo\.exploration\.end was 0\.77 and is {new}, for DQN, lr=0\.001 on cartpole in "
    with pytest.raises(ConfigError, match=told):
        write_plan(planned)
    assert path.read_bytes() == before
    write_plan(plan(tmp_path, [fakes.FINISH], "stale=rerun"))
    (cell,) = records.read_json(path)["cells"].values()
    assert cell["config"] == planned.jobs[0].spec.record
    write_plan(planned)


def test_a_plan_only_grows(tmp_path):
    write_plan(plan(tmp_path, [fakes.FINISH], "seed=0,1"))
    path = tmp_path / "adhoc" / "plan.json"
    before = records.read_json(path)["runs"]
    write_plan(plan(tmp_path, [fakes.RAISE], "seed=0"))
    write_plan(plan(tmp_path, [fakes.FINISH], "seed=1,2"))
    runs = records.read_json(path)["runs"]
    assert runs[:2] == before
    assert [(run["variant"]["label"], run["seed"]) for run in runs] == [
        ("DQN, lr=0.001", 0),
        ("DQN, lr=0.001", 1),
        ("DQN, lr=0.002", 0),
        ("DQN, lr=0.001", 2),
    ]


def test_a_job_of_a_plan_is_called_by_the_seeds_that_it_has(tmp_path):
    """Of seeds 0, 1 and 2, two were planned before: the third alone must not pass for all three."""
    for seeds in ("0,1", "0,1,2"):
        write_plan(plan(tmp_path, [fakes.FINISH], f"seed={seeds}"))
    study = tmp_path / "adhoc"
    jobs = planned_jobs(study, read_plan(study))
    assert [job.seeds for job in jobs] == [[0, 1], [2]]
    apart = (plan(tmp_path, [fakes.FINISH], f"seed={seeds}") for seeds in ("0,1", "2"))
    assert [job.job_id for job in jobs] == [alone.jobs[0].job_id for alone in apart]


def test_summary_counts_every_planned_run(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH, fakes.RAISE], "seed=0,1")
    write_plan(planned)
    assert "4 runs, 4 planned" in summary(tmp_path / "adhoc")
    launch(planned, InlineOptions(), fakes.play)
    text = summary(tmp_path / "adhoc")
    assert "4 runs, 2 finished, 2 failed" in text
    assert re.search(r"^DQN, lr=0.001 +2/2$", text, re.MULTILINE)
    assert re.search(r"^DQN, lr=0.002 +0/2 \(2 failed\)$", text, re.MULTILINE)
    assert "failed: DQN, lr=0.002 on cartpole, seed 1, step 0" in text
    assert len(unfinished(planned)) == 2


def test_a_finished_run_whose_rows_are_cut_is_run_again(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH])
    launch(planned, InlineOptions(), fakes.play)
    (job,) = planned.jobs
    folder = records.run_dir(job, job.run_ids[0])
    status = records.read_json(folder / "status.json")
    (folder / "metrics.jsonl").write_bytes(b"12345")
    records.write_json(folder / "status.json", status | {"size": 5})
    assert remaining(planned) == []
    (folder / "metrics.jsonl").write_bytes(b"123")
    assert [job.seeds for job in remaining(planned)] == [[0]]
    assert unfinished(planned) == job.run_ids


@pytest.mark.parametrize("left", [b"", b"\0\0", b'{"state": "fini'])
def test_a_broken_status_counts_as_not_finished(tmp_path, capfd, left):
    planned = plan(tmp_path, [fakes.FINISH], "seed=0,1,2")
    launch(planned, InlineOptions(), fakes.play)
    (job,) = planned.jobs
    path = records.run_dir(job, job.run_ids[1]) / "status.json"
    path.write_bytes(left)
    capfd.readouterr()
    records.say_once.cache_clear()
    assert [job.seeds for job in remaining(planned)] == [[1]]
    assert "3 runs, 1 planned, 2 finished" in summary(tmp_path / "adhoc")
    told = capfd.readouterr().err
    assert told.startswith(f"{path} cannot be read (") and told.count("\n") == 1
    leases.path_of(job).write_bytes(left)  # what a power cut does to one file it does to others
    (records.job_dir(job) / "heartbeat.json").write_bytes(left)
    assert launch(planned, InlineOptions(), fakes.play)
    assert remaining(planned) == []


def test_a_broken_record_costs_its_run_alone(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH], "seed=0,1")
    launch(planned, InlineOptions(), fakes.play)
    (job,) = planned.jobs
    path = records.run_dir(job, job.run_ids[1]) / "run.json"
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert [job.seeds for job in remaining(planned)] == [[1]]
    assert "does not count as finished" in capsys.readouterr().err
    assert launch(planned, InlineOptions(), fakes.play)
    assert remaining(planned) == []
    assert [old.name for old in (tmp_path / "adhoc" / "old").iterdir()] == [
        f"{job.run_ids[1]}-unknown"
    ]


def test_a_broken_plan_is_one_line_that_names_it(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH])
    launch(planned, InlineOptions(), fakes.play)
    (path,) = tmp_path.rglob("plan.json")
    path.write_bytes(path.read_bytes()[:100])
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "adhoc")]) == 2
    err = capsys.readouterr().err
    assert err.startswith(f"error: {path} cannot be read (") and err.count("\n") == 1


def test_a_study_of_an_older_schema_is_refused_and_left_alone(tmp_path):
    planned = plan(tmp_path, [fakes.FINISH])
    path = tmp_path / "adhoc" / "plan.json"
    records.write_json(path, {"schema": 0, "study": "adhoc", "cells": []})
    before = path.read_bytes()
    for call in (
        lambda: launch(planned, InlineOptions(), fakes.play),
        lambda: summary(path.parent),
    ):
        with pytest.raises(ConfigError, match=r"has schema 0, this version reads 2: set name="):
            call()
    assert path.read_bytes() == before


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that root cannot write")
def test_a_results_folder_that_cannot_be_written_is_one_line(capsys):
    with pytest.raises(OSError, match=r"/proc/self/adhoc"):
        launch(plan(Path("/proc/self"), [fakes.FINISH]), InlineOptions(), fakes.play)
    words = ["algo=dqn", "env=cartpole", "tracking=disabled", "results=/proc/self"]
    assert main(words) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: /proc/self/adhoc: ") and err.count("\n") == 1


def test_what_others_run_is_awaited_and_what_they_leave_is_taken_over(tmp_path, capsys):
    planned = plan(tmp_path, [fakes.FINISH, fakes.RETURN])
    done, left = planned.jobs
    other = {"mark": "t", "host": "elsewhere", "pid": 1, "born": "", "beat": 0, "engine": None}
    for job in (done, left):
        lease = other | {"job_id": job.job_id, "runs": job.run_ids}
        records.write_json(leases.path_of(job), lease)
    looks = []

    def look(watch, lease, _):
        looks.append(lease["job_id"])
        if len(looks) == 4:  # the other launch has finished one job, and dies
            fakes.finish(done)
        return len(looks) < 6

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leases.Watch, "alive", look)
        patch.setattr("prism.benchmark.launch.core._LOOK", 0.0)
        assert not launch(planned, InlineOptions(), fakes.play)
    found = states(planned)
    assert found[fakes.FINISH]["state"] == schema.FINISHED
    assert found[fakes.FINISH]["attempts"] == 7  # not run here
    assert found[fakes.RETURN]["state"] == schema.FAILED
    assert [lease["job_id"] for lease in leases.of(tmp_path / "adhoc")] == [done.job_id]


def test_a_task_that_lost_its_claim_leaves_the_runs_alone(tmp_path):
    (job,) = plan(tmp_path, [fakes.RETURN]).jobs
    leased = leases.Watch().take(job)
    ledger.prepare(leased)
    spec = task.write(leased, fakes.play)
    before = states(plan(tmp_path, [fakes.RETURN]))
    records.write_json(leases.path_of(job), {"mark": "another", "beat": 0})
    assert _supervised(spec) == 0
    assert states(plan(tmp_path, [fakes.RETURN])) == before
    leases.path_of(job).unlink()
    leased = leases.Watch().take(job)
    assert _supervised(task.write(leased, fakes.play)) == 0
    (status,) = states(plan(tmp_path, [fakes.RETURN])).values()
    assert (status["state"], status["failure"]) == (schema.FAILED, schema.EXIT)


def _supervised(spec):
    """Return how a process ends that supervises a task: it must not be this one."""
    command = [sys.executable, "-m", "prism.benchmark.launch.task", str(spec)]
    return subprocess.run(command, cwd=Path(__file__).parents[2], check=False).returncode
