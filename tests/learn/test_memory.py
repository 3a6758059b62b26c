"""Agents that remember, where observations hide a part of the state; numbers in algos/README.md."""

import pytest

pytestmark = pytest.mark.learn

SOLVED = 3.8  # of 4
EPISODES = ("env=tmaze", "evaluation.every=0", "evaluation.episodes=100")


@pytest.mark.parametrize(
    ("algo", "budget", "seeds", "solved"),  # measured: 10 of 10, 7 of 10
    [("recurrent_ppo", 150_000, 10, 9), ("recurrent_dqn", 100_000, 10, 5)],
)
def test_a_memory_solves_the_maze(train, algo: str, budget: int, seeds: int, solved: int) -> None:
    """Ten steps lie between the sign and the junction; not every seed learns to remember it."""
    words = (f"algo={algo}", f"budget={budget}", f"seed=range(0,{seeds})")
    (returns,) = train(f"learn_{algo}_tmaze", *words, *EPISODES).values()
    assert len(returns) == seeds
    assert sum(x >= SOLVED for x in returns) >= solved, returns


def test_without_a_memory_the_maze_is_a_coin(train) -> None:
    """50 of the 100 goals lie on either side: no seed can score more than by one arm alone."""
    words = ("algo=recurrent_ppo", "components=-memory", "budget=150000", "seed=range(0,10)")
    (returns,) = train("learn_forgetful_tmaze", *words, *EPISODES).values()
    assert len(returns) == 10
    assert max(returns) <= 0.5 * 4 - 0.5 * 0.1 + 1e-6, returns
