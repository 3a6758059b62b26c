"""Event files written while a run trains: what ``analysis tensorboard`` writes of it afterwards."""

from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator

from prism.analysis import cli
from prism.benchmark.store.events import FILE
from prism.benchmark.store.job import Job, Sweep
from prism.benchmark.store.ledger import write_plan
from prism.benchmark.store.rows import read_rows
from prism.benchmark.store.schema import STEP
from prism.benchmark.train.runner import Training
from tests.runs import Killed, finished, folders, job, kill, states, status, stop


def work(folder: Path, **changes) -> Job:
    sinks = ["tensorboard"]
    return job(folder, seeds=(3, 11), tracking__sinks=sinks, checkpoint_every=0, **changes)


def files(folder: Path) -> dict[str, Path]:
    return {path.parent.name: path for path in folder.glob(f"*/*/*/{FILE}")}


def steps(path: Path, name: str) -> list[int]:
    events = EventAccumulator(str(path), size_guidance={TENSORS: 0}).Reload()
    return [event.step for event in events.Tensors(name)]


def rows(done: Job, name: str) -> list[list[int]]:
    return [
        [row[STEP] for row in read_rows(folder / "metrics.jsonl") if name in row]
        for folder in folders(done)
    ]


def same_as_the_analysis_writes(done: Job, tmp_path: Path) -> None:
    study = Path(done.study_dir)
    live = {name: path.read_bytes() for name, path in files(study / "tensorboard").items()}
    write_plan(Sweep("test", study, jobs=[done]))
    assert cli.main(["tensorboard", str(study), "--out", str(tmp_path / "later")]) == 0
    later = {name: path.read_bytes() for name, path in files(tmp_path / "later").items()}
    assert live == later and set(live) == set(done.run_ids)


def test_a_finished_run_has_the_file_that_the_analysis_writes(tmp_path):
    done = finished(work(tmp_path / "study", tracking__notes="why"))
    assert status(done, 0)["trackers"] == {"tensorboard": "complete"}
    same_as_the_analysis_writes(done, tmp_path)


def killed_behind_its_checkpoint(begun: Job) -> None:
    """Kill a job at step 200 that has a checkpoint of step 160."""
    training = Training(begun)

    def stopped() -> bool:
        if training.steps[0] == 160:
            training._save()
        return training.steps[0] == 200 and kill(training)

    with pytest.raises(Killed):
        training.run(stopped)
    training.close()


@pytest.mark.parametrize("how", ["asked", "killed", "killed and torn"])
def test_a_run_that_goes_on_has_each_step_once(tmp_path, how):
    begun = work(tmp_path / "study")
    if how == "asked":
        stop(begun, 160)
    else:
        killed_behind_its_checkpoint(begun)
    paths = files(tmp_path / "study" / "tensorboard")
    last = {"asked": 90, "killed": 180, "killed and torn": 180}[how]
    assert [steps(path, "eval/return")[-1] for path in paths.values()] == [last] * 2
    if how == "killed and torn":
        for path in paths.values():
            path.write_bytes(path.read_bytes()[:-5])
    finished(begun)
    assert status(begun, 0)["attempts"] == 2
    for run, there in zip(begun.run_ids, rows(begun, "eval/return"), strict=True):
        assert steps(paths[run], "eval/return") == there != []
    same_as_the_analysis_writes(begun, tmp_path)


def test_a_killed_run_has_lost_no_row(tmp_path):
    begun = work(tmp_path)
    with pytest.raises(Killed):
        stop(begun, 200, kill)
    paths = files(tmp_path / "tensorboard")
    for run, there in zip(begun.run_ids, rows(begun, "train/episodes"), strict=True):
        assert steps(paths[run], "train/episodes") == there != []


def test_a_folder_that_cannot_be_written_costs_a_line(tmp_path, capsys):
    (tmp_path / "tensorboard").write_text("a file where a folder should be")
    done = finished(work(tmp_path))
    assert states(done) == ["finished"] * 2
    assert status(done, 1)["trackers"]["tensorboard"].startswith("lost: ")
    assert "tensorboard: mirror off, training goes on: " in capsys.readouterr().err
