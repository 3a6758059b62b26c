"""The planner: its fixed points, its seeds, its state, and what it refuses."""

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
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
from prism.algos.planning.methods import PolicyIteration
from prism.algos.planning.planner import Planner
from prism.analysis.api import load
from prism.benchmark.cli.main import main
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
    agent, policies = planner("policy_iteration"), []
    for _ in range(9):
        agent.update()
        policies.append(agent.method.policy.clone())
    changes = sum(not torch.equal(a, b) for a, b in pairwise(policies))
    assert 1 <= changes <= 6


def test_the_end_says_whether_values_have_converged() -> None:
    for method in METHODS:
        agent = planner(method, (0, 1))
        assert agent.update()["plan/converged"].tolist() == [0, 0]
        moved = float(agent.residuals[-1][0])
        what = f"moved a value by {moved:.3g}"
        if method == "policy_iteration":
            what = "improved the policy"
        assert agent.remarks() == [f"not converged: the last sweep of the budget {what}"] * 2
        assert after(agent, 600).update()["plan/converged"].tolist() == [1, 1]
        assert agent.remarks() == [None, None]
    short, whole = (after(planner("value_iteration", horizon=5), n) for n in (4, 5))
    assert not short.converged.any() and whole.converged.all()


def test_policy_iteration_has_converged_once_its_policy_is_stable() -> None:
    """The uniform policy's values are the 0 that they were before; its actions are not alike."""
    one = from_arrays(
        np.array([[[0.0, 1.0]] * 2] * 2),
        np.array([[1.0, -1.0], [0.0, 0.0]]),
        np.array([1.0, 0.0]),
        np.array([False, True]),
    )
    agent = planner("policy_iteration", task=spec_of(one, 100))
    first = agent.update()
    assert first["loss/residual"].tolist() == first["plan/converged"].tolist() == [0]
    assert agent.remarks() == ["not converged: the last sweep of the budget improved the policy"]
    assert agent.update()["plan/converged"].tolist() == [1]
    assert agent.method.value(agent.q).tolist() == [[1, 0]]


@pytest.mark.parametrize("method", METHODS)
def test_a_terminal_state_needs_no_legal_action(method: str) -> None:
    whole: MDP = spec().extras[MODEL]
    legal = np.ones((S, A), bool)
    legal[S - 1] = False
    barred = replace(whole, start=np.append(np.full(S - 1, 1 / (S - 1)), 0.0), legal=legal)
    open_ = replace(barred, legal=None)
    ours, theirs = (
        after(planner(method, task=replace(spec(), extras=extras(m))), 50) for m in (barred, open_)
    )
    assert ours.q.isfinite().all() and torch.equal(ours.q, theirs.q)
    assert torch.equal(ours.oracle.v, theirs.oracle.v)
    assert barred.legal is not None and barred.legal.all()


def test_values_that_are_not_finite_end_value_iteration_at_once() -> None:
    model = tensors(spec().extras[MODEL], GAMMA)
    broken = model._replace(r=torch.full_like(model.r, torch.nan))
    with pytest.raises(ArithmeticError, match="not finite"):
        dp.optimal(broken)


def test_a_horizon_of_policy_iteration_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon has no meaning with method=policy_iteration"):
        PlanningConfig(method="policy_iteration", horizon=5)


def line(pays: Sequence[Sequence[float]], ends: bool = True) -> MDP:
    """Return two states with the actions stay, go: from the first to the second, then to an end."""
    to = np.zeros((3, 2, 3))
    to[[0, 1, 2], 0, [0, 1, 2]] = to[[0, 1, 2], 1, [1, 2, 2]] = 1
    reward = np.array([*pays, [0.0, 0.0]])
    return from_arrays(to, reward, np.eye(3)[0], np.array([False, False, ends]))


def test_a_policy_that_never_ends_has_no_finite_value_where_something_is_paid() -> None:
    stay = torch.eye(2, dtype=torch.float64)[[0, 0, 0]]
    go = torch.eye(2, dtype=torch.float64)[[1, 1, 1]]
    for pay in (-1.0, 1.0):
        model = tensors(line([[pay, pay], [pay, pay]]), 1.0)
        with pytest.raises(ArithmeticError, match="never ends"):
            dp.evaluate(model, stay)
        assert dp.evaluate(model, go)[:, 1].tolist() == [2 * pay, pay, 0]
    free = tensors(line([[0.0, -1.0], [0.0, 5.0]]), 1.0)
    assert dp.evaluate(free, stay).tolist() == [[0, -1], [0, 5], [0, 0]]
    endless = tensors(line([[0.0, -1.0], [0.0, 5.0]], ends=False), 1.0)
    assert dp.evaluate(endless, go)[:2].tolist() == [[4, 4], [5, 5]]


def test_undiscounted_policy_iteration_ends_or_says_that_a_loop_pays() -> None:
    for pays, best in (([[-1.0, -1.0], [-1.0, -1.0]], [-2, -1]), ([[0.0, -1.0], [0, 5.0]], [4, 5])):
        task = spec_of(line(pays), 100)
        agent = after(planner("policy_iteration", task=task, gamma=1.0), 9)
        assert agent.converged.all() and agent.q[0].amax(-1).tolist() == [*best, 0]
    model = line([[1.0, 0.0], [0.0, 0.0]])
    method = PolicyIteration(tensors(model, 1.0), 1, torch.as_tensor(model.uniform))
    q = method.sweep(torch.zeros(1, 3, 2, dtype=torch.float64))[0]
    with pytest.raises(ArithmeticError, match="never ends"):
        method.sweep(q)


@pytest.mark.parametrize("method", METHODS[:3])
def test_undiscounted_greed_gets_to_the_end(method: str) -> None:
    """To stay costs nothing, and of two best actions the first goes round in a circle."""
    task = spec_of(line([[0.0, 0.0], [0.0, 1.0]]), 100)
    agent = after(planner(method, (0, 1), task=task, gamma=1.0), 9)
    assert agent.q[0, 0].tolist() == [1, 1]
    action, memo = agent.act(torch.eye(3)[None, :2].expand(2, -1, -1), explore=False)
    assert action.tolist() == [[1, 1], [1, 1]] and memo["value"].tolist() == [[1, 1], [1, 1]]


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
    masked = replace(whole, legal=A)
    assert "does not say which actions are legal" in str(Planner.unsupported(config, masked))


def test_a_run_that_has_not_converged_says_so_wherever_it_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["algo=policy_evaluation,policy_iteration", "env=cliffwalking", "budget=960"]
    words += ["seed=0,1", "evaluation.every=0", "evaluation.episodes=1", "tracking=disabled"]
    assert main([*words, "name=two", "hydra/launcher=inline", "algo.gamma=1.0"]) == 0
    says = r"Policy evaluation.* on cliffwalking, 2 runs: not converged: the last sweep"
    assert re.search(f"finished: {says}", capsys.readouterr().out)
    data = load("results/two").data
    (note,) = [note for note in data.notes if "not converged" in note]
    assert re.match(says, note)
    scored = data.scored.set_index("algo")
    assert (scored.final["policy_iteration"] == -13).all()
    assert (scored.reason["policy_iteration"] == "").all()
    assert scored.reason["policy_evaluation"].str.startswith("not converged").all()
