"""SeedVecEnv: true successors, accounting, resets, seeds apart, failures, and replayed states."""

import io

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces

from prism.benchmark.envs.config import EnvConfig, EnvWrappers
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.util.errors import ConfigError


class Counting(gymnasium.Env):
    """Observes (start, steps so far), pays the step's number, ends after 2 + start % 3 steps."""

    def __init__(self, cut=False):
        self.observation_space = spaces.Box(0, 2**31, (2,), np.float64)
        self.action_space = spaces.Discrete(3)
        self.cut = cut

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.start, self.t = int(self.np_random.integers(1000)), 0
        return self.observe(), {}

    def observe(self):
        return np.array([self.start, self.t], np.float64)

    def step(self, action):
        self.t += 1
        over = self.t == 2 + self.start % 3
        return self.observe(), float(self.t), over and not self.cut, over and self.cut, {}


gymnasium.register("Test/Counting-v0", Counting)


def config_of(env_id="Test/Counting-v0", **changes):
    return EnvConfig(name="test", id=env_id, **changes)


def actions_for(env, seed=0):
    """An endless stream of random actions, the same for a seed whatever its company."""
    streams = [np.random.default_rng([s, seed]) for s in env.seeds]
    space, n = env.action_space, env.lanes
    while True:
        if isinstance(space, spaces.Box):
            yield np.stack(
                [g.uniform(-2, 2, (n, *space.shape)).astype(np.float32) for g in streams]
            )
        else:
            yield np.stack([g.integers(space.n, size=n) for g in streams])


def run(env, ticks, actions=None):
    """Step; returns what was acted on and what came of it, per tick."""
    actions = actions or actions_for(env)
    rows = []
    for _ in range(ticks):
        obs = env.begin()
        rows.append((obs, *env.step(next(actions))))
    return rows


def equal(left, right):
    return all(
        np.array_equal(a, b)
        for x, y in zip(left, right, strict=True)
        for a, b in zip(x, y, strict=True)
    )


@pytest.mark.parametrize("cut", [True, False])
def test_successors_are_true_and_episodes_are_counted(cut):
    env = SeedVecEnv(config_of(kwargs={"cut": cut}), (3, 11), 3)
    expected = [[], []]
    for obs, next_obs, reward, terminated, truncated, valid in run(env, 60):
        assert valid.all()
        np.testing.assert_array_equal(next_obs[..., 0], obs[..., 0])
        np.testing.assert_array_equal(next_obs[..., 1], obs[..., 1] + 1)
        np.testing.assert_array_equal(reward, next_obs[..., 1])
        over = next_obs[..., 1] == 2 + next_obs[..., 0] % 3
        np.testing.assert_array_equal(truncated if cut else terminated, over)
        assert not (terminated if cut else truncated).any()
        for k, n in np.argwhere(over):
            length = int(next_obs[k, n, 1])
            expected[k].append((length * (length + 1) / 2, length))
    assert env.drain() == expected
    assert env.drain() == [[], []]
    assert all(len(episodes) > 30 for episodes in expected)


def test_begin_starts_ended_lanes_only_and_leaves_the_successors_alone():
    env = SeedVecEnv(config_of(), (1,), 8)
    env.reset()
    ended = 0
    for action in (action for action, _ in zip(actions_for(env), range(12), strict=False)):
        step = env.step(action)
        kept = step.next_obs.copy()
        obs = env.begin()
        over = step.terminated | step.truncated
        np.testing.assert_array_equal(step.next_obs, kept)
        np.testing.assert_array_equal(obs[over][:, 1], 0)
        np.testing.assert_array_equal(obs[~over], step.next_obs[~over])
        assert (obs is step.next_obs) == (not over.any())
        assert env.begin() is obs
        ended += int(over.sum())
    assert ended > 20


def test_time_limit_truncates_and_termination_wins():
    for horizon, length in ((1, 1), (50, 5)):
        config = config_of("Prism/ConstantTerminated-v0", kwargs={"T": 5}, horizon=horizon)
        env = SeedVecEnv(config, (0,), 1)
        last = run(env, length)[-1]
        assert (bool(last[3]), bool(last[4])) == ((False, True) if horizon == 1 else (True, False))
    both = SeedVecEnv(config_of("Prism/ConstantTerminated-v0", horizon=5), (0,), 1)
    assert [bool(flag) for flag in run(both, 5)[-1][3:5]] == [True, False]


def test_wait_holds_ended_lanes_until_all_have_ended():
    env = SeedVecEnv(config_of(), (5, 6), 4, reset="wait")
    over = np.zeros((2, 4), bool)
    for obs, next_obs, reward, terminated, truncated, valid in run(env, 80):
        over[over.all(1)] = False
        assert (obs[~over.any(1)][..., 1] == obs[~over.any(1)][:, :1, 1]).all()  # started together
        np.testing.assert_array_equal(valid, ~over)
        np.testing.assert_array_equal(next_obs[over], obs[over])
        assert not reward[over].any()
        assert not (terminated | truncated)[over].any()
        over |= terminated | truncated
    assert min(len(episodes) for episodes in env.drain()) > 40


