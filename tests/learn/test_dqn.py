"""The DQN family trained to published scores; the numbers are in algos/README.md."""

import pytest
from scipy.stats import ttest_ind

pytestmark = pytest.mark.learn


@pytest.mark.parametrize(
    ("env", "budget", "seeds", "tuned", "bar"),
    [
        ("cartpole", 200_000, "range(0,5)", False, 450.0),
        ("acrobot", 100_000, "range(10,15)", True, -100.0),  # its period was chosen on 0 to 4
    ],
)
def test_classic_control(train, env: str, budget: int, seeds: str, tuned: bool, bar: float) -> None:
    settings = (f"env={env}", f"budget={budget}", f"seed={seeds}", f"tuned={str(tuned).lower()}")
    scores = train(f"learn_{env}", "algo=dqn,c51,qrdqn", *settings)
    assert len(scores) == 3
    for key, returns in scores.items():
        assert len(returns) == 5
        assert sum(returns) / 5 >= bar, (key, returns)


def test_breakout_needs_replay(train) -> None:
    scores = train(
        "learn_minatar",
        *("algo=dqn", "env=minatar_breakout", "budget=200000", "components=preset,-replay"),
        *("algo.exploration.fraction=0.5", "evaluation.every=0"),
    )
    replay, without = scores["dqn", None], scores["dqn", "replay"]
    assert len(replay) == len(without) == 5
    assert sum(replay) / 5 > 1.5 * sum(without) / 5
    assert ttest_ind(replay, without, equal_var=False, alternative="greater").pvalue < 0.01
