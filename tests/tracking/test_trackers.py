"""Trackers beside W&B: those of others, without a change to Prism, and those that fail."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from prism.benchmark.cli.main import main
from prism.benchmark.store import records, trackers
from prism.benchmark.store.rows import timed_rows
from prism.benchmark.tracking.tracker import Trackers, say, settle, why
from prism.benchmark.train.runner import run_job
from tests.runs import finished, folders, job, metrics, same_results, status, stop

MINE = '''
import json
from pathlib import Path


class Mine:
    """Writes down all that it is given."""

    status = "on"

    def __init__(self, folder, tracking):
        self.path = Path(folder) / "mine.jsonl"
        self.tell(tracking=tracking)

    def tell(self, **what):
        with self.path.open("a") as file:
            file.write(json.dumps(what) + "\\n")

    def begin(self, record, resume_at):
        self.tell(record=record, resume_at=resume_at)

    def log(self, row):
        self.tell(row=row)

    def finish(self, state, reason):
        self.tell(state=state, reason=reason)
        self.status = "done"

    @staticmethod
    def settle(trackers):
        for tracker in trackers:
            tracker.tell(settled=len(trackers))


class Lame:
    """Lacks a part of the contract."""

    begin = log = None
'''
RUN = ("algo=dqn", "env=cartpole", "budget=60", "algo.learning_starts=40", "algo.hidden=[8]")
QUICK = ("evaluation.episodes=1", "evaluation.periodic_episodes=1", "log_every=20")


@pytest.fixture
def mine(tmp_path, monkeypatch) -> Path:
    """Return a folder on the path with somebody's package, which names a tracker "mine"."""
    folder = tmp_path / "site"
    info = folder / "prism_mine-1.0.dist-info"
    info.mkdir(parents=True)
    (folder / "prism_mine.py").write_text(MINE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: prism-mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[prism.trackers]\nmine = prism_mine:Mine\n")
    monkeypatch.syspath_prepend(str(folder))
    trackers.registered.cache_clear()
    yield folder
    trackers.registered.cache_clear()
    sys.modules.pop("prism_mine", None)


def told(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "mine.jsonl").read_text().splitlines()]


@pytest.mark.parametrize("name", ["mine", pytest.param("prism_mine:Mine", marks=pytest.mark.slow)])
def test_a_tracker_of_ones_own_works_from_the_command_line(mine, tmp_path, name):
    """In a process of its own, whose jobs are others still."""
    words = [*RUN, *QUICK, "seed=1,2", "hydra/launcher=local", f"results={tmp_path}"]
    command = [sys.executable, "-m", "prism.benchmark", "-m", *words, f"tracking.sinks=[{name}]"]
    path = os.pathsep.join([str(mine), os.environ.get("PYTHONPATH", "."), "."])
    subprocess.run(command, env={**os.environ, "PYTHONPATH": path}, check=True)
    runs = list(tmp_path.glob("adhoc/runs/*"))
    assert len(runs) == 2
    for folder in runs:
        first, begun, *rows, end, settled = told(folder)
        assert first["tracking"]["project"] == "prism"
        assert begun == {"record": records.read_json(folder / "run.json"), "resume_at": None}
        assert [line["row"] for line in rows] == timed_rows(folder) != []
        assert end == {"state": "finished", "reason": None} and settled == {"settled": 2}
        found = records.read_status(folder)
        assert found and found["trackers"] == {name: "done"}
        assert not (folder / "wandb").exists()


def test_the_tracker_of_the_manual_works(mine, tmp_path, capsys):
    page = Path(__file__).parents[2] / "docs" / "tracking.md"
    (code,) = re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL)
    (mine / "my_printer.py").write_text(code)
    work = finished(job(tmp_path, seeds=(3,), tracking__sinks=["my_printer:Printer"]))
    assert status(work, 0)["trackers"] == {"my_printer:Printer": "done"}
    (folder,) = folders(work)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{folder.name} begins CartPole-v1 3"
    assert len(lines) == 1 + len(timed_rows(folder))


def test_a_run_that_goes_on_says_from_where(mine, tmp_path):
    work = job(tmp_path, seeds=(3,), tracking__sinks=["mine"])
    stop(work, 160)
    run_job(work)
    (folder,) = folders(work)
    lines = told(folder)
    assert [line["resume_at"] for line in lines if "record" in line] == [None, 160]
    assert [line["row"] for line in lines if "row" in line] == timed_rows(folder)
    ends = [(line["state"], line["reason"]) for line in lines if "state" in line]
    assert ends == [("interrupted", "asked to stop"), ("finished", None)]


class Broken:
    """A tracker that raises where ``where`` says."""

    status = "on"
    where = ""

    def __init__(self, *_):
        self.fails("made")

    def fails(self, at: str) -> None:
        if at in self.where:
            raise (SystemExit if "exit" in self.where else OSError)(f"no room at {at}")

    def begin(self, *_):
        self.fails("begin")

    def log(self, _):
        self.fails("log")

    def finish(self, *_):
        self.fails("finish")

    def settle(self, *_):
        self.fails("settle")


