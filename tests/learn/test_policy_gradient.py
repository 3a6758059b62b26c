"""The policy-gradient family trained to published scores; the numbers are in algos/README.md."""

import pytest

pytestmark = pytest.mark.learn

# CleanRL docs/rl-algorithms/ppo.md: mean and deviation over 3 seeds of the last 100 training
# episodes of 500,000 steps
CLEANRL = {"cartpole": (490.0, 6.1), "acrobot": (-86.4, 1.3)}
SOLVED = 475.0  # CartPole-v1's reward threshold


@pytest.mark.parametrize("env", CLEANRL)
def test_ppo_is_where_cleanrls_is(train, training_returns, env: str) -> None:
    name = f"learn_ppo_{env}"
    train(name, "algo=ppo", f"env={env}", "budget=500000", "tuned=false")
    found = training_returns(name, episodes=100)
    assert len(found) == 5
    mean, deviation = CLEANRL[env]
    assert abs(sum(found) / 5 - mean) <= 2 * deviation, found


def test_ppo_fails_on_mountaincar_as_published(train, training_returns) -> None:
    name = "learn_ppo_mountaincar"
    train(name, "algo=ppo", "env=mountaincar", "budget=500000", "tuned=false")
    assert training_returns(name, episodes=100) == [-200.0] * 5


@pytest.mark.parametrize("algo", ["a2c", "reinforce_baseline", "trpo", "grpo"])
def test_cartpole_is_solved(train, algo: str) -> None:
    scores = train(f"learn_{algo}", f"algo={algo}", "env=cartpole", "budget=500000", "tuned=false")
    (returns,) = scores.values()
    assert len(returns) == 5
    assert sum(returns) / 5 >= SOLVED, returns


def test_two_asynchronous_workers_solve_cartpole(train) -> None:
    scores = train("learn_a3c", "algo=a3c", "env=cartpole", "budget=200000", "seed=range(0,3)")
    (returns,) = scores.values()
    assert len(returns) == 3
    assert sum(returns) / 3 >= SOLVED, returns