def test_shared_starts_the_lanes_of_a_seed_from_one_state():
    starts = {mode: [] for mode in ("wait", "shared")}
    for mode, found in starts.items():
        for obs, *_ in run(SeedVecEnv(config_of(), (5, 6), 4, reset=mode), 40):
            found += [row[:, 0] for row in obs if not row[:, 1].any()]
    assert all(len(set(row)) == 1 for row in starts["shared"])
    assert len({row[0] for row in starts["shared"]}) > 10
    assert all(len(set(row)) > 1 for row in starts["wait"])


@pytest.mark.parametrize("mode", ["each", "wait", "shared"])
@pytest.mark.parametrize("env_id", ["Test/Counting-v0", "Pendulum-v1", "Prism/MinAtarAsterix-v0"])
def test_a_seed_lives_as_if_alone(env_id, mode):
    config = config_of(env_id, horizon=30)
    together = run(SeedVecEnv(config, (3, 11, 42), 2, reset=mode), 100)
    alone = run(SeedVecEnv(config, (11,), 2, reset=mode), 100)
    assert equal([tuple(part[1:2] for part in row) for row in together], alone)


def test_seeds_lanes_and_purposes_differ():
    first = [
        SeedVecEnv(config_of("CartPole-v1"), (0, 1), 2, purpose=purpose).reset()
        for purpose in ("env", "eval")
    ]
    starts = np.stack(first).reshape(8, 4)
    assert len(np.unique(starts, axis=0)) == 8


def test_reset_starts_over():
    env = SeedVecEnv(config_of(), (1, 2), 2)
    first = run(env, 30)
    env.reset()
    assert env.drain() == [[], []]
    assert equal(first, run(env, 30))


def test_an_environment_that_raises_ends_its_seed_alone():
    def broken(seeds):
        config = config_of("Prism/Raises-v0", kwargs={"n": 3, "every": 2, "T": 5})
        env = SeedVecEnv(config, seeds, 1)
        return env, run(env, 40)

    env, rows = broken(range(6))
    failed_at = {k: [bool(row[5][k].any()) for row in rows].index(False) for k in env.failed}
    assert set(env.failed.values()) == {"RuntimeError: broke at step 3"}
    assert len(set(failed_at.values())) > 1
    for k, tick in failed_at.items():
        for t, (obs, next_obs, reward, terminated, truncated, valid) in enumerate(rows):
            assert valid[k].all() == (t < tick)
            if t >= tick:
                np.testing.assert_array_equal(next_obs[k], obs[k])
                assert not (reward[k].any() or terminated[k].any() or truncated[k].any())
        alone, row = broken([k])
        assert alone.failed == {0: env.failed[k]}
        assert equal([tuple(part[k : k + 1] for part in x) for x in rows], row)


def test_lanes_of_a_failed_seed_stop_together():
    env = SeedVecEnv(config_of("Prism/Raises-v0", kwargs={"every": 2}), (0, 1), 3)
    rows = run(env, 30)
    assert sorted(env.failed) == [0, 1]
    for row in rows:
        assert (row[5] == row[5][:, :1]).all()


@pytest.mark.parametrize("where", ["obs", "reward"])
@pytest.mark.parametrize("delay", [False, True])
def test_a_number_that_is_not_finite_ends_its_seed(where, delay):
    wrappers = EnvWrappers(delay_reward=delay)
    env = SeedVecEnv(
        config_of("Prism/NaN-v0", kwargs={"n": 3, "where": where}, wrappers=wrappers), (0,), 2
    )
    rows = run(env, 5)
    assert [bool(row[5].all()) for row in rows] == [True, True, False, False, False]
    assert "not finite" in env.failed[0]
    assert all(np.isfinite(part).all() for row in rows for part in row)


def test_an_action_that_is_not_finite_ends_its_seed():
    env = SeedVecEnv(config_of("Pendulum-v1"), (0, 1), 1)
    env.reset()
    step = env.step(np.array([[[np.nan]], [[0.0]]], np.float32))
    assert env.failed == {0: "the agent's action is not finite"}
    assert step.valid.tolist() == [[False], [True]]
    assert np.isfinite(step.next_obs).all()


def test_fail_ends_a_seed_and_leaves_the_others():
    env, other = (SeedVecEnv(config_of(), (1, 2), 2) for _ in range(2))
    run(env, 10)
    whole = run(other, 20)[10:]
    env.fail(0, "diverged")
    actions = actions_for(env)
    for _ in range(10):
        next(actions)
    rows = run(env, 10, actions)
    assert env.failed == {0: "diverged"}
    assert not any(row[5][0].any() for row in rows)
    assert equal(
        [tuple(p[1:] for p in row) for row in rows], [tuple(p[1:] for p in x) for x in whole]
    )