BROKEN = f"{__name__}:Broken"


@pytest.mark.parametrize("where", ["made", "begin", "log", "finish", "settle", "log by exit"])
def test_a_tracker_that_fails_is_off_and_training_goes_on(
    mine, tmp_path, monkeypatch, capsys, where
):
    monkeypatch.setattr(Broken, "where", where)
    say.cache_clear()  # each line is said once in a process
    work = job(tmp_path / "with", tracking__sinks=[BROKEN, "mine"], algo__lr=0.01)
    plain = job(tmp_path / "without", tracking__sinks=[], algo__lr=0.01)
    same_results(finished(work), finished(plain))
    error = "SystemExit" if "exit" in where else "OSError"
    reason = f"{error}: no room at {where.split()[0]}"
    for k, folder in enumerate(folders(work)):
        assert status(work, k)["trackers"] == {"mine": "done", BROKEN: f"lost: {reason}"}
        assert [line["row"] for line in told(folder) if "row" in line] == timed_rows(folder)
    assert capsys.readouterr().err == (
        f"{BROKEN}: mirror off, training goes on: {reason}; the local rows are complete\n"
    )


def test_what_a_failing_tracker_says_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(Broken, "where", "begin")
    monkeypatch.setattr(Broken, "fails", lambda self, at: 1 / 0 if at == "begin" else None)
    work = job(tmp_path, tracking__sinks=[BROKEN])
    for folder in folders(work):
        run = Trackers(folder, work.spec.tracking, {}, None)
        settle([run])
        assert run.status == {BROKEN: "lost: ZeroDivisionError: division by zero"}
    assert capsys.readouterr().err == (
        f"{BROKEN}: mirror off, training goes on: ZeroDivisionError: division by zero; the local "
        "rows are complete\n"
    )


def test_no_secret_is_given_to_a_tracker(mine, tmp_path, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "planted/in+env=2")
    work = job(
        tmp_path, seeds=(3,), tracking__sinks=["mine"], tracking__notes="by planted/in+env=2"
    )
    (folder,) = folders(work)
    folder.mkdir(parents=True)
    run = Trackers(folder, work.spec.tracking, {"study": "x planted/in+env=2"}, None)
    run.finish("failed", "refused: token=planted/in+env=2")
    text = (folder / "mine.jsonl").read_text()
    assert "planted" not in text and text.count("[hidden]") == 3
    assert why(ValueError("at planted/in+env=2\nline two")) == "ValueError: at [hidden] line two"


@pytest.mark.parametrize(
    ("sinks", "error"),
    [
        ("[wandbb]", "tracking.sinks: unknown 'wandbb'; nearest: wandb"),
        ("[wandb,tensorbord]", "tracking.sinks: unknown 'tensorbord'; nearest: tensorboard"),
        ("[nowhere_at_all:X]", "tracking.sinks=nowhere_at_all:X cannot be imported: No module"),
        ("[prism_mine:Lame]", "tracking.sinks=prism_mine:Lame lacks finish; the whole contract is"),
        ("[mime]", "nearest: mine"),
        ("mine", "tracking.sinks takes a list, as in tracking.sinks=[a,b], got mine"),
    ],
)
def test_a_sink_that_is_none_is_named_before_anything_runs(mine, tmp_path, capsys, sinks, error):
    assert main([*RUN, *QUICK, f"tracking.sinks={sinks}", f"results={tmp_path / 'results'}"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: tracking.sinks") and error in line
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize("name", ["tensorboard", "trackio"])
def test_a_package_that_is_missing_is_named_with_its_extra(tmp_path, monkeypatch, capsys, name):
    monkeypatch.setitem(sys.modules, name, None)
    words = [*RUN, *QUICK, f"tracking.sinks=[{name}]", f"results={tmp_path / 'results'}"]
    assert main(words) == 2
    assert capsys.readouterr().err == (
        f"error: tracking.sinks: {name} is not installed: pip install 'prism-rl[{name}]'\n"
    )
    assert not (tmp_path / "results").exists()


def test_resume_looks_at_the_sinks_of_the_plan(mine, tmp_path, capsys):
    words = [*RUN, *QUICK, "tracking.sinks=[mine]", f"results={tmp_path}"]
    assert main(words) == 0
    (mine / "prism_mine-1.0.dist-info" / "entry_points.txt").unlink()
    trackers.registered.cache_clear()
    capsys.readouterr()
    assert main(["status", str(tmp_path / "adhoc")]) == 0
    capsys.readouterr()
    assert main(["resume", str(tmp_path / "adhoc")]) == 2
    assert "tracking.sinks: unknown 'mine'" in capsys.readouterr().err


def test_without_sinks_there_is_no_tracker(tmp_path):
    work = finished(job(tmp_path, seeds=(3,), tracking__sinks=[], tracking__wandb="online"))
    assert status(work, 0)["trackers"] == {} and metrics(work) != [b""]
