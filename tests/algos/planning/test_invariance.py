"""What leaves the optimal policy alone: scaling, and shaping in its right form; by exact solution.

On 500 random processes with a terminal state, potentials of about the size of the values. The wrong
forms change the policy of many: where gamma is left out of gamma * Phi(s') - Phi(s), and where the
potential of a terminal state is not zero.
"""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.algos.formulas import dynamic_programming as dp

COUNT, S, A, GAMMA = 500, 6, 3, 0.9
LIVE = slice(0, S - 1)  # the last state is terminal


@cache
def processes() -> tuple[dp.Model, Tensor]:
    """Return random processes ``[COUNT, ...]`` and a potential for each, ``[COUNT, S]``."""
    rng = np.random.default_rng(0)
    p = torch.from_numpy(rng.dirichlet(np.ones(S), (COUNT, S, A)))
    r = torch.from_numpy(rng.normal(size=(COUNT, S, A, S)))
    discount = torch.full((S, A, S), GAMMA, dtype=torch.float64)
    discount[..., -1] = 0.0
    successor = torch.arange(S).expand(S, A, S)
    return dp.Model(p, r, discount, successor), 3 * torch.from_numpy(rng.normal(size=(COUNT, S)))


def solve(reward: Tensor) -> Tensor:
    """Return the optimal action values under another reward, of states that are not over."""
    return dp.optimal(processes()[0]._replace(r=reward))[:, LIVE]


def changed(reward: Tensor) -> float:
    """Return the share of processes whose optimal policy another reward changes."""
    mine, other = (solve(r).argmax(-1) for r in (processes()[0].r, reward))
    return float((mine != other).any(-1).double().mean())


def shaped(gamma: float, terminal: bool) -> Tensor:
    """Return r + gamma * Phi(s') - Phi(s); ``terminal``: Phi counts even where nothing follows."""
    model, phi = processes()
    after = phi[:, model.successor]
    if not terminal:
        after = torch.where(model.discount == 0, 0.0, after)
    return model.r + gamma * after - phi[:, :, None, None]


def test_shaping_in_its_right_form_changes_nothing() -> None:
    assert changed(shaped(GAMMA, terminal=False)) == 0


def test_without_gamma_it_changes_policies() -> None:
    assert changed(shaped(1.0, terminal=True)) > 0.3


def test_a_potential_at_the_end_changes_policies() -> None:
    assert changed(shaped(GAMMA, terminal=True)) > 0.2


def test_shaping_moves_the_values_by_the_potential() -> None:
    model, phi = processes()
    q = solve(shaped(GAMMA, terminal=False))
    assert torch.allclose(q, solve(model.r) - phi[:, LIVE, None], atol=1e-9)


@pytest.mark.parametrize("scale", [0.01, 7.0])
def test_scaling_changes_no_policy_and_scales_the_values(scale: float) -> None:
    r = processes()[0].r
    assert changed(scale * r) == 0
    assert torch.allclose(solve(scale * r), scale * solve(r), atol=1e-9)


@pytest.mark.parametrize("change", [lambda r: -r, lambda r: r + 2.0], ids=["sign", "offset"])
def test_other_changes_of_the_reward_are_no_symmetry(change: Callable[[Tensor], Tensor]) -> None:
    """An offset pays for staying alive where episodes end."""
    assert changed(change(processes()[0].r)) > 0.2


def test_a_delayed_reward_is_worth_the_same_undiscounted() -> None:
    """With gamma 1 the return at the end is the return; with gamma below 1 it is not."""
    rewards = np.random.default_rng(0).normal(size=(200, 8))
    for gamma, same in ((1.0, True), (GAMMA, False)):
        powers = gamma ** np.arange(8)
        sums, delayed = rewards @ powers, rewards.sum(1) * powers[-1]
        assert np.allclose(sums, delayed) == same
