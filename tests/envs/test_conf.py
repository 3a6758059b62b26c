"""Every conf/env: it can be built, its facts hold, and a used instance equals a fresh one."""

from importlib.util import find_spec
from pathlib import Path

import gymnasium
import numpy as np
import pytest
from omegaconf import OmegaConf

from prism.benchmark.envs.config import EnvConfig, validate
from prism.benchmark.envs.make import make_env, make_spec

FOLDER = Path(__file__).parents[2] / "conf" / "env"
NAMES = sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load(name: str) -> EnvConfig:
    content = OmegaConf.load(FOLDER / f"{name}.yaml")
    assert content.pop("defaults") == ["/schema/env@_here_", "_self_"]
    root = OmegaConf.create({"env": OmegaConf.merge(OmegaConf.structured(EnvConfig), content)})
    if name == "gym":
        root.env.id = "Swimmer-v5"
    if name == "atari" and find_spec("ale_py") is None:
        pytest.skip("ale_py is not installed")
    return OmegaConf.to_object(root.env)


def play(env: gymnasium.Env, seed: int, steps: int) -> list[np.ndarray]:
    """Play one episode of random actions; what was seen and paid."""
    obs, _ = env.reset(seed=seed)
    env.action_space.seed(seed)  # after the reset, which may bring a new space
    seen = [obs]
    for _ in range(steps):
        obs, reward, terminated, truncated, _ = env.step(env.action_space.sample())
        seen += [obs, np.float64(reward)]
        if terminated or truncated:
            break
    return seen


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return len(a) == len(b) and all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


@pytest.mark.parametrize("name", NAMES)
def test_used_instance_equals_fresh_one(name):
    config = load(name)
    used = make_env(config, training=True)
    for seed in range(4):
        play(used, seed, 150)
    fresh = make_env(config, training=True)
    for seed in (100, 101):
        assert same(play(used, seed, 300), play(fresh, seed, 300))


@pytest.mark.parametrize("name", NAMES)
def test_facts(name):
    config = load(name)
    validate(config)
    assert len((FOLDER / f"{name}.yaml").read_text().splitlines()) <= 15
    spec = make_spec(config, config.budget)
    env = make_env(config, training=False)
    obs, _ = env.reset(seed=1)
    assert spec.obs_space.shape == obs.shape
    assert spec.obs_space.dtype == obs.dtype
    assert obs.dtype in (np.float32, np.bool_, np.uint8)
    if name not in ("gym", "atari"):
        assert config.name == name
        assert config.score_source
        assert config.random_score < config.reference_score
        lowest, highest = config.lowest_score, config.highest_score
        assert lowest is None or lowest <= config.random_score
        assert highest is None or highest >= config.reference_score


def test_bipedal_walker_needs_its_cure():
    config = load("bipedalwalker")
    config.fresh = False
    used = make_env(config, training=True)
    for seed in range(3):
        play(used, seed, 150)
    assert not same(play(used, 100, 300), play(make_env(config, training=True), 100, 300))


@pytest.mark.parametrize("name", ["cartpole", "minatar_breakout", "blackjack", "inverted_pendulum"])
def test_random_score(name):
    config = load(name)
    env = make_env(config, training=False)
    returns = [sum(map(float, play(env, seed, 10_000)[2::2])) for seed in range(300)]
    error = np.std(returns) / np.sqrt(len(returns))
    assert abs(np.mean(returns) - config.random_score) < 4 * error


@pytest.mark.parametrize("name", ["frozenlake", "frozenlake8x8", "taxi", "cliffwalking"])
def test_tabular_scores_by_dynamic_programming(name):
    config = load(name)
    env = make_env(config, training=False)
    table, horizon = env.unwrapped, config.horizon or gymnasium.spec(config.id).max_episode_steps
    states, actions = range(len(table.P)), range(env.action_space.n)
    to = np.zeros((len(states), len(actions), len(states)))
    pay = np.zeros((len(states), len(actions)))
    for s in states:
        for a in actions:
            for p, successor, reward, over in table.P[s][a]:
                pay[s, a] += p * reward
                to[s, a, successor] += p * (not over)
    best = uniform = np.zeros(len(states))
    for _ in range(horizon):
        best, uniform = (pay + to @ best).max(1), (pay + to @ uniform).mean(1)
    start = table.initial_state_distrib
    assert start @ best == pytest.approx(config.reference_score, rel=1e-4)
    assert start @ uniform == pytest.approx(config.random_score, rel=1e-3)


def test_minatar_is_as_published():
    breakout = make_env(load("minatar_breakout"), training=True)
    assert breakout.action_space.n == 6
    assert breakout.observation_space.shape == (4, 10, 10)
    config = load("minatar_breakout")
    config.kwargs["minimal_actions"] = True
    assert make_env(config, training=True).action_space.n == 3


def test_minatar_repeats_the_previous_action_one_time_in_ten():
    config = load("minatar_asterix")
    config.kwargs["ramping"] = False
    env = make_env(config, training=True).unwrapped
    env.reset(seed=0)
    taken = []
    act = env._game.act
    env._game.act = lambda action: taken.append(action) or act(action)
    draws = np.random.default_rng(0)
    wanted = draws.integers(6, size=4000)
    for action in wanted:
        env.step(int(action))
    # a repeat shows only where the previous action differs: 0.1 * 5/6
    assert np.mean(wanted != taken) == pytest.approx(0.1 * 5 / 6, abs=0.02)
