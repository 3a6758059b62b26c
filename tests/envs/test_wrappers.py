"""The wrappers' formulas, each against its definition."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec

from prism.benchmark.envs.actions import FromZero
from prism.benchmark.envs.config import EnvConfig, EnvWrappers
from prism.benchmark.envs.encoding import Encode
from prism.benchmark.envs.make import make_env
from prism.benchmark.envs.shaping import POTENTIALS
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.envs.wrappers import TrainingReward

VECTOR = spaces.Box(0, 9, (2,))


class Scripted(gymnasium.Env):
    """Says what it is told to; remembers what it was sent."""

    def __init__(self, observations, rewards, action_space, observation_space, terminated=True):
        self.observations, self.rewards, self.terminated = observations, rewards, terminated
        self.action_space, self.observation_space = action_space, observation_space
        self.sent, self.state = [], None

    def reset(self, *, seed=None, options=None):
        self.t, self.state = 0, self.observations[0]
        return self.state, {}

    def step(self, action):
        self.sent.append(action)
        self.t += 1
        self.state = self.observations[self.t]
        last = self.t == len(self.rewards)
        over = last and self.terminated, last and not self.terminated
        return self.state, self.rewards[self.t - 1], *over, {"theirs": 1}


def rewards_of(wrappers, rewards, *, gamma=0.9, terminated=True, observations=None):
    numbers = observations or [np.array([float(i)], np.float32) for i in range(len(rewards) + 1)]
    env = Scripted(numbers, rewards, spaces.Discrete(2), spaces.Box(0, 9, (1,)), terminated)
    env = TrainingReward(env, wrappers, gamma)
    env.reset()
    steps = [env.step(0) for _ in rewards]
    assert [step[4] for step in steps] == [{"theirs": 1, "raw_reward": r} for r in rewards]
    return [step[1] for step in steps]


def test_scale_and_clip():
    assert rewards_of(EnvWrappers(reward_scale=0.5), [1.0, -3.0]) == [0.5, -1.5]
    assert rewards_of(EnvWrappers(reward_clip=2.0), [1.0, -3.0, 5.0]) == [1.0, -2.0, 2.0]
    assert rewards_of(EnvWrappers(reward_clip=2.0, reward_scale=10), [-3.0]) == [-20.0]


@pytest.mark.parametrize("terminated", [True, False])
def test_delay_pays_the_return_at_the_end(terminated):
    wrappers = EnvWrappers(delay_reward=True)
    assert rewards_of(wrappers, [1.0, 2.0, 4.0], terminated=terminated) == [0.0, 0.0, 7.0]


@pytest.mark.parametrize("terminated", [True, False])
def test_shaping_telescopes(terminated, monkeypatch):
    """The discounted sum of F is gamma^T Phi(s_T) - Phi(s_0), with Phi(terminal) = 0."""
    potential = POTENTIALS["cartpole"]._replace(of=lambda env: 3.0 + float(env.state[0]))
    monkeypatch.setitem(POTENTIALS, "cartpole", potential)
    wrappers, gamma = EnvWrappers(shaping="cartpole"), 0.9
    shaped = rewards_of(wrappers, [1.0, 1.0, 1.0], gamma=gamma, terminated=terminated)
    phi = [3.0, 4.0, 5.0, 0.0 if terminated else 6.0]
    expected = [1.0 + gamma * phi[t + 1] - phi[t] for t in range(3)]
    assert shaped == pytest.approx(expected)
    total = sum(gamma**t * (r - 1.0) for t, r in enumerate(shaped))
    assert total == pytest.approx(gamma**3 * phi[3] - phi[0])


def test_shaping_comes_after_scale():
    wrappers = EnvWrappers(shaping="mountaincar", reward_scale=0.1)
    env = make_env(EnvConfig(id="MountainCar-v0", wrappers=wrappers), gamma=0.5, training=True)
    env.reset(seed=0)
    of = POTENTIALS["mountaincar"].of
    before = of(env.unwrapped)
    reward = env.step(2)[1]
    assert reward == pytest.approx(-0.1 + 0.5 * of(env.unwrapped) - before)


@pytest.mark.parametrize(
    ("name", "env_id", "worse", "better"),
    [
        ("cartpole", "CartPole-v1", (1.0, 0, 0.1, 0), (0.0, 0, 0.0, 0)),
        ("mountaincar", "MountainCar-v0", (-0.5, 0.0), (-0.5, 0.05)),
        ("mountaincar", "MountainCarContinuous-v0", (-0.5, 0.0), (0.4, 0.0)),
        ("acrobot", "Acrobot-v1", (0.0, 0, 0, 0), (np.pi, 0, 0, 0)),
        ("pendulum", "Pendulum-v1", (np.pi, 0), (0.0, 0)),
        ("grid", "FrozenLake-v1", 0, 14),
        ("grid", "FrozenLake8x8-v1", 0, 62),
        ("grid", "CliffWalking-v1", 0, 35),
    ],
)
def test_potentials_rise_towards_the_goal(name, env_id, worse, better):
    env = make_env(EnvConfig(id=env_id), training=False).unwrapped
    env.reset(seed=0)
    values = []
    for state in (worse, better):
        setattr(env, "s" if name == "grid" else "state", state)
        values.append(POTENTIALS[name].of(env))
    assert values[0] < values[1]
    assert env.spec.name in POTENTIALS[name].environments


def test_evaluation_sees_raw_rewards():
    wrappers = EnvWrappers(reward_scale=5.0, delay_reward=True, shaping="cartpole")
    env = make_env(EnvConfig(id="CartPole-v1", wrappers=wrappers), training=False)
    env.reset(seed=0)
    assert env.step(0)[1] == 1.0


def test_history_holds_observations_and_actions():
    config = EnvConfig(id="CartPole-v1", wrappers=EnvWrappers(history=3))
    env, plain = (
        make_env(config, training=False),
        make_env(EnvConfig(id="CartPole-v1"), training=False),
    )
    seen, (first, _) = [plain.reset(seed=1)[0]], env.reset(seed=1)
    nothing, none = np.zeros(4), np.zeros(2)
    np.testing.assert_array_equal(first, np.concatenate([nothing, nothing, seen[0], none, none]))
    actions = [1, 0, 1]
    for action in actions:
        seen.append(plain.step(action)[0])
        view = env.step(action)[0]
    one_hot = np.eye(2)
    np.testing.assert_array_equal(view, np.concatenate([*seen[-3:], one_hot[0], one_hot[1]]))
    assert env.observation_space.shape == view.shape == (3 * 4 + 2 * 2,)
    np.testing.assert_array_equal(env.reset(seed=1)[0], first)


def test_history_of_continuous_actions():
    env = make_env(EnvConfig(id="Pendulum-v1", wrappers=EnvWrappers(history=2)), training=False)
    env.reset(seed=0)
    assert env.step(np.array([0.5], np.float32))[0][-1] == 0.5


class InPlace(gymnasium.Env):
    """Counts its steps in one array, which it returns every time."""

    observation_space, action_space = spaces.Box(0, 9, (1,)), spaces.Discrete(2)

    def __init__(self):
        self.count = np.zeros(1, np.float32)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.count[:] = 0
        return self.count, {}

    def step(self, action):
        self.count += 1
        return self.count, 1.0, False, False, {}


@pytest.mark.parametrize(
    ("wrappers", "shown"),
    [
        (EnvWrappers(), [[0], [1], [2], [3]]),
        (EnvWrappers(frame_stack=3), [[0, 0, 0], [0, 0, 1], [0, 1, 2], [1, 2, 3]]),
        (
            EnvWrappers(history=2),
            [[0, 0, 0, 0], [0, 1, 1, 0], [1, 2, 1, 0], [2, 3, 1, 0]],
        ),
    ],
    ids=["plain", "stack", "history"],
)
def test_an_environment_may_reuse_its_array(wrappers, shown, monkeypatch):
    monkeypatch.setitem(gymnasium.registry, "Test/InPlace-v0", EnvSpec("Test/InPlace-v0", InPlace))
    config = EnvConfig(id="Test/InPlace-v0", wrappers=wrappers)
    env = SeedVecEnv(config, (0,), 1)
    seen = [env.reset()]
    for _ in range(3):
        seen.append(env.step(np.zeros((1, 1), np.int64)).next_obs)
    assert [list(obs[0, 0]) for obs in seen] == shown


def test_frame_stack():
    config = EnvConfig(id="Prism/MinAtarBreakout-v0", wrappers=EnvWrappers(frame_stack=2))
    env = make_env(config, training=False)
    first = env.reset(seed=0)[0]
    assert env.observation_space.shape == first.shape == (8, 10, 10)
    assert first.dtype == env.observation_space.dtype == np.bool_
    np.testing.assert_array_equal(first[:4], first[4:])
    second = env.step(1)[0]
    np.testing.assert_array_equal(second[:4], first[4:])
    assert not np.array_equal(second[4:], second[:4])


@pytest.mark.parametrize(
    ("space", "value", "expected"),
    [
        (spaces.Discrete(4), 2, [0, 0, 1, 0]),
        (spaces.Discrete(3, start=5), 5, [1, 0, 0]),
        (spaces.MultiDiscrete([2, 3]), np.array([1, 0]), [0, 1, 1, 0, 0]),
        (spaces.Tuple([spaces.Discrete(2), VECTOR]), (1, np.array([3, 4])), [0, 1, 3, 4]),
        (spaces.Dict(a=spaces.Discrete(2), b=VECTOR), {"a": 0, "b": np.ones(2)}, [1, 0, 1, 1]),
        (spaces.Box(-1, 1, (3,), np.float64), np.array([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3]),
        (spaces.Box(0, 255, (4,), np.uint8), np.arange(4, dtype=np.uint8), [0, 1, 2, 3]),
        (spaces.Box(0, 9, (2, 2)), np.array([[1, 2], [3, 4]], np.float32), [1, 2, 3, 4]),
    ],
)
def test_observations_become_vectors(space, value, expected):
    env = Encode(Scripted([value], [], spaces.Discrete(2), space))
    obs, _ = env.reset()
    np.testing.assert_array_equal(obs, np.array(expected, np.float32))
    assert obs.dtype == env.observation_space.dtype == np.float32
    assert env.observation_space.contains(obs)


@pytest.mark.parametrize(("shape", "image"), [((84, 84), (1, 84, 84)), ((84, 80, 3), (3, 84, 80))])
def test_images_are_channel_first(shape, image):
    frame = np.random.default_rng(0).integers(256, size=shape, dtype=np.uint8)
    env = Encode(Scripted([frame], [], spaces.Discrete(2), spaces.Box(0, 255, shape, np.uint8)))
    obs, _ = env.reset()
    assert obs.shape == env.observation_space.shape == image
    assert obs.dtype == np.uint8
    assert obs[0, 3, 4] == (frame[3, 4] if len(shape) == 2 else frame[3, 4, 0])


def test_actions_count_from_zero():
    inner = Scripted(np.zeros((2, 1)), [0.0], spaces.Discrete(3, start=7), spaces.Box(0, 1, (1,)))
    env = FromZero(inner)
    env.reset()
    env.step(0)
    assert inner.sent == [7]
    assert env.action_space == spaces.Discrete(3)


def test_continuous_actions_are_cut_but_the_space_is_the_environments_own():
    env = make_env(EnvConfig(id="Pendulum-v1"), training=False)
    assert env.action_space == spaces.Box(-2.0, 2.0, (1,), np.float32)
    outcomes = []
    for action in (2.0, 50.0):
        env.reset(seed=0)
        outcomes.append(env.step(np.array([action], np.float32))[:2])
    np.testing.assert_array_equal(outcomes[0][0], outcomes[1][0])
    assert outcomes[0][1] == outcomes[1][1]
