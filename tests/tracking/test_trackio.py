"""Trackio's own database holds what the runs hold."""

import sys
from pathlib import Path

import pytest

from prism.benchmark.store import records
from prism.benchmark.store.rows import timed_rows
from prism.benchmark.tracking.wandb import wandb_id
from tests.runs import finished, folders, job, status, stop

pytest.importorskip("trackio", reason="pip install 'prism-rl[trackio]'")


@pytest.fixture
def database(tmp_path, monkeypatch):
    """Return Trackio's database, of this test alone."""
    monkeypatch.setenv("TRACKIO_DIR", str(tmp_path / "trackio"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "trackio"]:
        monkeypatch.delitem(sys.modules, name)  # the folder is looked up at import
    from trackio.sqlite_storage import SQLiteStorage

    return SQLiteStorage


def work(folder: Path, **changes):
    return job(folder, seeds=(3, 11), tracking__sinks=["trackio"], checkpoint_every=0, **changes)


def local(folder: Path) -> list[dict]:
    rows = [{k: v for k, v in row.items() if v is not None} for row in timed_rows(folder)]
    return [{"step": row.pop("global_step"), **row} for row in rows]


@pytest.mark.parametrize("stopped", [False, True])
def test_the_rows_of_every_seed_are_there_once(database, tmp_path, capfd, stopped):
    done = work(tmp_path)
    if stopped:
        stop(done, 160)
        assert len(database.get_alerts("prism")) == 2
    finished(done)
    assert len(database.get_runs("prism")) == 2 and database.get_alerts("prism") == []
    for k, folder in enumerate(folders(done)):
        record = records.read_json(folder / "run.json")
        name = wandb_id(record)
        logs = database.get_logs("prism", name)
        assert [{x: row[x] for x in row if x != "timestamp"} for row in logs] == local(folder)
        config = database.get_run_config("prism", name)
        assert config["algo"] == record["config"]["algo"] and config["label"] == "dqn"
        assert config["_Group"] == "test/CartPole-v1/dqn" and config["seed"] == record["seed"]
        assert status(done, k)["trackers"] == {"trackio": "complete"}
    assert "Trackio" not in "".join(capfd.readouterr())


def test_a_remote_server_is_refused_in_one_line(database, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("TRACKIO_SPACE_ID", "somebody/there")
    done = finished(work(tmp_path))
    why = "ValueError: TRACKIO_SPACE_ID is set, and only the local database is supported"
    assert status(done, 0)["trackers"] == {"trackio": f"lost: {why}"}
    assert capsys.readouterr().err == (
        f"trackio: mirror off, training goes on: {why}; the local rows are complete\n"
    )
