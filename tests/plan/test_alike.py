"""Labels of one grid differ in their components, or the plan says in what else."""

import pytest

from prism.benchmark.plan.grid import sweep
from prism.benchmark.plan.places import FOLDERS_VARIABLE

ALIKE = [
    ("algo=dqn,double_dqn,dueling_dqn,c51,rainbow", "env=minatar_breakout,cartpole,acrobot"),
    ("algo=per_dqn,dqn,nstep_dqn", "env=acrobot"),  # alpha is what a preset itself states
    ("algo=rainbow", "env=acrobot", "components=preset,leave_one_out,none,-replay"),
    ("algo=dqn", "env=acrobot", "algo.lr=1e-3,1e-4", "algo.exploration.end=0.1,0.2"),
    ("algo=dqn", "env=acrobot", "budget=1000,2000"),
    ("algo=ppo,sac", "env=pendulum", "budget=1000"),
    ("algo=dqn,qrdqn", "env=acrobot", "tuned=false"),
]


@pytest.mark.parametrize("words", ALIKE, ids=" ".join)
def test_components_and_what_labels_tell_need_no_note(words: tuple[str, ...]) -> None:
    assert sweep(words).notes == []


def test_a_file_of_one_alone_is_told_in_one_line() -> None:
    (note,) = sweep(("algo=dqn,c51,qrdqn", "env=acrobot,cartpole")).notes
    assert note.startswith(
        "on acrobot, QR-DQN and DQN differ in more than their components: batch_size, exploration"
    )
    assert " lr" in note and " name" not in note and " value" not in note


def test_budgets_that_differ_are_told() -> None:
    (note,) = sweep(("algo=ppo,sac", "env=pendulum")).notes
    told = "the budgets differ (PPO: 100,000; SAC: 20,000); budget=<steps> makes them equal"
    assert note == f"on pendulum {told}"


def test_an_own_file_comes_before_the_familys(tmp_path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    (tmp_path / "tuned").mkdir()
    for name, every in (("rainbow_taxi", 1), ("dqn_family_taxi", 3)):
        text = f"# @package _global_\nalgo: {{train_every: {every}}}\n"
        (tmp_path / "tuned" / f"{name}.yaml").write_text(text)
    monkeypatch.setenv(FOLDERS_VARIABLE, str(tmp_path))
    plan = sweep(("algo=dqn,double_q,rainbow,ppo", "env=taxi"))
    files = ["dqn_family_taxi", "dqn_family_taxi", "rainbow_taxi", None]
    assert [job.tuned for job in plan.jobs] == files
    told = "Rainbow and DQN differ in more than their components: train_every"
    assert plan.notes == [f"on taxi, {told}"]
