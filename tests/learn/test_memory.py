"""Agents that remember, where observations hide a part of the state; numbers in algos/README.md."""

import pytest

pytestmark = pytest.mark.learn

SOLVED = 3.8  # of 4; without a memory 1.95 is the most
EPISODES = ("env=tmaze", "evaluation.every=0", "evaluation.episodes=100", "seed=range(0,10)")


BUDGETS = {"recurrent_ppo": 150_000, "recurrent_dqn": 100_000}


@pytest.mark.parametrize("algo", BUDGETS)
def test_the_maze_needs_a_memory(train, algo: str) -> None:
    """Ten steps lie between the sign and the junction; not every seed learns to remember it."""
    scores = train(f"learn_{algo}_tmaze", f"algo={algo}", f"budget={BUDGETS[algo]}", *EPISODES)
    (returns,) = scores.values()
    assert len(returns) == 10
    assert sum(x >= SOLVED for x in returns) >= 5, returns


@pytest.mark.parametrize("stack", [1, 4])
def test_without_a_memory_the_maze_is_a_coin(train, stack: int) -> None:
    """Also with the last four observations joined; 56 of the 100 goals lie on one side."""
    name, words = f"learn_forgetful_tmaze_{stack}", ("algo=recurrent_ppo", "components=-memory")
    scores = train(name, *words, "budget=150000", f"env.wrappers.frame_stack={stack}", *EPISODES)
    (returns,) = scores.values()
    assert len(returns) == 10
    assert max(returns) <= 0.56 * 4 - 0.44 * 0.1 + 1e-6, returns