SHAPED = EnvWrappers(history=2, shaping="cartpole", reward_scale=0.5, delay_reward=True)
CASES = {
    "counting": config_of(),
    "shaped": config_of("CartPole-v1", wrappers=SHAPED),
    "continuous": config_of("Pendulum-v1", horizon=40),
    "images": config_of("Prism/MinAtarSpaceInvaders-v0", wrappers=EnvWrappers(frame_stack=2)),
    "rebuilt": config_of("BipedalWalker-v3", fresh=True, horizon=60),
    "all fail": config_of("Prism/Raises-v0", kwargs={"every": 2}),
    "one fails": config_of("Prism/Raises-v0", kwargs={"every": 44}),
}


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize("mode", ["each", "wait", "shared"])
@pytest.mark.parametrize("case", CASES)
def test_state_is_continued_to_the_bit(case, mode):
    def make(seeds=(3, 11)):
        return SeedVecEnv(CASES[case], seeds, 2, gamma=0.9, reset=mode)

    whole = make()
    actions = actions_for(whole)
    run(whole, 77, actions)
    rest_actions = [next(actions) for _ in range(40)]
    state = through_a_file(whole.state())
    rest = run(whole, 40, iter(rest_actions))
    final, drained = whole.state(), whole.drain()

    loaded = make()
    loaded.load(state)
    assert equal(rest, run(loaded, 40, iter(rest_actions)))
    assert loaded.failed == whole.failed
    assert len(loaded.failed) == {"one fails": 1, "all fail": 2}.get(case, 0)
    assert all(torch.equal(tensor, final[name]) for name, tensor in loaded.state().items())
    assert loaded.drain() == drained

    one = make((11,))
    one.load({name: tensor[1:2] for name, tensor in state.items()})
    mine = run(one, 40, iter(action[1:2] for action in rest_actions))
    assert equal([tuple(part[1:2] for part in row) for row in rest], mine)
    assert one.drain() == drained[1:]


def test_a_state_before_the_first_episode():
    env, other = (SeedVecEnv(config_of(), (1, 2), 2) for _ in range(2))
    other.load(env.state())
    assert equal(run(env, 10), run(other, 10))


def test_long_episodes_and_forgotten_ones_survive():
    """The action log both grows and is cut; what it keeps is what replay needs."""
    env = SeedVecEnv(config_of("Prism/ConstantTruncated-v0", kwargs={"T": 2500}), (1,), 1)
    run(env, 5 * 2500 + 1700)
    again = SeedVecEnv(config_of("Prism/ConstantTruncated-v0", kwargs={"T": 2500}), (1,), 1)
    again.load(env.state())
    assert equal(run(env, 1000), run(again, 1000))
    assert env.state()["actions"].shape == (1, 1, 200)
    assert len(env._log._rows) <= 4096


def test_an_environment_that_does_not_repeat_itself_is_refused():
    used = SeedVecEnv(config_of("BipedalWalker-v3", horizon=60), (0,), 1)
    run(used, 150)
    with pytest.raises(ConfigError, match=r"env\.fresh"):
        SeedVecEnv(config_of("BipedalWalker-v3", horizon=60), (0,), 1).load(used.state())


def test_returns_are_raw_whatever_the_agent_is_paid():
    wrappers = EnvWrappers(reward_scale=3.0, reward_clip=0.5, delay_reward=True)
    plain, wrapped = (
        SeedVecEnv(config_of("CartPole-v1", wrappers=w), (0,), 2) for w in (EnvWrappers(), wrappers)
    )
    paid = run(wrapped, 200)
    run(plain, 200)
    episodes = wrapped.drain()
    assert episodes == plain.drain()
    assert all(total == length for total, length in episodes[0])
    ends = np.concatenate([(row[3] | row[4])[0] for row in paid])
    rewards = np.concatenate([row[2][0] for row in paid])
    assert not rewards[~ends].any()
    np.testing.assert_allclose(rewards[ends], [1.5 * length for _, length in episodes[0]])


def test_steps_equal_those_of_a_plain_environment():
    env, plain = SeedVecEnv(config_of("Acrobot-v1"), (4,), 1), gymnasium.make("Acrobot-v1")
    np.testing.assert_array_equal(env.reset()[0, 0], plain.reset(seed=env._seed_of(0))[0])
    actions = actions_for(env)
    for action in (next(actions) for _ in range(200)):
        step, (obs, reward, *_) = env.step(action), plain.step(int(action[0, 0]))
        np.testing.assert_array_equal(step.next_obs[0, 0], obs)
        assert step.reward[0, 0] == reward
