"""Environments whose runs do not follow from their seeds are named before anything runs."""

from pathlib import Path

import gymnasium
import pytest

from prism.benchmark.envs.reproducible import irreproducible
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store.records import run_record

BROKEN = ("env=gym", "env.imports=tests.envs.broken", "env.ends=true", "budget=100")


def plan(results: Path, *words: str):
    return sweep(("algo=reinforce", f"results={results}", *words))


def test_an_environment_without_a_seed_is_named_in_plan_and_record(tmp_path) -> None:
    planned = plan(tmp_path, *BROKEN, "env.id=Broken/Unseeded-v0")
    (note,) = [line for line in planned.notes if line.startswith("not reproducible")]
    assert "Broken/Unseeded-v0: two episodes of one seed" in note
    assert run_record(planned.jobs[0], 0)["irreproducible"] == note


def test_one_that_repeats_is_not(tmp_path) -> None:
    planned = plan(tmp_path, *BROKEN, "env.id=Broken/Sound-v0")
    assert not [line for line in planned.notes if line.startswith("not reproducible")]
    assert run_record(planned.jobs[0], 0)["irreproducible"] is None
    assert irreproducible(plan(tmp_path, "env=cartpole").jobs[0].spec.record["env"]) is None


def test_one_that_says_so_is_believed(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    planned = plan(tmp_path, *BROKEN, "env.id=Broken/Sound-v0", "env.horizon=7")
    monkeypatch.setattr(gymnasium.registry["Broken/Sound-v0"], "nondeterministic", True)
    reason = irreproducible(planned.jobs[0].spec.record["env"] | {"name": "other"})
    assert reason is not None and reason.endswith("is registered as nondeterministic")
