"""The probes pay what their names promise."""

import numpy as np
import pytest
from gymnasium import spaces

from prism.benchmark.envs import PROBES
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_env


def episode(name, policy=lambda obs: 0, seed=0, **kwargs):
    env = make_env(EnvConfig(id=f"Prism/{name}-v0", kwargs=kwargs), training=True)
    obs, _ = env.reset(seed=seed)
    steps, over = [], False
    while not over:
        obs, reward, terminated, truncated, _ = env.step(policy(obs))
        steps.append((reward, terminated, truncated))
        over = terminated or truncated
    return steps


def test_constant():
    last = (2.0, False, True)
    assert episode("ConstantTruncated", r=2.0, T=3) == [(2.0, False, False)] * 2 + [last]
    assert episode("ConstantTerminated", r=2.0, T=3)[-1] == (2.0, True, False)


def test_chain():
    assert episode("Chain", r=3.0) == [(0.0, False, False), (3.0, True, False)]


def test_identity():
    for policy, score in ((np.argmax, 20), (np.argmin, 0)):
        assert sum(step[0] for step in episode("Identity", policy, actions=3, T=20)) == score


def test_follow_pays_minus_the_squared_distance():
    assert all(step[0] == 0 for step in episode("Follow", lambda obs: obs, T=20))
    paid = [step[0] for step in episode("Follow", lambda obs: obs - 0.5, T=20)]
    assert paid == pytest.approx([-0.25] * 20) and len(paid) == 20


def test_no_number_of_actions_means_a_box():
    for name in ("ConstantTruncated", "Chain", "Follow"):
        kwargs = {} if name == "Follow" else {"actions": 0}
        env = make_env(EnvConfig(id=f"Prism/{name}-v0", kwargs=kwargs), training=True)
        assert env.action_space == spaces.Box(-1.0, 1.0, (1,))


def test_roulette():
    env = make_env(EnvConfig(id="Prism/Roulette-v0"), training=True)
    env.reset(seed=0)
    paid = np.array([env.step(1)[1] for _ in range(40_000)])
    assert set(paid) == {-1.0, 35.0}
    assert np.mean(paid == 35.0) == pytest.approx(1 / 37, rel=0.1)
    assert env.step(0)[1:3] == (0.0, True)


def test_raises():
    with pytest.raises(RuntimeError, match="step 2"):
        episode("Raises", n=2)
    assert len(episode("Raises", n=2, every=2, seed=1, T=4)) == 4


def test_observations_are_in_their_space():
    for name in PROBES:
        env = make_env(EnvConfig(id=f"Prism/{name}-v0"), training=True)
        obs, _ = env.reset(seed=0)
        assert env.observation_space.contains(obs)
        env.action_space.seed(0)
        assert env.observation_space.contains(env.step(env.action_space.sample())[0])


def test_mujoco_leaves_no_log_behind(tmp_path, monkeypatch):
    pytest.importorskip("mujoco")
    monkeypatch.chdir(tmp_path)
    make_env(EnvConfig(id="HalfCheetah-v5"), training=True)
    assert list(tmp_path.iterdir()) == []
