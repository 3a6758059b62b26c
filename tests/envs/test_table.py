"""The table-driven vector environment: Gymnasium's transitions, SeedVecEnv's manners."""

from typing import Any

import numpy as np
import pytest
import torch

from prism.algos.core.states import one_hots
from prism.benchmark.envs.config import EnvConfig, EnvWrappers
from prism.benchmark.envs.make import make_env
from prism.benchmark.envs.models import model_of
from prism.benchmark.envs.table import TableVecEnv, vector_env
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.store.checkpoint import take_seed
from prism.benchmark.util.errors import ConfigError

TABLES: dict[str, dict[str, Any]] = {
    "FrozenLake-v1": {},
    "FrozenLake8x8-v1": {},
    "CliffWalking-v1": {"horizon": 60},
    "Taxi-v4": {},
    "Prism/RandomWalk-v0": {},
    "Prism/WindyGridworld-v0": {"horizon": 60},
    "Blackjack-v1": {},
}


def config(env_id: str, **changes: Any) -> EnvConfig:
    return EnvConfig(name="x", id=env_id, **(TABLES.get(env_id, {}) | changes))


def table(env_id: str, seeds: Any, lanes: int = 1, **kwargs: Any) -> TableVecEnv:
    env = vector_env(config(env_id), seeds, lanes, **kwargs)
    assert isinstance(env, TableVecEnv)
    return env


class Fed:
    """A generator that says what it is told to."""

    def __init__(self) -> None:
        self.next = 0.0

    def random(self) -> float:
        return self.next


@pytest.mark.parametrize("env_id", [name for name in TABLES if name != "Blackjack-v1"])
def test_it_goes_where_gymnasium_goes(env_id: str) -> None:
    """Fed with the table's own draws, Gymnasium's environment makes the same episodes."""
    ours, theirs, fed = table(env_id, (3,)), make_env(config(env_id), training=False), Fed()
    theirs.reset(seed=0)
    theirs.unwrapped.np_random = fed
    actions, episodes, ended = np.random.default_rng(0), 0, True
    for _ in range(400):
        if ended:
            fed.next = float(ours._u[0, 1])
            shown, _ = theirs.reset()
            episodes += 1
        assert np.array_equal(shown, ours.begin()[0, 0])
        action, fed.next = int(actions.integers(ours.model.actions)), float(ours._u[0, 0])
        result = ours.step(np.array([[action]]))
        shown, reward, terminated, truncated, _ = theirs.step(action)
        assert np.array_equal(shown, result.next_obs[0, 0])
        assert float(reward) == pytest.approx(float(result.reward[0, 0]))
        ended = terminated or truncated
        assert result.terminated[0, 0] == terminated
        assert result.truncated[0, 0] == (truncated and not terminated)
    assert episodes > 1
    assert len(ours.drain()[0]) == episodes - (not ended)


def test_blackjack_is_played_as_gymnasium_plays_it() -> None:
    """Sticking on 17: both samples of returns have the same mean within three errors."""
    seeds, returns = range(2), []
    for env in (
        vector_env(config("Blackjack-v1"), seeds, 32),
        vector_env(config("Blackjack-v1", table=False), seeds, 32),
    ):
        for _ in range(150):
            total = env.begin()[..., :32].argmax(-1)
            env.step((total < 17).astype(np.int64))
        returns.append(np.array([r for done in env.drain() for r, _ in done]))
    error = np.sqrt(sum(r.var() / len(r) for r in returns))
    assert abs(returns[0].mean() - returns[1].mean()) < 3 * error
    assert isinstance(env, SeedVecEnv)


def play(env: TableVecEnv, ticks: int) -> list[Any]:
    seen = []
    for tick in range(ticks):
        obs = env.begin()
        step = env.step(np.full(obs.shape[:2], tick % env.model.actions))
        seen.append((obs, *step))
    return seen


@pytest.mark.parametrize("reset", ["each", "wait", "shared"])
def test_a_seed_is_what_it_is_alone(reset: str) -> None:
    together, alone = (table("FrozenLake-v1", s, 3, reset=reset) for s in ((3, 11, 42), (11,)))
    for a, b in zip(play(together, 120), play(alone, 120), strict=True):
        assert all(np.array_equal(x[1:2], y) for x, y in zip(a, b, strict=True))
    taken, own = take_seed(together.state(), 1), alone.state()
    count = int(own["finished_count"][0])
    assert count > 0 and int(taken["finished_count"][0]) == count
    for name in ("s", "length", "return", "ended", "obs", "u"):
        assert torch.equal(taken[name], own[name])
    assert torch.equal(taken["finished"][:, :count], own["finished"][:, :count])


