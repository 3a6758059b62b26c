"""The off-policy agents trained to published scores; the numbers are in algos/README.md."""

from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.learn

FEW = ("seed=range(0,3)", "evaluation.episodes=10", "evaluation.every=10000", "budget=100000")


def test_pendulum(train) -> None:
    """Around -150: rl-baselines3-zoo has -152.1, -151.9 and -157.0 (benchmark.md, 150k steps)."""
    scores = train("learn_pendulum", "algo=ddpg,td3,sac", "env=pendulum", "budget=20000")
    assert len(scores) == 3
    for key, returns in scores.items():
        assert len(returns) == 5
        assert sum(returns) / 5 >= -180, (key, returns)


def test_inverted_pendulum(train) -> None:
    """The pole stays up to the end in every seed (Fujimoto et al. 2018, table 1: 1000 +- 0)."""
    scores = train("learn_inverted", "algo=td3", "env=inverted_pendulum", "budget=30000")
    returns = scores["td3", None]
    assert len(returns) == 5 and sum(returns) / 5 >= 950, returns


@pytest.mark.parametrize("env", ["hopper", "halfcheetah"])
def test_td3_follows_its_published_curves(train, reference_data: Path, env: str) -> None:
    """Within the ten published seeds at 100,000 steps, widened by a quarter (environments v1)."""
    name = {"hopper": "Hopper-v1", "halfcheetah": "HalfCheetah-v1"}[env]
    files = sorted((reference_data / "td3_curves").glob(f"TD3_{name}_*.npy"))
    published = np.array([np.load(file)[20] for file in files])  # one evaluation every 5,000 steps
    assert len(published) == 10
    returns = train(f"learn_td3_{env}", "algo=td3", f"env={env}", *FEW)["td3", None]
    assert len(returns) == 3
    assert 0.75 * published.min() <= np.mean(returns) <= 1.25 * published.max(), returns


@pytest.mark.parametrize(("env", "published"), [("hopper", 1164.0), ("halfcheetah", 6081.0)])
def test_sac_reaches_three_quarters_of_spinning_up(train, env: str, published: float) -> None:
    """Spinning Up's SAC at 100,000 steps: mean of ten seeds, read from its published curves."""
    returns = train(f"learn_sac_{env}", "algo=sac", f"env={env}", *FEW)["sac", None]
    assert len(returns) == 3
    assert np.mean(returns) >= 0.75 * published, returns
