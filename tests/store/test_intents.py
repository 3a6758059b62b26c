"""A command on a study that is killed at any point is completed by the next."""

import fcntl
import functools
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from prism.benchmark.cli.main import main
from prism.benchmark.store import intents, records, studies
from tests import crash
from tests.store.test_studies import fake as fake
from tests.store.test_studies import plan, ran, told

RENAMED = 24  # a point of a rename at which the folder has its new name
Command = Callable[[Path], object]


def every(
    folder: Path, begin: Path, command: Command, judge: Callable[[Path], None], at_least: int
) -> None:
    """Kill a command at each of its points, from the same beginning, and judge what is left."""
    point = 1
    while True:
        work = folder / "work"
        shutil.copytree(begin, work)
        if not crash.killed(work, point, functools.partial(command, work)):
            break
        judge(work)
        shutil.rmtree(work)
        point += 1
    assert point > at_least


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, leaving out locks and the times in statuses."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".mutex"
    }


@pytest.fixture
def begin(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """Return a folder with a study of four runs, one of them on W&B, and one of two more."""
    results = tmp_path / "begin"
    path = next(ran(results).glob("runs/*-s0-*")) / "status.json"
    records.write_json(path, {**records.read_json(path), "trackers": {"wandb": "online"}})
    ran(results / "other", "seed=5", "env=cartpole")
    return results


def calm(begin: Path, folder: Path, command: Command) -> dict[str, bytes]:
    shutil.copytree(begin, folder)
    command(folder)
    return tree(folder)


def rename(folder: Path) -> object:
    return main(["rename", str(folder / "s"), "t"])


def delete(folder: Path) -> object:
    return main(["delete", str(folder / "s"), "--yes"])


def merge(folder: Path) -> object:
    return main(["merge", str(folder / "s"), str(folder / "other" / "s")])


def extend(folder: Path) -> object:
    return main(["extend", str(folder / "s"), "seeds=+1"])


def test_a_rename_is_completed_by_the_same_command(tmp_path, begin, capsys):
    whole = calm(begin, tmp_path / "calm", rename)

    def judge(folder: Path) -> None:
        assert "W&B still has 1 run" in told(["rename", str(folder / "s"), "t"], capsys)
        assert tree(folder) == whole

    every(tmp_path, begin, rename, judge, at_least=25)


def test_a_rename_is_completed_or_dropped_by_any_other_command(tmp_path, begin, capsys):
    whole = {"s": tree(begin), "t": calm(begin, tmp_path / "calm", rename)}

    def judge(folder: Path) -> None:
        (name,) = {path.name for path in folder.iterdir()} - {"other"}
        half = intents.told(folder / name)
        assert all(line in told(["status", str(folder / name)], capsys) for line in half)
        with studies.locked(folder / name):
            pass
        assert tree(folder) == whole[name]
        assert not intents.told(folder / name)

    every(tmp_path, begin, rename, judge, at_least=25)


def test_status_tells_of_a_rename_that_was_cut_short_and_resume_completes_it(
    tmp_path, begin, capsys
):
    study, target = begin / "s", begin / "t"
    assert crash.killed(begin, RENAMED, lambda: rename(begin))
    assert target.exists() and not study.exists()
    said = told(["status", str(target)], capsys)
    assert "half done: rename from s to t\n" in said and "the next command that changes" in said
    told(["resume", str(target), "hydra/launcher=inline"], capsys)
    assert plan(target)["study"] == "t"
    records_of = [records.read_json(path) for path in target.glob("runs/*/run.json")]
    assert len(records_of) == 4 and {record["study"] for record in records_of} == {"t"}
    assert "half done" not in told(["status", str(target)], capsys)


def test_a_delete_is_completed_by_the_same_command_or_another(tmp_path, begin, capsys):
    whole, cut = calm(begin, tmp_path / "calm", delete), []

    def judge(folder: Path) -> None:
        said = told(["status", str(folder / "other" / "s")], capsys)
        assert "half done" not in said  # it lies elsewhere
        gone = not (folder / "s").exists()
        if gone and len(cut) % 2:
            ran(folder, "name=u")  # a new study beside it
            assert {path.name for path in folder.iterdir()} == {"u", "other"}
            shutil.rmtree(folder / "u")
        else:
            told(["delete", str(folder / "s"), "--yes"], capsys)
        cut.append(gone)
        assert tree(folder) == whole

    every(tmp_path, begin, delete, judge, at_least=15)
    assert cut.count(True) > 10


def test_a_merge_is_completed_by_the_same_command(tmp_path, begin, capsys):
    whole = calm(begin, tmp_path / "calm", merge)

    def judge(folder: Path) -> None:
        told(["merge", str(folder / "s"), str(folder / "other" / "s")], capsys)
        assert tree(folder) == whole

    every(tmp_path, begin, merge, judge, at_least=20)


def test_an_extend_that_is_killed_has_happened_or_not(tmp_path, begin, capsys):
    whole = calm(begin, tmp_path / "calm", extend)

    def judge(folder: Path) -> None:
        with studies.locked(folder / "s"):
            pass
        assert tree(folder) in (tree(begin), whole)

    every(tmp_path, begin, extend, judge, at_least=4)


def test_only_dead_partial_files_are_collected(tmp_path, capsys):
    study = ran(tmp_path)
    run, host = next(study.glob("runs/*")), socket.gethostname()
    (study / "jobs").mkdir(exist_ok=True)
    dead = [
        study / f".plan.json.{2**22 + 1}-7@{host}",
        run / f".weights.pt.{2**22 + 1}-7@{host}",
        study / "jobs" / ".heartbeat.json.7-7@elsewhere",  # a day old
        run / ".status.json.7-7",  # of an older version
    ]
    live = [
        run / f".status.json.{os.getpid()}-7@{host}",
        run / ".status.json.7-7@elsewhere",
        run / ".status.json.8-7",
        run / ".hidden",
    ]
    for path in dead + live:
        path.write_bytes(b"half")
    for path in dead[2:]:
        os.utime(path, (time.time() - 90_000,) * 2)
    assert "left over by a killed process: 4 partial files" in told(["status", str(study)], capsys)
    assert all(path.exists() for path in dead)  # status changes nothing
    ran(tmp_path)
    assert [path.name for path in dead if path.exists()] == []
    assert all(path.exists() for path in live)


@pytest.mark.parametrize("command", [merge, delete, rename, extend])
def test_a_study_is_locked_while_a_command_changes_it(command, begin):
    """No job begins in the meantime: it has no lease before it has the lock."""
    free: list[bool] = []

    def look(_: int) -> None:
        path = next(p for p in (begin / "s", begin / "t") if p.exists())
        with (path / ".mutex").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                free.append(True)
            except BlockingIOError:
                free.append(False)

    with crash.points(begin, look, ("os.rename",)):
        assert command(begin) == 0
    assert free and not any(free)
