"""What a plan will cost, from what runs have cost."""

import json
import time
from dataclasses import replace
from pathlib import Path

import pytest

from prism.benchmark.launch import cost, price
from prism.benchmark.launch.cost import START, Cost
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import ledger, records, schema
from prism.benchmark.store.job import Job
from prism.benchmark.train.runner import run_job

EVERY = ("evaluation.every=100", "log_every=50")


def job(results: Path, *more: str) -> Job:
    words = ("algo=dqn", "env=cartpole", "budget=1000", *EVERY, f"results={results}")
    learns = () if any(w.startswith("algo=") for w in more) else ("algo.learning_starts=40",)
    (found,) = sweep((*words, *learns, *more)).jobs
    return found


def ran(work: Job, of: Cost) -> Job:
    """Leave what a finished job leaves that cost this much."""
    budget, every = work.spec.budget, work.spec.evaluation.every
    for k, run in enumerate(work.run_ids):
        folder = records.run_dir(work, run)
        records.write_json(folder / "run.json", records.run_record(work, k))
        rows, times, spent = [], [], of.start
        for step in range(50, budget + 1, 50):
            row = {schema.STEP: step, "loss": 1.0}
            spent += 50 * of.step
            if step % every == 0:
                row[schema.EVAL_RETURN] = 2.0
                spent += of.evaluation
            spent += of.final if step == budget else 0.0
            rows.append(json.dumps(row) + "\n")
            times.append(json.dumps({schema.STEP: step, "cpu": spent, "wall": 3 * spent}) + "\n")
        (folder / "metrics.jsonl").write_text("".join(rows))
        (folder / "timing.jsonl").write_text("".join(times))
        (folder / "weights.pt").write_bytes(b"x" * 200_000)
        done = {"state": schema.FINISHED, "size": (folder / "metrics.jsonl").stat().st_size}
        records.write_json(folder / "status.json", ledger.status_of(work, None) | done)
    return work


TEN = Cost(start=-0.5, step=0.02, evaluation=0.3, final=2.0, busy=1.0, disk=0.0)


def test_what_a_run_left_tells_what_its_parts_cost(tmp_path):
    work = ran(job(tmp_path), TEN)
    found = cost.fitted(records.run_dir(work, work.run_ids[0]))
    assert found is not None and 200_000 < found.disk < 210_000
    for name in ("start", "step", "evaluation", "final"):
        assert getattr(found, name) == pytest.approx(getattr(TEN, name))
    assert found.seconds(work.spec) == pytest.approx(START - 0.5 + 20 + 10 * 0.3 + 2)


def test_the_same_costs_the_same_and_more_is_made_of_more_parts(tmp_path):
    ran(job(tmp_path, "seed=range(0,10)"), TEN)
    for words, seconds in (
        (("seed=range(20,30)",), 20 + 3.0),
        (("seed=range(20,30)", "budget=5000"), 100 + 15.0),
        (("seed=range(20,30)", "evaluation.every=0", "name=another"), 20.0),
        (("seed=range(20,30)", "evaluation.every=500"), 20 + 0.6),
    ):
        found = price.of([job(tmp_path, *words)], tmp_path, slots=2)
        assert found.cpu == pytest.approx(START - 0.5 + seconds + 2.0)
        assert found.wall == pytest.approx(found.cpu + price.LAUNCH)
        assert (found.past, found.trials, found.guessed) == (1, 0, 0)
    ten = price.of([job(tmp_path, "seed=range(20,30)")], tmp_path, slots=2)
    assert 2.0e6 < ten.disk < 2.1e6
    assert "0:00:27 with 2 jobs at once, 0.0069 CPU hours, 2.1 MB (jobs: 1 from past" in str(ten)


def test_between_two_numbers_of_seeds_it_is_between_their_costs(tmp_path):
    ran(job(tmp_path, "seed=range(30,32)"), TEN)
    ran(job(tmp_path, "seed=range(0,10)"), replace(TEN, step=0.06))
    past = price._Past(tmp_path, {"dqn"})
    found = past.cost(job(tmp_path, "seed=range(20,24)"))
    assert found is not None and found.step == pytest.approx(0.03)
    assert past.cost(job(tmp_path, "seed=range(20,40)")) is None  # a trial tells more


@pytest.mark.parametrize("broken", ["{", "[1]", "3", '{"pack": {}}'])
@pytest.mark.parametrize("file", ["run.json", "status.json"])
def test_a_broken_neighbour_is_passed_over(tmp_path, file, broken):
    ran(job(tmp_path, "seed=range(0,10)"), TEN)
    ran(job(tmp_path, "seed=range(20,30)", "name=broken"), replace(TEN, step=9.0))
    for folder in (tmp_path / "broken" / "runs").iterdir():
        (folder / file).write_text(broken)
    found = price.of([job(tmp_path, "seed=range(40,50)")], tmp_path, slots=2)
    assert found.past == 1
    assert found.cpu == pytest.approx(START - 0.5 + 23.0 + 2.0)


def test_several_processes_are_told_by_the_clock_and_take_as_many_slots(tmp_path):
    own = ("algo=a3c", "seed=0", "algo.cpus=2")
    ran(job(tmp_path, *own), TEN)
    found = price.of([job(tmp_path, *own, "name=new")], tmp_path, slots=4)
    assert found.wall - price.LAUNCH == pytest.approx(START + 3 * (23 + 2.0 - 0.5))
    assert found.cpu == pytest.approx(2 * (found.wall - price.LAUNCH))


