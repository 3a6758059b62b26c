"""What a plan will cost, from what runs have cost."""

from pathlib import Path

import pytest

from benchmark import schema, store
from benchmark.grid import sweep
from benchmark.job import Job
from benchmark.launch import price


def job(results: Path, *more: str) -> Job:
    (found,) = sweep(("algo=dqn", "env=cartpole", "budget=1000", f"results={results}", *more)).jobs
    return found


def ran(work: Job, cpu: float) -> Job:
    """Leave what a finished job leaves that took ``cpu`` seconds."""
    for k, run in enumerate(work.run_ids):
        folder = store.run_dir(work, run)
        store.write_json(folder / "run.json", store.run_record(work, k))
        store.write_json(folder / "status.json", {"state": schema.FINISHED})
        steps = work.config["budget"]
        (folder / "timing.jsonl").write_text(
            f'{{"global_step":1,"cpu":0}}\n{{"global_step":{steps},"cpu":{cpu}}}\n'
        )
        (folder / "metrics.jsonl").write_bytes(b"x" * 200_000)
    return work


def test_the_same_costs_the_same_and_more_costs_in_proportion(tmp_path):
    ran(job(tmp_path, "seed=range(0,10)"), cpu=20.0)
    for words, seconds in (
        (("seed=range(20,30)",), 20.0),
        (("seed=range(0,10)", "budget=5000"), 100.0),
        (("seed=0", "name=another"), 20.0 / (1 + 9 * price.SEED_SHARE)),
    ):
        found = price.of([job(tmp_path, *words)], tmp_path, slots=2)
        assert found.cpu == pytest.approx(seconds + price.START)
        assert (found.past, found.tried, found.guessed) == (1, 0, 0)
    ten = price.of([job(tmp_path, "seed=range(20,30)")], tmp_path, slots=2)
    assert 2.0e6 < ten.disk < 2.2e6
    assert "0:00:20 with 2 jobs at once, 0.01 CPU hours, 2.0 MB (1 jobs from past" in str(ten)


def test_what_never_ran_is_tried_or_guessed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(price, "TRIAL", 0.02)
    monkeypatch.setattr(price, "_TRIALS", 1)
    small = ("algo.learning_starts=20", "algo.hidden=[8]", "evaluation.episodes=1")
    jobs = [job(tmp_path, *small, f"algo.gamma={gamma}") for gamma in (0.9, 0.8)]
    found = price.of(jobs, tmp_path, slots=1)
    assert (found.past, found.tried, found.guessed) == (0, 1, 1)
    assert 0.01 < found.cpu < 60 and found.wall == pytest.approx(found.cpu)
    assert list(tmp_path.iterdir()) == []
    assert price._clock(3661) == "1:01:01"


def test_jobs_fill_the_slots_the_longest_first():
    assert price._schedule([1, 1, 1, 3], 2) == 3
    assert price._schedule([2, 2, 2], 2) == 4
    assert str(price.of([], Path("nowhere"), 2)) == "price: nothing is left to do"
