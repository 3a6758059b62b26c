"""A finished run is what it was when it finished, or it is named."""

import json
import shutil
import time
from pathlib import Path

import pytest

from prism.benchmark.store import digests, ledger, records, schema
from prism.benchmark.store.job import Job
from prism.benchmark.train.runner import run_job
from tests.runs import job


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Job:
    work = job(tmp_path_factory.mktemp("trained"), "q_learning", "dyna_maze", (0, 1), budget=200)
    ledger.prepare(work)
    run_job(work)
    return work


@pytest.fixture
def folders(trained: Job, tmp_path: Path) -> list[Path]:
    """A copy of two finished runs."""
    shutil.copytree(Path(trained.study_dir) / "runs", tmp_path / "runs")
    return [tmp_path / "runs" / run for run in trained.run_ids]


def status(folder: Path) -> schema.Status:
    found = records.read_status(folder)
    assert found is not None
    return found


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_a_finished_run_has_digests_of_what_its_result_is_made_of(folders):
    for folder in folders:
        said = status(folder)["digests"]
        assert said is not None and said["run_id"] == folder.name
        here = {name for name in digests.FILES if (folder / name).exists()}
        assert said["files"].keys() == here == set(digests.FILES) - {schema.BEST}
        assert digests.fault(folder, status(folder)) == "" and ledger.is_finished(folder)


@pytest.mark.parametrize("name", [name for name in digests.FILES if name != schema.BEST])
def test_a_flipped_bit_a_cut_and_a_missing_file_are_named(folders, capsys, name):
    folder, other = folders
    whole = (folder / name).read_bytes()
    before = status(folder)
    flip(folder / name)
    found = digests.fault(folder, before)
    assert found.startswith(f"{name} has changed") or found.startswith(f"{name} cannot be read")
    assert not ledger.is_finished(folder) and ledger.is_finished(other)
    assert f"{folder}: {name} " in capsys.readouterr().err
    (folder / name).write_bytes(whole[:-9])
    assert digests.fault(folder, before, deep=name == digests.RECORD).startswith(f"{name} ")
    (folder / name).unlink()
    assert digests.fault(folder, before, deep=False) == f"{name} is missing"
    (folder / name).write_bytes(whole)
    assert digests.fault(folder, before) == ""
    shutil.copy(other / name, folder / name)
    if whole != (other / name).read_bytes():
        assert digests.fault(folder, before).startswith(f"{name} ")


def test_files_that_were_swapped_with_another_runs_are_found(folders):
    one, two = folders
    for name in ("status.json", *digests.FILES):
        if (one / name).exists():
            (one / name).rename(one / "kept")
            (two / name).rename(one / name)
            (one / "kept").rename(two / name)
    for folder, owner in ((one, two), (two, one)):
        assert digests.fault(folder, status(folder)) == f"status.json is that of {owner.name}"
        assert not ledger.is_finished(folder)


def test_a_run_that_finished_before_there_were_digests_is_finished(folders):
    folder = folders[0]
    old = {key: x for key, x in status(folder).items() if key != "digests"}
    size = (folder / "metrics.jsonl").stat().st_size
    (folder / "status.json").write_text(json.dumps({**old, "size": size}))
    assert ledger.is_finished(folder)
    (folder / "metrics.jsonl").write_bytes(b"")
    assert not ledger.is_finished(folder)
    (folder / "status.json").write_text(json.dumps(old))
    assert ledger.is_finished(folder)


def test_plan_and_status_are_what_was_written(folders, tmp_path, capsys):
    path = folders[0] / "status.json"
    path.write_text(path.read_text().replace('"attempts": 1', '"attempts": 3'))
    assert records.read_status(folders[0]) is None
    assert "status.json: it has changed since Prism wrote it: treated as" in capsys.readouterr().err
    value = {"schema": 2, "runs": [{"seed": 1}]}
    assert digests.unsealed(digests.sealed(value)) == value
    for changed in ({**digests.sealed(value), "schema": 3}, {**digests.sealed(value), "more": 0}):
        with pytest.raises(ValueError, match="has changed"):
            digests.unsealed(changed)


def test_the_study_of_a_record_may_change_as_a_rename_does(folders):
    path = folders[0] / "run.json"
    records.write_json(path, {**records.read_json(path), "study": "another"})
    assert digests.fault(folders[0], status(folders[0])) == ""
    records.write_json(path, {**records.read_json(path), "seed": 9})
    assert (
        digests.fault(folders[0], status(folders[0]))
        == "run.json has changed since the run finished"
    )


def test_a_digest_is_made_once_per_process_while_a_file_stays(folders, monkeypatch):
    folder, made = folders[0], []
    monkeypatch.setattr(digests, "_TICK", -1.0)
    monkeypatch.setattr(digests, "_entry", lambda path: made.append(path) or _ENTRY(path))
    for _ in range(3):
        assert digests.fault(folder, status(folder)) == ""
    assert len(made) == len(status(folder)["digests"]["files"])
    assert digests.fault(folder, status(folder), deep=False) == ""
    time.sleep(0.05)
    flip(folder / "weights.pt")
    assert digests.fault(folder, status(folder), deep=False) == ""  # of the right size
    assert digests.fault(folder, status(folder)).startswith("weights.pt has changed")


_ENTRY = digests._entry
