"""Episodes of different purposes: what chooses must not see what judges."""

from itertools import combinations

import numpy as np
import pytest

from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.episodes import BLOCK, EVALUATIONS, TRAINING, episode_seeds
from prism.benchmark.envs.table import TableVecEnv, vector_env
from prism.benchmark.envs.vector import SeedVecEnv

EPISODES = 10_000


def first(seed: int, purpose: str, lanes: int) -> np.ndarray:
    """Return the seeds of the first episodes of so many lanes, as many of each."""
    each = -(-EPISODES // lanes)
    drawn = [
        np.concatenate(
            [episode_seeds(seed, purpose, lane, block=b) for b in range(-(-each // BLOCK))]
        )[:each]
        for lane in range(lanes)
    ]
    return np.concatenate(drawn)


@pytest.mark.parametrize("lanes", [1, 20])
def test_evaluations_of_different_purposes_share_no_episode(lanes: int) -> None:
    played = {purpose: first(12345, purpose, lanes) for purpose in EVALUATIONS}
    for one, other in combinations(played.values(), 2):
        assert len(one) == EPISODES and not np.intersect1d(one, other).size
        assert not np.array_equal(one % 2**29, other % 2**29)
    for drawn in played.values():
        assert drawn.min() >= 0 and drawn.max() < 2**31
        assert len(np.unique(drawn)) > 0.999 * EPISODES


def test_a_seed_of_the_users_own_cannot_reach_the_final_episodes() -> None:
    new, final = EVALUATIONS[-1], EVALUATIONS[-2]
    chosen = np.concatenate([episode_seeds(seed, new, 0) for seed in range(50)])
    judged = np.concatenate([episode_seeds(seed, final, 0) for seed in range(50)])
    assert (final, new) == ("eval/final", "eval/new") and judged.max() < chosen.min()


def test_a_vector_environment_plays_these_episodes() -> None:
    config = EnvConfig(name="cartpole", id="CartPole-v1", horizon=1)
    for purpose in (*EVALUATIONS, TRAINING):
        env = SeedVecEnv(config, [7], 2, purpose=purpose)
        played = []
        for _ in range(3):
            env.begin()
            played.append([env._seed_of(lane) for lane in range(2)])
            env.step(np.zeros((1, 2), np.int64))
        expected = [episode_seeds(7, purpose, lane)[:3] for lane in range(2)]
        assert played == np.array(expected).T.tolist()


@pytest.mark.parametrize("env_id", ["FrozenLake-v1", "CartPole-v1"])
def test_purposes_have_other_episodes_in_a_table_too(env_id: str) -> None:
    config = EnvConfig(name="x", id=env_id, horizon=30)
    walks = []
    for purpose in (*EVALUATIONS, TRAINING):
        env = vector_env(config, [12345], 8, purpose=purpose)
        assert isinstance(env, TableVecEnv) == (env_id == "FrozenLake-v1")
        env.begin()
        action = np.ones((1, 8), np.int64)
        walks.append(np.concatenate([env.step(action).next_obs for _ in range(4)]))
    for one, other in combinations(walks, 2):
        assert not np.array_equal(one, other)
