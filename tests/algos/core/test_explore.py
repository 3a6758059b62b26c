"""Behaviour policies against their exact probabilities, with fixed streams."""

from collections.abc import Callable, Sequence
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from prism.algos.core import explore
from tests.helpers import SEEDS

Act = Callable[[Callable[[], Tensor], float], Tensor]
Q = torch.tensor([0.3, -1.0, 0.9, 0.4])
DRAWS = 20_000


def behaviour(kind: str, seeds: Sequence[int] = (7,), lanes: int = DRAWS) -> Act:
    if kind == "epsilon_greedy":
        return explore.EpsilonGreedy(seeds, lanes, len(Q))
    return explore.Boltzmann(seeds, lanes) if kind == "boltzmann" else explore.Greedy()


def actions(kind: str, level: float) -> Tensor:
    return behaviour(kind)(lambda: Q.expand(1, DRAWS, -1), level)[0]


def agrees(choices: Tensor, probabilities: Tensor) -> bool:
    counts = torch.bincount(choices, minlength=len(Q)).double()
    possible = probabilities > 0
    if counts[~possible].any():
        return False
    expected = probabilities[possible].double()
    return (
        len(expected) == 1
        or chisquare(counts[possible], expected / expected.sum() * DRAWS).pvalue > 0.01
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
    assert not agrees(actions("boltzmann", temperature / 2), exact)


def test_boltzmann_goes_to_greedy_and_to_uniform() -> None:
    assert (actions("boltzmann", 1e-6) == 2).all()
    assert agrees(actions("boltzmann", 1e6), torch.full((4,), 0.25))


@pytest.mark.parametrize("kind", ["epsilon_greedy", "boltzmann"])
def test_the_extreme_draws_stay_within_the_actions(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The largest draw below 1 times A may round to A itself."""
    for u in (0.0, np.nextafter(np.float32(1), np.float32(0))):
        always = SimpleNamespace(random=lambda dtype, out, u=u: out.fill(u))
        monkeypatch.setattr(
            "prism.algos.core.rng.generator", lambda *_, always=always, **__: always
        )
        for a in (2, 3, 5, 7, 18, 1000):
            if kind == "boltzmann":
                act = explore.Boltzmann([0], 1)
            else:
                act = explore.EpsilonGreedy([0], 1, a)
            action = act(lambda a=a: torch.zeros(1, 1, a), 1.0)
            assert 0 <= int(action) < a


@pytest.mark.parametrize("kind", ["epsilon_greedy", "boltzmann"])
def test_exploration_does_not_depend_on_the_company(kind: str) -> None:
    q = torch.linspace(-1, 1, 3 * 2 * 4).view(3, 2, 4).sin()
    together = behaviour(kind, SEEDS, 2)
    alone = [behaviour(kind, [seed], 2) for seed in SEEDS]
    actions = []
    for level in (1.0, 0.5, 1e-9, 0.5, 1.0) * 20:  # with every seed exploring, with some, with none
        actions.append(together(lambda: q, level))
        for k, act in enumerate(alone):
            assert torch.equal(act(lambda k=k: q[k : k + 1], level), actions[-1][k : k + 1])
    choices = torch.stack(actions, 1).flatten(1)
    assert len(torch.unique(choices, dim=0)) == len(SEEDS)


def test_greedy_takes_the_first_of_equals() -> None:
    assert explore.greedy(torch.tensor([[0.0, 2.0, 2.0], [1.0, 0.0, 1.0]])).tolist() == [1, 0]


def test_the_largest_draw_is_the_last_action() -> None:
    """float32 rounds ``(1 - 2^-24) A`` to below A, so that no draw needs to be cut."""
    u = np.float32(1 - 2**-24)
    counts = np.append(np.arange(1, 100_001), 2 ** np.arange(17, 25))
    products = u * counts.astype(np.float32)
    assert products.dtype == np.float32
    assert np.array_equal(products.astype(np.int64), counts - 1)
