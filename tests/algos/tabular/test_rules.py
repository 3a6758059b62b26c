"""What the rules owe to each other: special cases are identical, switches change something."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from prism.algos.core.agent import Spec
from prism.algos.tabular import policies
from prism.algos.tabular.agent import Tabular
from prism.algos.tabular.config import Behaviour, TabularConfig
from prism.benchmark.envs.textbook import maximisation_bias
from tests.tabular import Life, presets, random_mdp, spec_of

MODEL, SEEDS = random_mdp(2), (0, 1, 2)
SOFT = {"behaviour": Behaviour(start=0.3, end=0.3), "gamma": 0.9}


def learned(name: str, ticks: int = 250, **changes: Any) -> torch.Tensor:
    config = replace(presets()[name], **(SOFT | changes))
    return Life(config, MODEL, SEEDS, 500, horizon=20).live(ticks).agent.q()


@pytest.mark.parametrize(
    ("name", "changes", "same", "as_changes"),
    [
        ("expected_sarsa", {"target": "greedy"}, "q_learning", {}),
        ("n_step_sarsa", {"n_step": 1}, "sarsa", {}),
        ("sarsa_lambda", {"lambda_": 0.0}, "sarsa", {}),
        ("sarsa_lambda", {"lambda_": 0.0, "trace": "replacing"}, "sarsa", {}),
        ("dyna_q", {"planning_steps": 0}, "q_learning", {}),
        ("tree_backup", {"n_step": 3, "target": "greedy"}, "tree_backup", {"n_step": 3}),
        ("q_learning", {"values": "linear"}, "q_learning", {}),
        ("sarsa", {"values": "linear", "step_size": "visits"}, "sarsa", {"step_size": "visits"}),
        ("sarsa_lambda", {"values": "linear"}, "sarsa_lambda", {}),
        ("n_step_sarsa", {"values": "linear"}, "n_step_sarsa", {}),
        ("monte_carlo", {"values": "linear"}, "monte_carlo", {}),
    ],
)
def test_identical(
    name: str, changes: dict[str, Any], same: str, as_changes: dict[str, Any]
) -> None:
    ours, theirs = learned(name, **changes), learned(same, **as_changes)
    assert torch.equal(ours, theirs) and ours.abs().sum() > 0


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("n_step_sarsa", {"backup": "q_learning"}),
        ("n_step_sarsa", {"backup": "expected"}),
        ("n_step_importance", {"target": "uniform"}),
        ("tree_backup", {"target": "behaviour"}),
        ("expected_sarsa", {"target": "uniform"}),
        ("sarsa_lambda", {"trace": "replacing"}),
        ("sarsa_lambda", {"watkins": True}),
        ("monte_carlo", {"first_visit": True}),
        ("dyna_q", {"planning_bonus": 0.1}),
        ("dyna_q", {"planning_steps": 3}),
        ("sarsa", {"step_size": "visits"}),
        ("sarsa", {"q0": 1.0}),
        *(("sarsa", {"behaviour": Behaviour(kind)}) for kind in ("boltzmann", "uniform", "ucb")),
    ],
)
def test_every_switch_changes_something(name: str, changes: dict[str, Any]) -> None:
    assert not torch.equal(learned(name), learned(name, **changes))


def test_policies_by_hand() -> None:
    q, base = np.array([1.0, 3.0, 3.0, 0.0]), np.full(4, 0.25)
    assert policies.greedy(q).tolist() == [0.0, 0.5, 0.5, 0.0]
    assert policies.epsilon_greedy(q, base, 0.4) == pytest.approx([0.1, 0.4, 0.4, 0.1])
    soft = np.exp(q) / np.exp(q).sum()
    assert policies.boltzmann(q, 1.0) == pytest.approx(soft)
    assert policies.expectation(q, soft) == pytest.approx((q * soft).sum())
    bonus = policies.optimism(q, np.array([4.0, 1.0, 0.0, 2.0]), 2.0)
    assert bonus[0] == pytest.approx(1 + 2 * np.sqrt(np.log(8) / 4)) and bonus[2] == np.inf


def test_what_is_barred_counts_for_nothing() -> None:
    q, never = np.array([2.0, -np.inf]), np.zeros(2)
    assert policies.optimism(q, never, 1.0).tolist() == [np.inf, -np.inf]
    assert policies.expectation(q, np.array([1.0, 0.0])) == 2.0
    assert policies.boltzmann(q, 1.0).tolist() == [1.0, 0.0]


def test_samples_follow_the_policy() -> None:
    policy = np.array([0.2, 0.0, 0.5, 0.3])[:, None].repeat(100_000, 1)
    u = np.random.default_rng(0).random(100_000, np.float32)
    share = np.bincount(policies.sample(policy, u), minlength=4) / 100_000
    assert share == pytest.approx([0.2, 0.0, 0.5, 0.3], abs=0.006)
    ends = policies.sample(policy[:, :2], np.array([0.0, 1 - 2**-24], np.float32))
    assert ends.tolist() == [0, 3]


def test_illegal_actions_are_never_taken() -> None:
    model = maximisation_bias()
    for kind in ("epsilon_greedy", "uniform", "boltzmann", "ucb"):
        config = replace(presets()["q_learning"], behaviour=Behaviour(kind, start=1.0, end=1.0))
        life = Life(config, model, SEEDS, 500)
        for _ in range(100):
            step = life.tick()
            in_a = step.obs[..., 0] == 1
            assert (step.action[in_a] < 2).all()


@pytest.mark.parametrize("preset", ["sarsa", "q_learning"])
def test_glie_explores_in_every_state_by_its_own_visits(preset: str) -> None:
    """Singh et al. 2000: epsilon is c / n(s), so its sum over the visits of each state diverges."""
    behaviour = Behaviour(start=0.9, schedule="glie")
    life = Life(replace(presets()[preset], behaviour=behaviour, lanes=2), MODEL, SEEDS, 10_000)
    visits = np.zeros((len(SEEDS), MODEL.states))
    every = np.tile(np.arange(MODEL.states), (len(SEEDS), 1))
    for _ in range(200):
        np.testing.assert_array_equal(life.agent._level(every), 0.9 / (1 + visits))
        step = life.tick()
        for k, lane in product(range(len(SEEDS)), range(2)):
            visits[k, int(step.obs[k, lane].argmax())] += 1
    assert visits.sum() == len(SEEDS) * 400
    q = life.agent.rule.at(every)
    policy = life.agent._behaviour(q, every)
    epsilon = 0.9 / (1 + visits)
    expected = (1 - epsilon) * (q == q.max(0)) / (q == q.max(0)).sum(0) + epsilon / MODEL.actions
    np.testing.assert_allclose(policy, expected)


def test_glie_is_an_epsilon() -> None:
    with pytest.raises(ValueError, match=r"behaviour\.schedule=glie is an epsilon"):
        TabularConfig(behaviour=Behaviour("boltzmann", schedule="glie"))
    with pytest.raises(ValueError, match=r"behaviour\.start must be above 0 .*glie"):
        TabularConfig(behaviour=Behaviour(start=0.0, schedule="glie"))


def test_a_harmonic_schedule_reaches_greed() -> None:
    behaviour = Behaviour(start=1.0, schedule="harmonic", fraction=0.01)
    agent = Life(replace(presets()["sarsa"], behaviour=behaviour), MODEL, SEEDS, 10_000).agent
    levels = [agent.schedule(step) for step in (0, 100, 10**9)]
    assert levels[:2] == [1.0, 0.5] and levels[2] < 1e-6


def test_what_is_impossible_is_said_in_a_clause() -> None:
    continuous = Spec(spaces.Box(-1.0, 1.0, (4,)), spaces.Discrete(2), 10)
    assert "discrete observations" in str(Tabular.unsupported(TabularConfig(), continuous))
    pendulum = Spec(spaces.Box(-1.0, 1.0, (4,)), spaces.Box(-1.0, 1.0, (1,)), 10)
    assert "discrete actions" in str(Tabular.unsupported(TabularConfig(), pendulum))
    barred = spec_of(maximisation_bias(), 10)
    assert Tabular.unsupported(TabularConfig(), barred) is None
    assert "illegal" in str(Tabular.unsupported(TabularConfig(values="linear"), barred))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"rule": "qlearning"}, "rule must be one of"),
        ({"rule": "td"}, "rule=td needs predict=true"),
        ({"predict": True}, "predict=true needs a rule of td"),
        ({"behaviour": Behaviour("boltzmann", start=0.0)}, r"behaviour.start must be above 0"),
        ({"gamma": 1.5}, "gamma must be between 0 and 1"),
        ({"rule": "traces", "predict": True}, "needs behaviour.kind=uniform"),
    ],
)
def test_bad_settings_are_one_line(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        TabularConfig(**values)
    assert "\n" not in str(error.value)
