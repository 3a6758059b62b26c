"""Asynchronous workers: they learn, count their steps, and end with their agent."""

import gc
import os
import time
from typing import Any

import pytest
import torch
from gymnasium import spaces

from prism.algos.core.agent import Spec
from prism.algos.policy_gradient.a3c import A3C, _Crew, _Worker
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_spec
from tests.algos.policy_gradient.agents import config
from tests.helpers import CPU, VECTOR, copied, equal


def agent(budget: int = 4000, probe: str = "Identity", **changes: Any) -> A3C:
    env = EnvConfig(name=probe, id=f"Prism/{probe}-v0")
    settings = config("a3c", **({"hidden": [16], "report_every": 400, "gamma": 0.5} | changes))
    return A3C(settings, make_spec(env, budget), [3], CPU)


def test_two_workers_learn_the_identity_and_the_budget_is_kept() -> None:
    learner, consumed = agent(6000, lr=5e-3, report_every=2000), 0
    before = learner.shared[0].clone()
    pids = set()
    while consumed < 6000:
        metrics = learner.update()
        consumed += int(metrics["consumed"])
        assert float(metrics["train/length"]) == 10
        pids |= {p.pid for p in learner._crew.processes}  # type: ignore[union-attr]
        assert all(x.shape == (1,) and x.isfinite().all() for x in metrics.values())
        assert torch.equal(learner.a2c.learner.params, learner.shared[0])
    assert consumed == 6000 and len(pids) == 2 and os.getpid() not in pids
    assert not torch.equal(learner.shared[0], before)
    states = torch.eye(2)[None]
    assert torch.equal(learner.act(states, explore=False)[0], torch.arange(2)[None])


def test_workers_take_part_pause_and_end_with_their_agent() -> None:
    learner = agent(report_every=1000)
    learner.update()
    crew = learner._crew
    assert crew is not None
    assert (crew.counts > 0).all()  # both have lived
    still = learner.shared[0].clone()
    state = copied(learner.state())
    time.sleep(0.2)  # nothing happens between two updates
    assert torch.equal(learner.shared[0], still)
    equal(copied(learner.state()), state)
    processes = crew.processes
    del crew, learner
    gc.collect()
    for process in processes:
        process.join(10)
        assert process.exitcode == 0


@pytest.mark.slow
def test_a_state_goes_on_where_it_was() -> None:
    first, second = agent(), agent()
    first.update()
    second.load(copied(first.state()))
    equal(copied(second.state()), copied(first.state()))
    assert second.steps == first.steps >= 400
    second.update()
    assert second.started == 2 and not torch.equal(second.shared[0], first.shared[0])
    only = agent()
    only.load({"policy": copied(first.state()["policy"])})
    states = torch.eye(2)[None]
    a, b = first.act(states, explore=False), only.act(states, explore=False)
    assert torch.equal(a[1]["value"], b[1]["value"])


def test_a_worker_that_did_nothing_counts_nothing() -> None:
    """One of them may be too slow for a single step between two pauses."""

    class Crew:
        def advance(self, *goals: int) -> list[dict[str, Any]]:
            idle = dict.fromkeys(("steps", "updates", "episodes", "return", "length"), 0)
            busy = {"steps": 400, "updates": 80, "episodes": 2, "return": 10.0, "length": 8}
            return [idle, busy | {"loss/value": 40.0}]

    learner = agent()
    learner._crew = Crew()  # type: ignore[assignment]
    metrics = {name: float(x) for name, x in learner.update().items()}
    assert metrics == {"loss/value": 0.5, "train/return": 5, "train/length": 4, "consumed": 400}


def test_a_worker_that_breaks_says_so_in_one_line() -> None:
    with pytest.raises(RuntimeError, match=r"worker \d: RuntimeError: broke at step 3"):
        agent(probe="Raises").update()


@pytest.mark.slow
def test_a_worker_that_is_killed_is_missed() -> None:
    learner = agent()
    learner.update()
    assert isinstance(learner._crew, _Crew)
    learner._crew.processes[0].kill()
    learner._crew.processes[0].join()
    with pytest.raises(RuntimeError, match="worker 0 ended with exit code -9"):
        learner.update()


def test_a_workers_step_is_that_of_the_optimiser() -> None:
    learner = agent(workers=1)
    shared = (learner.shared[0].clone(), learner.shared[1].clone())
    worker = _Worker(learner.config, learner.spec, (3, 1, 0), shared, torch.zeros(1).long())
    worker.advance(0, 1, 4000)
    own = worker.a2c.learner
    assert not torch.equal(shared[0], own.params) and torch.equal(own.params, learner.shared[0])
    own.optimizer.max_norm = None  # they are clipped already
    own.optimizer.step()
    assert torch.equal(own.params, shared[0])
    assert torch.equal(own.optimizer.memory["square_avg"].flatten(0, 1), shared[1])


def test_a_truncation_bootstraps() -> None:
    learner = agent(
        6000,
        "ConstantTruncated",
        gamma=0.9,
        lr=5e-3,
        entropy=0.0,
        grad_clip=None,
        report_every=6000,
    )
    learner.update()
    value = learner.act(torch.ones(1, 1, 1), explore=False)[1]["value"]
    assert float(value) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("lanes", 4, "lanes must be 1"),
        ("workers", 0, "workers must be at least 1"),
        ("optimizer", "adam", "rmsprop_uncentred"),
        ("normalize_obs", True, "statistics of one process"),
    ],
)
def test_mistakes_name_their_key(key: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        config("a3c", **{key: value})


def test_it_is_one_seed_and_says_so() -> None:
    assert A3C.max_seeds == 1 and not A3C.interacts
    spec = Spec(VECTOR, spaces.MultiBinary(2), 10)
    assert "no distribution" in str(A3C.unsupported(config("a3c"), spec))
