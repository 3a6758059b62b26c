"""An owner that wakes after another process has taken over its runs changes nothing any more."""

from collections.abc import Callable
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from prism.benchmark.store import leases, ledger, records, rows, schema
from prism.benchmark.store.job import Job
from prism.benchmark.train import saving
from prism.benchmark.train.runner import Training, run_job
from prism.benchmark.util import atomic
from tests import crash
from tests.runs import Killed, finished, job, kill, same_results, status

STEP = 23  # the default test takes every 23rd point, the slow one all of them


def small(folder: Path) -> Job:
    few = {"evaluation__episodes": 1, "evaluation__periodic_episodes": 1, "evaluation__every": 30}
    return job(folder, "q_learning", "taxi", (3, 11), budget=90, env__horizon=9, **few)


@pytest.fixture(autouse=True)
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Save a checkpoint behind every row."""
    monkeypatch.setattr(saving.Saver, "is_due", lambda *_: True)


def taken(work: Job) -> Job:
    """Take a job over from an owner that shows no sign of life."""
    lease = records.read_json(leases.path_of(work))
    if lease is not None:
        records.write_json(leases.path_of(work), {**lease, "born": "before"})
    mine = leases.Watch().take(work)
    assert mine is not None
    ledger.prepare(mine)
    return mine


def half(work: Job) -> None:
    """Train for some steps and be killed."""
    training = Training(work)
    end = training.steps[0] + 9
    try:
        with pytest.raises(Killed):
            training.run(lambda: training.steps[0] == end and kill(training))
    finally:
        training.close()


def whole(work: Job) -> None:
    finished(work)


def content(work: Job) -> dict[str, bytes]:
    """Return what a study holds, but for what only progress displays read, and partial files."""
    files = (path for path in Path(work.study_dir).rglob("*") if path.is_file())
    return {
        str(path): path.read_bytes()
        for path in files
        if path.name != "heartbeat.json" and not path.name.startswith(".")
    }


class Sleeper:
    """Lets a job sleep at one point of its work, while another owner takes it over.

    Points are the filesystem calls and the rows. Where it holds the study's lock, nobody can.
    """

    def __init__(self, patch: pytest.MonkeyPatch, point: int, other: Callable[[Job], None]) -> None:
        self.point, self.other, self.patch = point, other, patch
        self.count = self.locks = 0
        self.after: dict[str, bytes] | None = None
        mutex, write = atomic.mutex, rows.Rows.write

        @contextmanager
        def counted(folder):
            with mutex(folder):
                self.locks += 1
                try:
                    yield
                finally:
                    self.locks -= 1

        def written(this, row):
            self.reached()
            return write(this, row)

        patch.setattr(atomic, "mutex", counted)
        patch.setattr(rows.Rows, "write", written)

    def reached(self, _: int = 0) -> None:
        self.count += 1
        if self.count >= self.point and not self.locks and self.after is None:
            self.after = {}  # what the other does is no point
            new = taken(self.work)
            self.other(new)
            self.after = content(new)

    def run(self, work: Job) -> None:
        self.work, mine = work, leases.Watch().take(work)
        assert mine is not None
        with crash.points(Path(work.study_dir), self.reached), suppress(leases.Lost):
            ledger.prepare(mine)
            run_job(mine)


def survives(folder: Path, point: int, other: Callable[[Job], None], calm: Job) -> bool:
    """Let a job sleep at a point; return whether it has one."""
    work = small(folder)
    with pytest.MonkeyPatch.context() as patch:
        sleeper = Sleeper(patch, point, other)
        sleeper.run(work)
    if sleeper.after is None:
        return False
    now = content(work)
    assert now.keys() == sleeper.after.keys(), point
    assert [name for name in now if now[name] != sleeper.after[name]] == [], point
    run_job(taken(work))
    same_results(work, calm)
    return True


@pytest.mark.parametrize("other", [half, whole])
def test_an_owner_that_wakes_writes_nothing_into_what_another_has_taken(tmp_path, other):
    every(tmp_path, other, STEP)


@pytest.mark.slow
@pytest.mark.parametrize("other", [half, whole])
def test_an_owner_that_wakes_at_any_point_writes_nothing(tmp_path, other):
    every(tmp_path, other, 1)


def every(folder: Path, other: Callable[[Job], None], step: int) -> None:
    calm, point = finished(small(folder / "calm")), 1
    while survives(folder / str(point), point, other, calm):
        point += step
    assert point > 80


def test_rows_that_have_changed_end_a_run_as_lost_and_are_computed_again(tmp_path):
    calm, work = finished(small(tmp_path / "calm")), small(tmp_path / "work")
    path = records.run_dir(work, work.run_ids[0]) / "metrics.jsonl"

    def change(training: Training) -> None:
        if training.steps[0] == 60:
            path.write_bytes(path.read_bytes().replace(b"0", b"1", 1))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Training, "_tick", change)
        run_job(work)
    assert (status(work, 0)["state"], status(work, 0)["failure"]) == (schema.FAILED, schema.LOST)
    run_job(work)
    same_results(work, calm)
