"""Every learner converges to its own exact fixed point, which dynamic programming gives.

Steps of 1/N (twice that, so that the start is forgotten at a rate of 1/N too), fixed seeds: the
mean error over the seeds is within three standard errors and 0.01 at every entry.
"""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from prism.algos.core.mdp import tensors
from prism.algos.formulas import dynamic_programming as dp
from prism.algos.tabular.config import Behaviour, TabularConfig
from tests.tabular import Life, presets, random_mdp

K, GAMMA, EPSILON = 64, 0.5, 0.3
STATES = 4  # of which the last is terminal
WORLD, SURE = random_mdp(3, STATES), random_mdp(4, STATES, sure=True)
APART = random_mdp(38, STATES)  # where n-step Q-learning goes somewhere of its own


def optimal(epsilon: float = 0.0, world: Any = WORLD) -> Tensor:
    return dp.optimal(tensors(world, GAMMA), epsilon)


def uniform() -> Tensor:
    model = tensors(WORLD, GAMMA)
    policy = torch.full_like(model.p[..., 0], 0.5)
    return dp.expected(dp.evaluate(model, policy), policy)[:, None]


def uncorrected(n: int, world: Any) -> Tensor:
    """The fixed point of n-step Q-learning under a fixed epsilon: n - 1 steps of it, one of max."""
    model = tensors(world, GAMMA)
    q = torch.zeros_like(model.p[..., 0])
    for _ in range(200):
        policy, q = dp.soft(q, EPSILON), dp.backup(q.amax(-1), model)
        for _ in range(n - 1):
            q = dp.backup(dp.expected(q, policy), model)
    return q


SOFT = {"behaviour": Behaviour(start=EPSILON, end=EPSILON)}
CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "q_learning": (SOFT, optimal),
    "double_q_learning": (SOFT, optimal),
    "sarsa": (SOFT, lambda: optimal(EPSILON)),
    "expected_sarsa": (SOFT, lambda: optimal(EPSILON)),
    "n_step_sarsa": (SOFT | {"n_step": 3}, lambda: optimal(EPSILON)),
    "n_step_q": (SOFT | {"n_step": 2}, lambda: uncorrected(2, APART)),
    "n_step_importance": (SOFT | {"n_step": 2}, optimal),
    "tree_backup": (SOFT | {"n_step": 3}, optimal),
    "sarsa_lambda": (SOFT | {"lambda_": 0.5}, lambda: optimal(EPSILON)),
    "q_lambda": (SOFT, optimal),
    "monte_carlo": (SOFT, lambda: optimal(EPSILON)),
    "monte_carlo_first": (SOFT, lambda: optimal(EPSILON)),
    "td": ({}, uniform),
    "n_step_td": ({}, uniform),
    "td_lambda": ({}, uniform),
    "monte_carlo_prediction": ({}, uniform),
    "dyna_q": (SOFT | {"planning_steps": 1}, lambda: optimal(world=SURE)),
}
DEFAULT = ("q_learning", "n_step_q", "sarsa_lambda", "td")


def error(config: TabularConfig, expected: Tensor, ticks: int, world: Any) -> tuple[Tensor, Tensor]:
    """Return the mean error and its standard error at each entry that can be met."""
    config = replace(config, gamma=GAMMA, step_size="visits", alpha=2.0)
    life = Life(config, world, range(K), ticks).live(ticks)
    visits = torch.as_tensor(world.reachable())
    wrong = (life.agent.q() - expected)[:, visits]
    return wrong.mean(0), wrong.std(0) / K**0.5


@pytest.mark.parametrize(
    "name", [n if n in DEFAULT else pytest.param(n, marks=pytest.mark.slow) for n in CASES]
)
def test_fixed_point(name: str) -> None:
    changes, exact = CASES[name]
    world = {"dyna_q": SURE, "n_step_q": APART}.get(name, WORLD)
    mean, standard = error(replace(presets()[name], **changes), exact(), 4000, world)
    assert (mean.abs() <= 3 * standard + 1e-2).all(), (mean, standard)


def test_the_fixed_points_are_apart() -> None:
    """What the tests above tell apart: each other's answer would fail."""
    pairs = [(optimal(), optimal(EPSILON))]
    best, soft = (optimal(epsilon, APART) for epsilon in (0.0, EPSILON))
    pairs += [(uncorrected(2, APART), best), (uncorrected(2, APART), soft), (best, soft)]
    assert all((a - b)[: STATES - 1].abs().max() > 0.04 for a, b in pairs)