def test_lanes_wait_for_each_other() -> None:
    env = table("FrozenLake-v1", (0, 1), 4, reset="wait")
    for obs, _, reward, terminated, truncated, valid in play(env, 200):
        assert obs.shape == (2, 4, 16)
        assert not ((terminated | truncated) & ~valid).any() and not reward[~valid].any()
    counts = [len(done) for done in env.drain()]
    assert all(n >= 4 for n in counts)


@pytest.mark.parametrize("reset", ["wait", "shared"])
def test_what_has_ended_waits_for_its_beginning(reset: str) -> None:
    """Evaluation plays one episode a lane and begins no other."""
    kinds = (
        table("FrozenLake-v1", (0, 1), 3, reset=reset),
        SeedVecEnv(config("FrozenLake-v1"), (0, 1), 3, reset=reset),
    )
    for env in kinds:
        env.reset()
        ended = np.zeros((2, 3), bool)
        rng = np.random.default_rng(0)
        for _ in range(100):
            step = env.step(rng.integers(0, 4, (2, 3)))
            assert np.array_equal(step.valid, ~ended)
            ended |= step.terminated | step.truncated
        assert ended.all() and [len(done) for done in env.drain()] == [3, 3]


def test_shared_lanes_start_alike() -> None:
    env = table("Taxi-v4", (0, 1), 3, reset="shared")
    obs = env.begin()
    assert (obs == obs[:, :1]).all() and not (obs[0] == obs[1]).all()
    own = table("Taxi-v4", (0,), 3).begin()
    assert not (own == own[:, :1]).all()


def test_a_state_continues() -> None:
    env, other = table("FrozenLake-v1", (3, 11), 2), table("FrozenLake-v1", (3, 11), 2)
    play(env, 50)
    other.load(env.state())
    for a, b in zip(play(env, 40), play(other, 40), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))
    assert env.drain() == other.drain()


def test_a_failed_seed_is_not_stepped() -> None:
    env = table("FrozenLake-v1", (3, 11))
    play(env, 5)
    env.fail(0, "diverged")
    env.drain()
    assert all(not valid[0].any() and valid[1].all() for *_, valid in play(env, 60))
    assert env.failed == {0: "diverged"} and not env.drain()[0]


def test_reset_starts_over() -> None:
    env = table("FrozenLake-v1", (3,), 2)
    first = play(env, 30)
    env.reset()
    for a, b in zip(first, play(env, 30), strict=True):
        assert all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


def test_random_rewards_have_their_spread() -> None:
    env = table("Prism/Bandit-v0", range(4), 50)
    rewards = [env.step((env.begin()[..., 0] * 3).astype(np.int64)).reward for _ in range(100)]
    pays = float(env.model.reward[0, 3, 0])
    assert np.mean(rewards) == pytest.approx(pays, abs=3 / np.sqrt(20_000))
    assert np.std(rewards) == pytest.approx(1.0, abs=0.02)


@pytest.mark.parametrize(
    "changes", [{"table": False}, {"wrappers": {"shaping": "grid"}}, {"wrappers": {"history": 2}}]
)
def test_what_the_table_cannot_do_goes_the_plain_way(changes: dict[str, Any]) -> None:
    if "wrappers" in changes:
        changes = {"wrappers": EnvWrappers(**changes["wrappers"])}
    assert isinstance(vector_env(config("FrozenLake-v1", **changes), (0,), 1), SeedVecEnv)


def test_an_invalid_table_is_one_line() -> None:
    bad = make_env(config("FrozenLake-v1"), training=False)
    bad.unwrapped.P[3][1] = [(0.4, 2, 0.0, False), (0.4, 7, 0.0, True)]
    line = "^env.id: the table P of .* is not a valid model: state 3, action 1: .* sum to 0.8"
    with pytest.raises(ConfigError, match=line) as error:
        model_of(config("FrozenLake-v1"), bad)
    assert "\n" not in str(error.value)


def test_observations_are_those_of_the_environment() -> None:
    env = table("Blackjack-v1", (0,))
    assert one_hots(env.model).shape == (714, 45)
    theirs = make_env(config("Blackjack-v1"), training=False)
    assert env.obs_space.shape == theirs.observation_space.shape
