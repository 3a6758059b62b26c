"""The tasks that hide a part of their state: what is seen, what is paid, what is hidden."""

import gymnasium
import numpy as np
import pytest

from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_env, make_spec
from prism.benchmark.envs.memory import EAST, NORTH, SOUTH, WEST, TMaze


def signs(length: int = 10) -> dict[int, int]:
    """Return a seed for each goal."""
    found: dict[int, int] = {}
    env = TMaze(length)
    for seed in range(20):
        env.reset(seed=seed)
        found.setdefault(env.goal, seed)
    assert set(found) == {NORTH, SOUTH}
    return found


@pytest.mark.parametrize("goal", [NORTH, SOUTH])
@pytest.mark.parametrize("choice", [NORTH, SOUTH])
def test_the_way_through_the_maze(goal: int, choice: int) -> None:
    env = TMaze(10)
    first, _ = env.reset(seed=signs()[goal])
    assert first.tolist() == [[0, 1, 1], [1, 1, 0]][goal == SOUTH]
    for step in range(1, 11):
        obs, reward, terminated, truncated, _ = env.step(EAST)
        assert (reward, terminated, truncated) == (0.0, False, False)
        assert obs.tolist() == ([1, 0, 1] if step < 10 else [0, 1, 0])
    assert env.step(EAST)[1:3] == (-0.1, False)  # the junction's far wall
    _, reward, terminated, truncated, _ = env.step(choice)
    assert (reward, terminated, truncated) == (4.0 if choice == goal else -0.1, True, False)


def test_walls_pay_and_the_sign_is_at_the_start_alone() -> None:
    env = TMaze(2)
    first, _ = env.reset(seed=0)
    for wall in (NORTH, SOUTH, WEST):
        obs, reward, over, _, _ = env.step(wall)
        assert np.array_equal(obs, first) and (reward, over) == (-0.1, False)
    obs, *_ = env.step(EAST)
    assert obs.tolist() == [1, 0, 1]
    obs, reward, *_ = env.step(WEST)
    assert np.array_equal(obs, first) and reward == 0.0
    with pytest.raises(ValueError, match="length must be at least 1, got 0"):
        TMaze(0)


def test_the_last_four_observations_at_the_junction_do_not_tell_the_goal() -> None:
    config = EnvConfig(name="tmaze", id="Prism/TMaze-v0", horizon=200)
    config.wrappers.frame_stack = 4
    env, seen = make_env(config, training=False), []
    for seed in signs().values():
        env.reset(seed=seed)
        seen.append([env.step(EAST)[0] for _ in range(10)])
    for t, (north, south) in enumerate(zip(*seen, strict=True), 1):
        assert np.array_equal(north, south) == (t >= 4)


def test_planners_are_not_told_what_is_hidden() -> None:
    spec = make_spec(EnvConfig(name="tmaze", id="Prism/TMaze-v0", horizon=200), 100)
    assert set(spec.extras) == {"environment"}


def test_positions_are_cartpoles_own() -> None:
    full, part = gymnasium.make("CartPole-v1"), gymnasium.make("Prism/CartPolePositions-v0")
    assert part.spec.max_episode_steps == full.spec.max_episode_steps
    assert part.observation_space.shape == (2,)
    for seed in range(3):
        (whole, _), (seen, _) = full.reset(seed=seed), part.reset(seed=seed)
        over = False
        while not over:
            assert np.array_equal(whole[[0, 2]], seen) and part.observation_space.contains(seen)
            action = int(full.np_random.integers(2))
            (whole, *ours), (seen, *theirs) = full.step(action), part.step(action)
            assert ours == theirs
            over = ours[1] or ours[2]
