"""Two processes never run one cell: a lease lives as long as its owner."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import leases, records
from prism.benchmark.store.job import Job


@pytest.fixture
def job(tmp_path: Path) -> Job:
    (job,) = sweep(("algo=dqn", "env=cartpole", "seed=0,1,2", f"results={tmp_path}")).jobs
    return job


def change(job: Job, **values: object) -> None:
    path = leases.path_of(job)
    records.write_json(path, {**records.read_json(path), **values})


def other(job: Job, *seeds: int) -> Job:
    """Return another job of the same cell with some of its seeds."""
    return replace(job, job_id=f"other{seeds}", run_ids=[job.run_ids[s] for s in seeds])


def test_a_claim_holds_its_runs_until_it_is_released(job: Job) -> None:
    watch = leases.Watch()
    mine = watch.take(other(job, 0, 1))
    assert mine is not None
    assert leases.Watch().take(job) is None and leases.Watch().take(other(job, 1)) is None
    assert leases.Watch().take(other(job, 2)) is not None  # other seeds are free
    leases.release(replace(mine, mark="another"))
    assert leases.Watch().take(other(job, 0)) is None
    leases.release(mine)
    assert leases.Watch().take(other(job, 0)) is not None


def test_a_dead_owner_is_followed(job: Job) -> None:
    first = leases.Watch().take(job)
    assert first is not None
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    change(first, pid=gone.pid)
    second = leases.Watch().take(job)
    assert second is not None and second.mark != first.mark
    assert not leases.adopt(first) and not leases.beat(first)  # it must not run
    assert leases.adopt(second) and leases.beat(second)


def test_a_launch_holds_a_study_but_no_runs(job: Job) -> None:
    study = Path(job.study_dir)
    gone = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    old = leases.hold(study, gone.pid)
    gone.communicate(b"\n")
    mine = leases.hold(study, os.getpid())
    assert mine.exists() and not old.exists()  # that launch is over
    (lease,) = leases.of(study)
    assert leases.Watch().alive(lease, study)
    assert leases.Watch().take(job) is not None
    assert leases.ask_to_stop(study) == 1  # the job
    assert not leases.Watch().alive({**lease, "host": "elsewhere"}, study)  # where nobody can tell


def test_a_process_id_used_again_is_not_the_owner(job: Job) -> None:
    first = leases.Watch().take(job)
    assert first is not None
    change(first, born="before")
    assert leases.born(os.getpid()) not in ("", "before")
    assert leases.Watch().take(job) is not None


def test_an_owner_elsewhere_lives_as_long_as_it_beats(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, now = leases.Watch().take(job), [1000.0]
    assert first is not None
    change(first, host="elsewhere")
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    monkeypatch.setattr("time.time", lambda: -1e9)  # no clock of a machine is asked
    watch = leases.Watch()
    assert watch.take(job) is None
    now[0] += leases.EXPIRY - 1
    leases.beat(first)
    assert watch.take(job) is None
    now[0] += leases.EXPIRY - 1
    assert watch.take(job) is None
    now[0] += 2
    assert watch.take(job) is not None


def test_who_begins_to_look_knows_an_owner_elsewhere_by_the_age_of_its_lease(job: Job) -> None:
    first = leases.Watch().take(job)
    assert first is not None
    change(first, host="elsewhere")
    study, path = Path(job.study_dir), leases.path_of(first)
    now = path.stat().st_mtime
    for age, alive in ((0, True), (leases.SILENCE - 5, True), (leases.SILENCE + 5, False)):
        os.utime(path, (now - age, now - age))
        (lease,) = leases.of(study)
        assert leases.Watch().alive(lease, study) is alive
    assert leases.Watch().take(job) is not None


def test_what_waits_in_a_queue_is_alive(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    first = leases.Watch().take(job)
    assert first is not None and leases.queued_as(first, "17_3")
    change(first, pid=2**30)
    for names in (frozenset({"17_3"}), None):  # None: the controller does not answer
        monkeypatch.setattr("prism.benchmark.util.squeue.names", lambda names=names: names)
        assert leases.Watch().take(job) is None
    monkeypatch.setattr("prism.benchmark.util.squeue.names", lambda: frozenset({"17_4"}))
    assert leases.Watch().take(job) is not None
