"""Native forms of Gymnasium's classic control are its environments, bit by bit."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces

from prism.benchmark.envs.config import EnvConfig, EnvWrappers
from prism.benchmark.envs.native import FEWEST, NativeVecEnv, physics_of
from prism.benchmark.envs.table import vector_env
from prism.benchmark.envs.vector import SeedVecEnv

IDS = ("CartPole-v1", "MountainCar-v0", "MountainCarContinuous-v0", "Acrobot-v1", "Pendulum-v1")
SEEDS, LANES = (3, 11), 4


def both(env_id: str, lanes: int = LANES, reset: str = "each", **changes: Any) -> list[SeedVecEnv]:
    """Return the native form and the loop over Gymnasium's environments."""
    config = EnvConfig(name="x", id=env_id, **changes)
    native = vector_env(config, SEEDS, lanes, reset=reset)
    assert isinstance(native, NativeVecEnv)
    return [native, SeedVecEnv(config, SEEDS, lanes, reset=reset)]


def actions(env: SeedVecEnv, obs: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return random actions for the first seed; the second one pushes on where it moves to."""
    if not isinstance(env.action_space, spaces.Discrete):
        noise = rng.normal(size=(*obs.shape[:2], 1)).astype(np.float32) * 1.5
        noise[1] = np.sign(obs[1, :, 1:2])
        return noise
    n = int(env.action_space.n)
    chosen = rng.integers(n, size=obs.shape[:2])
    moving = {4: obs[1, :, 2:].sum(-1) if obs.shape[2] == 4 else None, 2: obs[1, :, 1]}.get(
        obs.shape[2], obs[1, :, -1]
    )
    chosen[1] = np.where(moving > 0, n - 1, 0)
    return chosen


def lived(
    envs: list[SeedVecEnv], ticks: int, rng: np.random.Generator
) -> Iterator[list[list[np.ndarray]]]:
    """Step environments by the same actions; yields all that each returned."""
    for _ in range(ticks):
        begun = [env.begin() for env in envs]
        action = actions(envs[0], begun[0], rng)
        yield [[first, *env.step(action)] for first, env in zip(begun, envs, strict=True)]


def same(ours: list[np.ndarray], theirs: list[np.ndarray]) -> bool:
    return all(
        a.dtype == b.dtype and np.array_equal(a, b) for a, b in zip(ours, theirs, strict=True)
    )


@pytest.mark.parametrize("env_id", IDS)
def test_every_step_is_gymnasiums(env_id):
    envs = both(env_id)
    assert all(same(*each) for each in lived(envs, 1100, np.random.default_rng(0)))
    native, loop = (env.drain() for env in envs)
    assert native == loop and all(native)


@pytest.mark.slow
@pytest.mark.parametrize("env_id", IDS)
def test_a_hundred_thousand_steps_are_gymnasiums(env_id):
    envs = both(env_id, lanes=25)
    assert all(same(*each) for each in lived(envs, 2000, np.random.default_rng(1)))


@pytest.mark.parametrize("reset", ["wait", "shared"])
def test_lanes_that_wait_stay_where_they_are(reset):
    envs = both("CartPole-v1", reset=reset)
    waited = False
    for ours, theirs in lived(envs, 200, np.random.default_rng(2)):
        assert same(ours, theirs)
        waited |= not ours[-1].all()
    assert waited


@pytest.mark.parametrize("env_id", IDS)
def test_each_form_goes_on_from_the_others_state(env_id):
    envs, rng = both(env_id, horizon=37), np.random.default_rng(3)
    for _ in lived(envs, 36, rng):
        pass
    for env in envs:  # the last step of the time limit, without the next episode's begin
        env.step(actions(env, env.begin(), np.random.default_rng(4)))
    states = [env.state() for env in envs]
    assert all(same([x.numpy()], [states[1][name].numpy()]) for name, x in states[0].items())
    others = both(env_id, horizon=37)
    for env, state in zip(others, reversed(states), strict=True):
        env.load(state)
    for first, *rest in lived([envs[1], *others], 90, rng):
        assert all(same(first, each) for each in rest)


def test_a_seed_whose_action_is_not_finite_fails_alone():
    envs = both("Pendulum-v1")
    for env in envs:
        env.begin()
        action = np.zeros((2, LANES, 1), np.float32)
        action[0, 2] = np.nan
        assert env.step(action).valid.tolist() == [[False] * LANES, [True] * LANES]
        assert env.failed == {0: "the agent's action is not finite"}
    for ours, theirs in lived(envs, 300, np.random.default_rng(5)):
        assert same(ours, theirs)


@pytest.mark.parametrize(
    "changes",
    [
        {"native": False},
        {"kwargs": {"sutton_barto_reward": True}},
        {"fresh": True},
        {"record": ["x"]},
        {"wrappers": EnvWrappers(history=2)},
        {"wrappers": EnvWrappers(frame_stack=2)},
        {"wrappers": EnvWrappers(reward_scale=2.0)},
        {"wrappers": EnvWrappers(extra=["TimeAware"])},
    ],
)
def test_what_is_changed_is_stepped_as_it_is(changes):
    config = EnvConfig(**({"name": "x", "id": "CartPole-v1"} | changes))
    assert physics_of(config, training=True) is None


def test_reward_wrappers_leave_evaluation_native():
    config = EnvConfig(name="x", id="CartPole-v1", wrappers=EnvWrappers(reward_scale=2.0))
    assert isinstance(vector_env(config, SEEDS, 2, training=False), NativeVecEnv)


def test_few_lanes_are_looped_over():
    config = EnvConfig(name="x", id="CartPole-v1")
    assert type(vector_env(config, (1,), FEWEST - 1)) is SeedVecEnv
