"""Behaviour policies against their exact probabilities, with fixed streams."""

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from algos.core import explore
from algos.core.rng import Draws

Q = torch.tensor([0.3, -1.0, 0.9, 0.4])
DRAWS = 20_000


def actions(policy: str, level: float, q: Tensor = Q) -> Tensor:
    u = Draws([7], "act", (DRAWS, 2))()[0]
    return getattr(explore, policy)(q.expand(DRAWS, -1), level, u)


def agrees(chosen: Tensor, probabilities: Tensor) -> bool:
    counts = torch.bincount(chosen, minlength=len(Q)).double()
    seen = probabilities > 0
    if counts[~seen].any():
        return False
    expected = probabilities[seen].double()
    return (
        len(expected) == 1
        or chisquare(counts[seen], expected / expected.sum() * DRAWS).pvalue > 0.01
    )


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 0.5, 1.0])
def test_epsilon_greedy_frequencies(epsilon: float) -> None:
    exact = torch.full((4,), epsilon / 4)
    exact[2] += 1 - epsilon
    assert agrees(actions("epsilon_greedy", epsilon), exact)
    assert not agrees(actions("epsilon_greedy", abs(epsilon - 0.05)), exact)


@pytest.mark.parametrize("temperature", [0.2, 1.0, 10.0])
def test_boltzmann_frequencies(temperature: float) -> None:
    exact = (Q.double() / temperature).softmax(0)
    assert agrees(actions("boltzmann", temperature), exact)
    assert not agrees(actions("boltzmann", temperature * 1.5), exact)


def test_boltzmann_goes_to_greedy_and_to_uniform() -> None:
    assert (actions("boltzmann", 1e-6) == 2).all()
    assert agrees(actions("boltzmann", 1e6), torch.full((4,), 0.25))


def test_the_extreme_draws_stay_within_the_actions() -> None:
    top = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0))
    for a in (2, 3, 5, 7, 18, 1000):
        q = torch.zeros(a)
        for policy, level in (("epsilon_greedy", 1.0), ("boltzmann", 1.0)):
            for u in (torch.zeros(2), top.expand(2)):
                assert 0 <= int(getattr(explore, policy)(q, level, u)) < a


def test_greedy_takes_the_first_of_equals() -> None:
    assert explore.greedy(torch.tensor([[0.0, 2.0, 2.0], [1.0, 0.0, 1.0]])).tolist() == [1, 0]
