"""A run that cannot learn is refused, one that hardly does is noted; both before anything runs."""

from itertools import product
from pathlib import Path

import pytest
import torch
from gymnasium import spaces

from prism.algos.core.agent import Spec
from prism.algos.core.experience import Experience
from prism.analysis.load.data import load
from prism.analysis.report.tables import completeness_table
from prism.benchmark.launch.report import summary
from prism.benchmark.plan import learning
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import ledger, schema
from prism.benchmark.store.job import Sweep
from prism.benchmark.store.rows import read_rows
from prism.benchmark.util.errors import ConfigError
from tests.helpers import CPU, VECTOR, World, tiny
from tests.runs import finished, folders, job, status

CASES = {
    "learning_starts": (
        ["algo=dqn", "budget=8000", "algo.learning_starts=10000"],
        "algo.learning_starts=10000 must be below budget=8000",
    ),
    "at the end": (
        ["algo=dqn", "budget=8000", "algo.learning_starts=8000"],
        "algo.learning_starts=8000 must be below budget=8000",
    ),
    "rollout": (
        ["algo=ppo", "budget=400", "algo.rollout=128", "algo.lanes=4", "algo.batch_size=128"],
        "algo.rollout=128, with algo.lanes=4, is longer than budget=400",
    ),
    "train_every": (
        ["algo=dqn", "budget=90", "algo.learning_starts=0", "algo.train_every=100"],
        "algo.train_every=100 is longer than budget=90",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_what_can_never_learn_is_refused_in_one_line(case: str) -> None:
    words, says = CASES[case]
    with pytest.raises(ConfigError) as caught:
        sweep([*words, "env=cartpole", "tuned=false"])
    assert str(caught.value).endswith(f"it would never learn: {says}")
    assert "\n" not in str(caught.value)


def test_in_a_grid_it_is_skipped() -> None:
    plan = sweep(["algo=dqn,a2c", "env=cartpole", "tuned=false", "budget=8000"])
    assert [j.algo for j in plan.jobs] == ["a2c"]
    assert "algo.learning_starts" in plan.skipped[0]["reason"]


NOTED = {
    "few": (["algo.learning_starts=950", "algo.train_every=10"], "budget=1000 makes 6 updates"),
    "batch": (["algo.batch_size=64", "algo.buffer_size=32"], "algo.batch_size=64 is above"),
    "evaluation": (["evaluation.every=2000"], "evaluation.every=2000 is above budget=1000"),
}


@pytest.mark.parametrize("case", NOTED)
def test_what_hardly_learns_is_noted_in_one_line(case: str) -> None:
    words, says = NOTED[case]
    base = ["algo=dqn", "env=cartpole", "tuned=false", "budget=1000", "algo.learning_starts=100"]
    (note,) = sweep([*base, "algo.train_every=4", *words]).notes
    assert says in note and "\n" not in note
    assert not sweep([*base, "algo.train_every=4"]).notes


def test_a_warm_up_of_the_whole_budget_is_noted() -> None:
    plan = sweep(["algo=td3", "env=pendulum", "tuned=false", "budget=2000", "algo.warmup=2000"])
    assert any("algo.warmup=2000 is not below budget=2000" in note for note in plan.notes)


@pytest.mark.parametrize(
    ("starts", "every", "lanes"), list(product((0, 1, 40, 41), (1, 4, 12), (1, 3)))
)
def test_the_expected_updates_are_those_that_are_made(
    starts: int, every: int, lanes: int, tmp_path: Path
) -> None:
    """Against the agent's own count of what is due, tick by tick."""

    if every > lanes and every % lanes:
        pytest.skip("not a cadence")
    work = job(tmp_path, algo__learning_starts=starts, algo__train_every=every, algo__lanes=lanes)
    spec = work.spec.changed({"budget": 100})
    config = tiny(learning_starts=starts, train_every=every, lanes=lanes)
    experience = Experience(config, Spec(VECTOR, spaces.Discrete(2), 100), (0,), CPU, 64)
    world, made = World(VECTOR, (0,), lanes), 0
    while experience.steps < 100:
        experience.add(world.step(torch.zeros(1, lanes, dtype=torch.int64)))
        made += experience.due > 0
    assert learning.updates(spec) == made


def test_updates_are_counted(tmp_path: Path) -> None:
    work = finished(job(tmp_path / "a"))
    for k, folder in enumerate(folders(work)):
        counts = [row[schema.UPDATES] for row in read_rows(folder / "metrics.jsonl")
                  if schema.UPDATES in row]  # fmt: skip
        assert counts == sorted(counts) and counts[0] == 1
        assert counts[-1] == 71 == learning.updates(work.spec) == status(work, k)["updates"]
        rows = read_rows(folder / "metrics.jsonl")
        assert not any("updates_per_second" in row for row in rows)
        assert rows[-1][schema.REPLAY_RATIO] == pytest.approx(71 / 320)
        clock = [row for row in read_rows(folder / "timing.jsonl") if "updates_per_second" in row]
        assert len(clock) == len(counts) and all(row["updates_per_second"] > 0 for row in clock)
    idle = finished(job(tmp_path / "b", algo__learning_starts=1000))
    assert [status(idle, k)["updates"] for k in range(3)] == [0, 0, 0]


def test_what_never_learned_is_told(tmp_path: Path) -> None:
    study = tmp_path / "test"
    study.mkdir()
    jobs = [job(study, algo__learning_starts=1000), job(study, "a2c")]
    ledger.write_plan(Sweep("test", study, jobs=jobs))
    for work in jobs:
        finished(work)
    text = summary(study)
    assert text.startswith("test: 6 runs, 6 finished, 3 never learned\n")
    assert "3/3 (3 never learned)" in text
    data = load(study)
    assert "dqn on CartPole-v1: 3/3 never learned: no update" in data.notes
    rows = completeness_table(data).rows
    assert rows == [["dqn", "3/3, 3 never learned"], ["a2c", "3/3"]]
