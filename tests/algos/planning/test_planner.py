"""The planner: its fixed points, its seeds, its state, and what it refuses."""

from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from prism.algos.core.agent import Spec
from prism.algos.core.mdp import MDP, MODEL, from_arrays, tensors
from prism.algos.core.states import FACTORS
from prism.algos.formulas import dynamic_programming as dp
from prism.algos.planning.config import METHODS, PlanningConfig
from prism.algos.planning.planner import Planner
from prism.benchmark.envs.textbook import maximisation_bias
from prism.benchmark.store.checkpoint import take_seed
from tests.helpers import CPU, copied, equal
from tests.tabular import spec_of

S, A, GAMMA = 7, 3, 0.9


def spec(seed: int = 0) -> Spec:
    rng = np.random.default_rng(seed)
    model = from_arrays(
        rng.dirichlet(np.ones(S), (S, A)),
        rng.normal(size=(S, A, S)),
        np.full(S, 1 / S),
        np.arange(S) == S - 1,
    )
    return Spec(spaces.Box(0.0, 1.0, (S,)), spaces.Discrete(A), 1000, extras(model))


def extras(model: MDP) -> dict[str, Any]:
    return {FACTORS: (S,), MODEL: model}


def planner(
    method: str, seeds: tuple[int, ...] = (0,), task: Spec | None = None, **changes: Any
) -> Planner:
    config = PlanningConfig(**({"method": method, "gamma": GAMMA} | changes))
    return Planner(config, task or spec(), seeds, CPU)


def after(agent: Planner, sweeps: int) -> Planner:
    for _ in range(sweeps):
        agent.update()
    return agent


@pytest.mark.parametrize("method", METHODS)
def test_every_method_reaches_its_fixed_point(method: str) -> None:
    agent = after(planner(method), 600)
    model = tensors(agent.model, GAMMA)
    uniform = torch.full((S, A), 1 / A, dtype=torch.float64)
    exact = dp.evaluate(model, uniform) if method == "policy_evaluation" else dp.optimal(model)
    assert torch.allclose(agent.q[0], exact, atol=1e-10, rtol=0)
    assert agent.residuals[0] > 0.1 and agent.residuals[-1] < 1e-10


@pytest.mark.parametrize("method", METHODS)
def test_the_distance_to_the_exact_values_is_told(method: str) -> None:
    agent = planner(method, (0, 1))
    first = agent.update()["error/rms"]
    last = after(agent, 600).update()["error/rms"]
    assert first.shape == (2,) and (first > 0.1).all() and (last < 1e-10).all()
    assert "error/rms" not in planner("value_iteration", horizon=5).update()


@pytest.mark.parametrize("method", METHODS)
def test_an_illegal_action_is_no_action(method: str) -> None:
    """Equal to the process that has the one legal action in the place of the others."""
    best = after(planner("value_iteration"), 600).q[0, 0].argsort(descending=True)
    worse, barred = int(best[2]), int(best[0])
    whole: MDP = spec().extras[MODEL]
    legal = np.ones((S, A), bool)
    legal[0, [barred, int(best[1])]] = False
    twice = {}
    for name in ("probability", "successor", "reward", "terminal"):
        twice[name] = getattr(whole, name).copy()
        twice[name][0] = twice[name][0, worse]
    agents = []
    for model in (replace(whole, legal=legal), replace(whole, **twice)):
        agents.append(planner(method, task=replace(spec(), extras=extras(model))))
        after(agents[-1], 600)
    ours, theirs = agents
    assert torch.allclose(*(a.method.value(a.q) for a in agents), atol=1e-10, rtol=0)
    assert torch.allclose(ours.oracle.v, theirs.oracle.v, atol=1e-10, rtol=0)
    assert torch.stack(ours.residuals).isfinite().all() and ours.residuals[-1] < 1e-10
    fresh = Planner(ours.config, replace(spec(), extras=extras(ours.model)), (0,), CPU)
    for agent in (ours, fresh):
        assert int(agent.act(torch.eye(S)[None, :1], explore=False)[0]) == worse


def test_the_uniform_policy_is_uniform_over_legal_actions() -> None:
    """A's two legal actions lead to B, worth -.1, and to the end (S. and B., figure 6.5)."""
    task = spec_of(maximisation_bias(), 100)
    agent = after(planner("policy_evaluation", task=task, gamma=1.0), 10)
    assert agent.oracle.v is not None
    for v in (agent.oracle.v, agent.method.value(agent.q)[0]):
        assert v.tolist() == pytest.approx([-0.05, -0.1, 0.0])
    soft = dp.soft_maximum(agent.q[0], 0.1)
    assert soft.tolist() == pytest.approx([-0.005, -0.1, 0.0])


def test_value_iteration_in_its_two_forms_is_one() -> None:
    by_v, by_q = after(planner("value_iteration"), 11), after(planner("q_iteration"), 11)
    assert torch.equal(by_v.q, by_q.q)


def test_a_horizon_gives_the_values_with_so_many_steps_to_go() -> None:
    agent = after(planner("value_iteration", horizon=5), 40)
    expected = dp.finite_horizon(tensors(agent.model, GAMMA), 5)[5]
    assert torch.equal(agent.q[0].amax(-1), expected) and len(agent.residuals) == 5


def test_policy_iteration_needs_few_policies() -> None:
    agent, policies = planner("policy_iteration", tolerance=1e-8), []
    for _ in range(900):
        agent.update()
        policies.append(agent.method.policy.clone())
    changes = sum(not torch.equal(a, b) for a, b in pairwise(policies))
    assert 1 <= changes <= 6


@pytest.mark.parametrize("method", METHODS)
def test_all_seeds_compute_the_same_and_go_on_from_a_state(method: str) -> None:
    together, alone = planner(method, (3, 11, 42)), planner(method, (11,))
    for _ in range(30):
        ours, theirs = together.update(), alone.update()
        equal({name: x[1:2] for name, x in ours.items()}, theirs)
    equal(take_seed(together.state(), 1), alone.state())
    again = planner(method, (3, 11, 42))
    again.load(copied(together.state()))
    after(together, 10), after(again, 10)
    equal(together.state(), again.state())


def test_weights_alone_act() -> None:
    agent, other = after(planner("value_iteration"), 200), planner("value_iteration")
    other.load({"policy": agent.state()["policy"]})
    obs = torch.eye(S)[None]
    assert torch.equal(agent.act(obs, explore=False)[0], other.act(obs, explore=False)[0])
    assert torch.equal(agent.act(obs)[1]["value"], agent.q.amax(-1))


def test_consumed_counts_backups_to_the_end_of_the_budget() -> None:
    agent = planner("value_iteration", (0, 1))
    assert agent.update()["consumed"].tolist() == [S, S]
    agent.spent = 1000 - 3
    assert agent.update()["consumed"].tolist() == [3, 3]


def test_what_is_missing_is_said_in_a_clause() -> None:
    whole, config = spec(), PlanningConfig()
    assert Planner.unsupported(config, whole) is None
    continuous = Spec(spaces.Box(-1.0, 1.0, (4,)), spaces.Discrete(2), 10)
    assert "discrete observations" in str(Planner.unsupported(config, continuous))
    no_model = Spec(whole.obs_space, whole.action_space, 10, {FACTORS: (S,)})
    assert "needs a model" in str(Planner.unsupported(config, no_model))
