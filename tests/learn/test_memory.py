"""Agents that remember, where observations hide a part of the state; numbers in algos/README.md."""

import pytest

pytestmark = pytest.mark.learn

SOLVED = 475.0  # CartPole-v1's reward threshold
BUDGET = {"recurrent_ppo": 150_000, "recurrent_dqn": 100_000}
EPISODES = ("evaluation.every=0", "evaluation.episodes=100", "seed=range(0,10)")


@pytest.mark.parametrize("algo", BUDGET)
def test_the_maze_needs_a_memory(train, algo: str) -> None:
    """Ten steps between the sign and the junction: more than four joined observations see."""
    maze = ("env=tmaze", f"budget={BUDGET[algo]}", *EPISODES)
    scores = train(f"learn_{algo}_tmaze", f"algo={algo}", *maze)
    (returns,) = scores.values()
    assert len(returns) == 10
    assert sum(x >= 3.9 for x in returns) >= 8, returns


@pytest.mark.parametrize("algo", ["recurrent_ppo components=-memory", "dqn"])
def test_without_a_memory_the_maze_is_a_coin(train, algo: str) -> None:
    """Also with the last four observations joined; 59 of the 100 goals lie on one side."""
    name, *less = algo.split()
    words = (f"algo={name}", *less, "env=tmaze", "env.wrappers.frame_stack=1,4", *EPISODES)
    budget = BUDGET["recurrent_ppo" if less else "recurrent_dqn"]
    (returns,) = train(f"learn_{name}_tmaze_off", *words, f"budget={budget}").values()
    assert len(returns) == 20
    assert max(returns) <= 0.6 * 4 - 0.4 * 0.1, returns


@pytest.mark.parametrize("algo", BUDGET)
def test_a_memory_infers_velocities(train, algo: str) -> None:
    words = ("env=cartpole_positions", "seed=range(0,3)", "evaluation.every=0")
    (returns,) = train(f"learn_{algo}_positions", f"algo={algo}", *words).values()
    assert len(returns) == 3
    assert sum(returns) / 3 >= SOLVED, returns
