"""What can go wrong with a job costs that job only, and its folder says what it was."""

import errno
import os
import signal
from dataclasses import replace
from multiprocessing import forkserver

import pytest

from prism.benchmark.launch import core, local
from prism.benchmark.launch.core import launch
from prism.benchmark.launch.executor import Exit
from prism.benchmark.launch.faults import classify
from prism.benchmark.launch.progress import Progress
from prism.benchmark.plan.executors import InlineOptions, LocalOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import leases, ledger, records, schema
from prism.benchmark.util.errors import ConfigError
from tests.launch import fakes
from tests.launch.test_core import plan, states

ENDS = {  # what a job does -> class and reason, and how often it is tried
    fakes.RAISE: (schema.EXCEPTION, "exit code 1: ValueError: the fake raises", 1),
    fakes.EXIT: (schema.EXIT, "exit code 3", 1),
    fakes.KILL: (schema.LOST, "killed by SIGKILL", 2),
    fakes.SEGFAULT: (schema.CRASH, "killed by SIGSEGV", 2),
    fakes.RETURN: (schema.EXIT, "the job returned without finishing this run", 1),
    fakes.HANG: (schema.HANG, "hang: no step for ", 2),
    fakes.GROW: (schema.OOM, "out of memory: ", 2),
}


def test_every_failure_is_contained_told_and_tried_again_as_its_class_says(tmp_path, capfd):
    more = ("seed=0,1", "limits.hang=1", "limits.memory=1.0", "retry.lost=1")
    planned = plan(tmp_path, [*ENDS, fakes.FLAKY, fakes.FINISH], *more)
    assert not launch(planned, LocalOptions(**{"n_jobs": 2}), fakes.play)
    found, out = states(planned), capfd.readouterr().out
    assert found[fakes.FINISH]["state"] == found[fakes.FLAKY]["state"] == schema.FINISHED
    jobs = {job.spec.algo.lr: job for job in planned.jobs}
    for rate, (failure, reason, tries) in ENDS.items():
        state = found[rate]
        assert (state["state"], state["failure"]) == (schema.FAILED, failure)
        assert state["reason"].startswith(reason)
        error = records.run_dir(jobs[rate], jobs[rate].run_ids[0]) / "error.txt"
        assert state["reason"] in error.read_text()
        assert out.count(f"again    DQN, lr={rate:g} on") == tries - 1, rate
    log = records.job_dir(jobs[fakes.RAISE]) / "log.txt"
    assert "Traceback" in log.read_text() and "Traceback" not in out
    hung = records.run_dir(jobs[fakes.HANG], jobs[fakes.HANG].run_ids[0]) / "error.txt"
    assert "in play" in hung.read_text()  # where it hangs
    assert f"18 runs, 4 finished, {2 * len(ENDS)} failed" in out
    assert "NOT complete" in out


@pytest.mark.parametrize("said", ["hang: no step for 7 s, limits.hang=0", None])
def test_a_job_that_falls_silent_has_one_reason(tmp_path, monkeypatch, said):
    """Its watching thread had time to speak of one run only, as where C code keeps the lock."""
    monkeypatch.setattr(core, "_BLIND", -1.0)
    planned = plan(tmp_path, [fakes.HANG], "seed=0,1,2", "limits.hang=0")
    drive, job = driving(planned)
    drive._look()
    assert {s["state"] for s in ledger.statuses(job)} == {schema.PLANNED}  # its first beat
    if said is not None:
        first = replace(job, seeds=job.seeds[:1], run_ids=job.run_ids[:1])
        ledger.end(first, schema.FAILED, said, "", schema.HANG, 1)
    drive._look()
    ends = {(s["state"], s["failure"], s["reason"]) for s in ledger.statuses(job)}
    assert ends == {(schema.FAILED, schema.HANG, said or "hang: no sign of life")}


def driving(planned):
    """Return a driver of a sweep whose only job it has started, and the job."""
    job = leases.Watch().take(planned.jobs[0])
    ledger.prepare(job)
    runner = fakes.Together(slots=1)
    runner.start(job)
    return core._Drive(planned, [], runner, Progress(planned, [job], runner.running)), job