def test_what_never_ran_is_tried_or_guessed(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(cost, "TRIAL", 0.02)
    monkeypatch.setattr(price, "_TRIALS", 1)
    small = ("algo.learning_starts=20", "algo.train_every=4", "algo.hidden=[8]")
    small += ("evaluation.episodes=1",)
    jobs = [job(tmp_path, *small), job(tmp_path, *small, "algo=c51")]
    found = price.of(jobs, tmp_path, slots=1)
    assert (found.past, found.trials, found.guessed) == (0, 1, 1)
    told = "measuring 1 of 1: DQN, learning_starts=20, train_every=4, hidden=[8] on cartpole\n"
    assert capsys.readouterr().err == told
    assert 0.01 < found.cpu < 60 and found.wall == pytest.approx(found.cpu + price.LAUNCH)
    assert list(tmp_path.iterdir()) == []
    assert price._clock(3661) == "1:01:01"


def test_variants_of_an_algorithm_on_an_environment_are_measured_once(tmp_path, monkeypatch):
    tried: list[Job] = []
    monkeypatch.setattr(cost, "tried", lambda job: tried.append(job) or TEN)
    words = ["algo=rainbow,dqn", "env=acrobot,cartpole", "components=preset,leave_one_out"]
    jobs = sweep((*words, "seed=0,1", "seeds_per_job=2", f"results={tmp_path}")).jobs
    alone = sweep(("algo=dqn", "env=acrobot", "seed=0", f"results={tmp_path}")).jobs
    found = price.of([*jobs, *alone], tmp_path, slots=1)
    assert len(tried) == len({(job.algo, job.env) for job in jobs}) == 4
    assert (found.trials, found.guessed) == (len(jobs) + 1, 0)
    scaled = price._for_seeds(TEN, 10, 1)
    share = 1 + 9 * price.SEED_SHARE
    assert scaled.step * share == pytest.approx(TEN.step) and scaled.busy == TEN.busy


def test_a_trial_takes_its_time_and_no_more(tmp_path, monkeypatch):
    """Neither the steps before learning nor evaluations, each of minutes, make it longer."""
    monkeypatch.setattr(cost, "TRIAL", 0.6)
    words = ("evaluation.episodes=300", "evaluation.periodic_episodes=300", "budget=1000000")
    work = job(tmp_path, *words, "env=minatar_breakout", "algo.learning_starts=400000")
    clock, ends = time.process_time, []
    real = cost._evaluation

    def timed(*args):
        ends.append(clock())
        return real(*args)

    monkeypatch.setattr(cost, "_evaluation", timed)
    began = clock()
    found = cost.tried(work)
    assert clock() - ends[0] < 1.0 and ends[0] - began < 4.0
    assert found.seconds(work.spec) > 100 and found.final > 0.1


def test_the_steps_before_learning_cost_less(tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "TRIAL", 1.0)
    words = ("algo.hidden=[256,256]", "budget=20000", "evaluation.episodes=1")
    soon, late = (
        cost.tried(job(tmp_path, *words, f"algo.learning_starts={starts}", "algo.train_every=1"))
        for starts in (200, 9000)
    )
    assert late.step == pytest.approx(soon.step, rel=0.5)
    assert late.start < -0.4 * 9000 * late.step


@pytest.mark.parametrize(
    "words", [("algo.train_every=4",), ("algo=policy_iteration", "env=frozenlake")]
)
def test_a_trial_may_be_over_before_its_time(words, tmp_path, monkeypatch):
    monkeypatch.setattr(cost, "TRIAL", 1000.0)
    found = cost.tried(job(tmp_path, *words, "budget=60", "evaluation.episodes=1"))
    assert found.step > 0 and found.disk > 0


def test_jobs_fill_the_slots_in_their_order():
    def wall(*jobs: tuple[float, int], slots: int = 2) -> float:
        return price._schedule(jobs, slots) - price.LAUNCH

    assert wall((3, 1), (1, 1), (1, 1), (1, 1)) == 3
    assert wall((1, 1), (1, 1), (1, 1), (3, 1)) == 4
    assert wall((2, 1), (2, 1), (2, 1)) == 4
    assert wall((2, 1), (2, 2), (1, 1)) == 5  # the second waits for both slots
    assert wall((2, 5), (1, 1), slots=2) == 3  # one beyond all slots runs alone
    assert str(price.of([], Path("nowhere"), 2)) == "price: nothing is left to do"


@pytest.mark.slow
def test_a_real_sweep_costs_what_was_said(tmp_path):
    """CPU time and disk within a quarter; the clock depends on what else the machine does."""
    words = ("algo=dqn,c51,ppo", "env=mountaincar,acrobot", "tracking=disabled", "budget=8000")
    first = sweep((*words, "seed=range(0,4)", f"results={tmp_path / 'one'}", "name=first"))
    said = price.of(first.jobs, tmp_path / "one", slots=1)
    assert said.trials == 6
    spent, size = _really(first.jobs)
    assert said.cpu == pytest.approx(spent, rel=0.25)
    assert said.disk == pytest.approx(size, rel=0.25)
    more = sweep((*words, "seed=range(4,8)", f"results={tmp_path / 'one'}", "name=second"))
    said = price.of(more.jobs, tmp_path / "one", slots=1)
    assert said.past == 6
    spent, size = _really(more.jobs)
    assert said.cpu == pytest.approx(spent, rel=0.25)
    assert said.disk == pytest.approx(size, rel=0.1)


def _really(jobs: list[Job]) -> tuple[float, float]:
    """Return the CPU seconds and bytes of jobs, run one after another in this process."""
    began = time.process_time()
    for work in jobs:
        ledger.prepare(work)
        run_job(work)
    spent = time.process_time() - began
    folders = [records.run_dir(work, run) for work in jobs for run in work.run_ids]
    return spent, sum(p.stat().st_size for f in folders for p in f.rglob("*") if p.is_file())
