"""Mistakes become one line that names the key."""

import pytest

from prism.benchmark.envs.config import EnvConfig, EnvWrappers, validate
from prism.benchmark.envs.make import make_env, make_spec
from prism.benchmark.util.errors import ConfigError


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"id": "CartPol-v1"}, ["env.id", "CartPol-v1", "CartPole-v1"]),
        ({"id": "CartPole"}, ["env.id", "CartPole-v1"]),
        ({"id": "CartPole-v9"}, ["env.id", "CartPole-v1"]),
        ({"id": "qqqqqqqqqqqqqqqqqq"}, ["env.id", "qqqqqqqqqqqqqqqqqq"]),
        ({"imports": "no_such_module"}, ["env.imports", "no_such_module"]),
        ({"kwargs": {"sutton_barto": True}}, ["env.kwargs.sutton_barto", "sutton_barto_reward"]),
        ({"budget": 0}, ["env.budget", "0", "at least 1"]),
        ({"horizon": 0}, ["env.horizon"]),
        ({"id": "CliffWalking-v1"}, ["env.horizon", "CliffWalking-v1", "set env.horizon"]),
        ({"wrappers": EnvWrappers(frame_stack=0)}, ["env.wrappers.frame_stack"]),
        ({"wrappers": EnvWrappers(history=-1)}, ["env.wrappers.history"]),
        ({"wrappers": EnvWrappers(history=2, frame_stack=2)}, ["env.wrappers.history"]),
        ({"wrappers": EnvWrappers(reward_scale=0.0)}, ["env.wrappers.reward_scale"]),
        ({"wrappers": EnvWrappers(reward_clip=-1.0)}, ["env.wrappers.reward_clip"]),
        ({"wrappers": EnvWrappers(shaping="cartpol")}, ["env.wrappers.shaping", "cartpole"]),
        ({"wrappers": EnvWrappers(shaping="grid")}, ["env.wrappers.shaping", "FrozenLake"]),
        ({"random_score": 1.0, "reference_score": 1.0}, ["env.reference_score"]),
    ],
)
def test_mistakes(changes, words):
    with pytest.raises(ConfigError) as caught:
        validate(EnvConfig(**({"name": "x", "id": "CartPole-v1"} | changes)))
    message = str(caught.value)
    assert "\n" not in message
    for word in words:
        assert word in message


@pytest.mark.parametrize("changes", [{"horizon": 9}, {"ends": True}, {"id": "Taxi-v4"}])
def test_a_time_limit_is_set_registered_or_declared_needless(changes):
    validate(EnvConfig(**({"name": "x", "id": "CliffWalking-v1"} | changes)))


@pytest.mark.parametrize(
    "config",
    [
        EnvConfig(id="FrozenLake-v1", kwargs={"map_name": "no such map"}),
        EnvConfig(id="Reacher-v2"),  # registered only to say that it is gone
    ],
)
def test_an_environment_that_cannot_be_built(config):
    with pytest.raises(ConfigError, match=r"^env\.id: .+cannot be built") as caught:
        make_spec(config, 1)
    assert "\n" not in str(caught.value)


def test_an_id_is_registered_by_its_import(tmp_path, monkeypatch):
    (tmp_path / "their_envs.py").write_text(
        "import gymnasium\n"
        "gymnasium.register('Their/Env-v0', 'gymnasium.envs.classic_control:CartPoleEnv')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    config = EnvConfig(id="Their/Env-v0", imports="their_envs", horizon=7)
    validate(config)
    env = make_env(config, training=True)
    env.reset(seed=0)
    assert sum(1 for _ in iter(lambda: env.step(0)[3], True)) == 6