def test_a_launcher_that_wakes_settles_only_what_it_still_owns(tmp_path, capfd):
    drive, job = driving(plan(tmp_path, [fakes.FINISH], "seed=0,1"))
    records.write_json(leases.path_of(job), {**leases.of(tmp_path / "adhoc")[0], "born": "before"})
    other = leases.Watch().take(replace(job, job_id="other", seeds=[1], run_ids=job.run_ids[1:]))
    before = ledger.statuses(job)
    drive._settle(Exit(job, 0, ""))
    assert ledger.statuses(job) == before and list(drive.elsewhere) == [job]
    assert drive.failed == 0 and capfd.readouterr().out == ""
    ledger.end(job, schema.FAILED, "late", "", schema.HANG, 1)
    assert ledger.statuses(job) == before
    leases.release(other)
    drive._look()
    assert list(drive.queue) == [job]


def test_a_disk_that_stalls_costs_no_job(tmp_path, monkeypatch):
    drive, job = driving(plan(tmp_path, [fakes.FINISH]))
    drive.elsewhere.append(job)

    def stalls(*_):
        raise OSError(errno.ESTALE, "Stale file handle")

    with monkeypatch.context() as patch:
        patch.setattr(leases, "of", stalls)
        drive.looked = 0.0
        patch.setattr(fakes.Together, "poll", lambda *_: drive.runner.running.clear() or [])
        patch.setattr(core._Drive, "open", False)
        drive()
    assert list(drive.elsewhere) == [job]


def test_jobs_outlive_their_fork_server_and_the_next_get_another(tmp_path, capfd):
    planned = plan(tmp_path, [0.1, 0.2, 0.3], "retry.lost=0")
    assert launch(planned, LocalOptions(**{"n_jobs": 2}), fakes.orphaned)
    assert "again" not in capfd.readouterr().out


def test_a_job_that_dies_with_its_server_is_lost_and_tried_again(tmp_path, capfd):
    planned = plan(tmp_path, [0.1], "retry.lost=1")
    assert launch(planned, LocalOptions(), fakes.killed_with_its_server)
    assert "1 of 1 seeds: lost: the server that it was forked from" in capfd.readouterr().out


def test_a_job_whose_server_dies_at_its_start_is_tried_again(tmp_path, monkeypatch, capfd):
    """The first attempt is forked, but nobody knows its process."""
    read, tries = forkserver.read_signed, []

    def torn(descriptor):
        tries.append(read(descriptor))
        if len(tries) == 1:
            os.kill(local._known_server().pid, signal.SIGKILL)
            raise EOFError("unexpected EOF")
        return tries[-1]

    monkeypatch.setattr(forkserver, "read_signed", torn)
    assert launch(plan(tmp_path, [fakes.FINISH]), LocalOptions(), fakes.play)
    assert "lost: no process could be made for it: unexpected EOF" in capfd.readouterr().out


def test_a_job_ends_at_its_timeout(tmp_path, capfd):
    planned = plan(tmp_path, [fakes.HANG], "limits.timeout=0.5")
    assert not launch(planned, LocalOptions(), fakes.play)
    state = states(planned)[fakes.HANG]
    assert (state["failure"], state["attempts"]) == (schema.TIMEOUT, 0)
    assert state["reason"].endswith("limits.timeout=0.5")


@pytest.mark.parametrize(("word", "begun"), [("stop", 1), ("stop_after:2", 2), ("continue", 3)])
def test_on_failure(word, begun, tmp_path, capsys):
    planned = plan(tmp_path, [fakes.RAISE, fakes.EXIT, fakes.FINISH], f"on_failure={word}")
    assert not launch(planned, InlineOptions(), fakes.play)
    assert [status is not None for status in states(planned).values()].count(True) == begun


@pytest.mark.parametrize("word", ["halt", "stop_after:0", "stop_after:x"])
def test_no_such_policy(word):
    with pytest.raises(ConfigError, match=f"on_failure: unknown '{word}'"):
        sweep(("algo=dqn", "env=cartpole", f"on_failure={word}"))


def test_classes():
    (job,) = sweep(("algo=dqn", "env=cartpole")).jobs
    killed = Exit(job, -signal.SIGKILL, "noise\n")
    assert classify(killed) == (schema.LOST, "killed by SIGKILL: noise")
    assert classify(killed, out_of_memory=True)[0] == schema.OOM
    assert classify(Exit(job, -signal.SIGABRT, "")) == (schema.CRASH, "killed by SIGABRT")
    assert classify(Exit(job, 5, "")) == (schema.EXIT, "exit code 5")
    assert classify(Exit(job, 0, "", lost=True)) == (schema.LOST, "lost")
