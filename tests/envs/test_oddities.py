"""What breaks a rule of Gymnasium is told in one line, or does what it should."""

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from prism.algos.core.nets import InitStream
from prism.algos.core.torso import Torso, obs_scale, too_small
from prism.benchmark.envs import make, wrappers
from prism.benchmark.envs.config import EnvConfig, EnvWrappers
from prism.benchmark.envs.encoding import encoding
from prism.benchmark.envs.make import make_env, make_spec
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.plan.grid import sweep
from prism.benchmark.util.errors import ConfigError

HERE = "tests.envs.oddities"
BYTES = spaces.Box(0, 255, (3,), np.uint8)
PARTS = spaces.Dict(a=spaces.Discrete(2), b=spaces.Box(-1, 1, (2,)))


def odd(name: str, **changes: Any) -> EnvConfig:
    return EnvConfig(**{"name": "odd", "id": f"Oddities/{name}-v0", "imports": HERE} | changes)


def failure(config: EnvConfig, steps: int) -> str:
    """Return why the seed fails, which it must at this step and not before."""
    env = SeedVecEnv(config, (0,), 1)
    env.reset()
    for _ in range(steps):
        assert not env.failed
        env.step(np.zeros((1, 1), np.int64))
    assert list(env.failed) == [0] and "\n" not in env.failed[0]
    return env.failed[0]


@pytest.mark.parametrize(
    ("obs", "space", "told"),
    [
        (np.zeros(1, np.float32), None, "shape (1,), its space (3,)"),
        (np.float32(0.5), None, "shape (), its space (3,)"),
        (np.zeros((3, 1), np.float32), None, "shape (3, 1), its space (3,)"),
        (np.zeros(1), spaces.Box(-1, 1, (3,), np.float64), "shape (1,), its space Box"),
        (np.zeros(4), spaces.Box(-1, 1, (2, 2)), "shape (4,), its space Box"),
        (np.array([300, 0, 0]), BYTES, "holds 300, its space is Box(0, 255, (3,), uint8)"),
        (np.array([0, -5, 0]), BYTES, "holds -5, its space"),
        (np.array([0, 0, 2.7]), BYTES, "holds 2.7, its space"),
        (4, spaces.Discrete(4), "is 4, its space Discrete(4)"),
        (4, spaces.Discrete(4, start=5), "is 4, its space Discrete(4, start=5)"),
        (1.5, spaces.Discrete(4), "TypeError"),
        (np.array([0, 3]), spaces.MultiDiscrete([2, 3]), "is [0 3], its space"),
        (np.array([0]), spaces.MultiDiscrete([2, 3]), "shape (1,)"),
        ({"a": 1}, PARTS, "lacks one of its parts a, b"),
        (3, PARTS, "lacks one of its parts a, b"),
        (np.full(3, np.nan, np.float32), None, "observation is not finite"),
    ],
)
def test_an_observation_that_is_not_as_declared(obs: Any, space: Any, told: str) -> None:
    assert told in failure(odd("Says", kwargs={"obs": obs, "space": space}), 0)


@pytest.mark.parametrize("obs", [np.zeros(1, np.float32), np.float32(0), np.zeros((3, 3))])
def test_the_first_step_is_checked_too_in_every_episode(obs: Any) -> None:
    config = odd("Says", kwargs={"obs": obs, "at": 1})
    assert "the observation of the first step has shape" in failure(config, 1)


def test_integers_of_another_type_are_as_declared_where_they_fit() -> None:
    config = odd("Says", kwargs={"obs": np.array([255.0, 0, 3]), "space": BYTES})
    assert SeedVecEnv(config, (0,), 1).reset().tolist() == [[[255, 0, 3]]]


@pytest.mark.parametrize("shaped", [EnvWrappers(), EnvWrappers(reward_clip=1.0)], ids=str)
@pytest.mark.parametrize(
    ("pay", "told"),
    [
        (None, "the reward is 'None' (NoneType), not a number"),
        (np.ones(1), "the reward is '[1.]' (ndarray), not a number"),
        (np.ones(2), "the reward is '[1. 1.]' (ndarray), not a number"),
        ([1.0, 2.0], "the reward is '[1.0, 2.0]' (list), not a number"),
    ],
)
def test_a_reward_that_is_no_number(pay: Any, told: str, shaped: EnvWrappers) -> None:
    assert told in failure(odd("Says", kwargs={"pay": pay}, wrappers=shaped), 1)


@pytest.mark.parametrize("pay", [2, True, np.float32(2), np.array(2.0), torch.tensor(2.0)])
def test_a_reward_that_is_a_number(pay: Any) -> None:
    env = SeedVecEnv(odd("Says", kwargs={"pay": pay}), (0,), 1)
    env.reset()
    assert env.step(np.zeros((1, 1), np.int64)).reward == float(pay)


@pytest.mark.parametrize("pay", [1e39, -1e39])
def test_a_reward_beyond_float32_is_the_environments_fault(pay: float) -> None:
    with np.errstate(over="raise"):
        told = failure(odd("Says", kwargs={"pay": pay}), 1)
    assert told == f"the environment's reward {pay:g} does not fit into float32"
    scaled = odd("Says", kwargs={"pay": pay}, wrappers=EnvWrappers(reward_scale=1e-39))
    env = SeedVecEnv(scaled, (0,), 1)
    env.reset()
    assert env.step(np.zeros((1, 1), np.int64)).reward == np.float32(np.sign(pay))


def test_large_rewards_within_float32_are_none_of_it() -> None:
    env = SeedVecEnv(odd("Says", kwargs={"pay": 3e38}), (0,), 2)
    env.reset()
    for _ in range(4):
        assert (env.step(np.zeros((1, 2), np.int64)).reward == np.float32(3e38)).all()
    assert not env.failed


@pytest.mark.parametrize("fresh", [True, False])
def test_an_environment_that_cannot_be_closed(
    fresh: bool, caplog: pytest.LogCaptureFixture
) -> None:
    wrappers._report_close.cache_clear()
    config = odd("CloseRaises", fresh=fresh)
    make_spec(config, 10)
    env = SeedVecEnv(config, (0, 1), 2)
    for _ in range(12):
        env.begin()
        env.step(np.zeros((2, 2), np.int64))
    env.close()
    assert not env.failed and len(env.drain()[0]) == 4
    assert caplog.messages == ["CloseRaises.close() failed: not connected"]


def test_a_constructor_that_prints(capsys: pytest.CaptureFixture[str]) -> None:
    make._built.clear()
    env = SeedVecEnv(odd("Prints", fresh=True), (0, 1), 2)
    env.reset()
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("a constructor that prints") == 1


@pytest.mark.parametrize("how", ["exit", "raise"])
def test_a_constructor_that_raises(how: str) -> None:
    with pytest.raises(ConfigError, match=r"^env\.id: Oddities/Raises-v0 .* built: no licence$"):
        make_spec(odd("Raises", kwargs={"how": how}), 10)


def test_many_states_take_no_memory_that_grows_with_their_square() -> None:
    tracemalloc.start()
    env = SeedVecEnv(odd("Many"), (0,), 3)
    obs = env.reset()
    step = env.step(np.zeros((1, 3), np.int64))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert obs.shape == (1, 3, 60_000) and (obs.argmax(-1) == 59_999).all()
    assert (step.next_obs.argmax(-1) == 59_998).all() and (step.next_obs.sum(-1) == 1).all()
    assert peak < 50e6


def planned(*words: str) -> Any:
    (job,) = sweep(("algo=dqn", "env=gym", *words)).jobs
    return job


def test_an_id_with_its_module_is_that_id_and_imports() -> None:
    named = planned(f"env.id={HERE}:Oddities/Many-v0")
    imported = planned("env.id=Oddities/Many-v0", f"env.imports={HERE}")
    assert named.spec == imported.spec and named.run_ids == imported.run_ids
    assert (named.spec.env.name, named.spec.env.imports) == ("Oddities/Many-v0", HERE)
    both = planned(f"env.id={HERE}:Oddities/Many-v0", f"env.imports={HERE}")
    assert both.run_ids == named.run_ids


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["env.id=nowhere_at_all:X-v0"], r"^env\.imports: No module named 'nowhere_at_all'"),
        ([f"env.id={HERE}:Oddities/Mani-v0"], r"^env\.id: unknown 'Oddities/Mani-v0'; nearest: O"),
        ([f"env.id={HERE}:Oddities/Many-v0", "env.imports=os"], r"^env\.id: .* disagree"),
        (["env.id=Ärger+v0 x"], r"^cannot read 'env\.id=Ärger\+v0 x'"),
    ],
)
def test_mistakes_in_an_id(words: list[str], told: str) -> None:
    with pytest.raises(ConfigError, match=told) as caught:
        planned(*words)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("word", ["Oddities/Größe-v0", "'Oddities/Größe-v0'"])
def test_letters_beyond_ascii_need_no_quotes(word: str) -> None:
    assert planned(f"env.id={word}", f"env.imports={HERE}").spec.env.id == "Oddities/Größe-v0"


def test_swept_letters_beyond_ascii() -> None:
    words = ("algo=dqn", "env=gym", f"env.imports={HERE}", "env.id=Oddities/Größe-v0,CartPole-v1")
    assert [job.spec.env.id for job in sweep(words).jobs] == ["Oddities/Größe-v0", "CartPole-v1"]


@pytest.mark.parametrize(
    ("space", "by"),
    [
        (spaces.Box(0, 255, (3, 9, 9), np.uint8), 255),
        (spaces.Box(0, 10, (3, 9, 9), np.uint8), 10),
        (spaces.Box(0, 1, (3, 9, 9), np.bool_), 1),
        (spaces.Box(0, 1, (9, 9, 3), np.float32), 1),
        (spaces.Box(0, 255, (9, 9, 3), np.float32), 255),
        (spaces.Box(0, 65535, (9, 9, 3), np.uint16), 65535),
        (spaces.Box(-128, 127, (3, 9, 9), np.int8), 128),
        (spaces.Box(-np.inf, np.inf, (3, 9, 9), np.float64), 1),
        (spaces.Box(0, 255, (2, 9, 9, 3), np.uint8), 255),
        (spaces.Box(0, 255, (3,), np.uint8), 1),
    ],
)
def test_convolutions_see_images_between_minus_one_and_one(space: spaces.Box, by: float) -> None:
    encode, encoded = encoding(space)
    assert obs_scale(encoded) == by
    if len(space.shape) > 1:
        channels, height, width = encoded.shape
        assert (height, width) == (9, 9)
        torso = Torso(InitStream([0]), encoded.shape, [4], [(2, 3, 1)], obs_scale=by)
        obs = torch.from_numpy(np.array(encode(space.high)))
        assert torso(obs[None, None]).shape == (1, 1, 4)
        assert torso.convs[0].weight.shape[-3] == channels


@pytest.mark.parametrize(
    ("shape", "conv", "fits"),
    [
        ((3, 3, 3), [[16, 3, 1]], True),
        ((3, 3, 2), [[16, 3, 1]], False),
        ((4, 84, 84), [[32, 8, 4], [64, 4, 2], [64, 3, 1]], True),
        ((4, 35, 84), [[32, 8, 4], [64, 4, 2], [64, 3, 1]], False),
        ((2,), [[16, 3, 1]], True),
        ((3, 2, 2), [], True),
    ],
)
def test_convolutions_that_do_not_fit_are_told_before(
    shape: tuple[int, ...], conv: Any, fits: bool
) -> None:
    space = spaces.Box(0, 1, shape)
    assert (too_small(space, conv) is None) == fits
    if fits:
        Torso(InitStream([0]), shape, [4], conv)
    else:
        assert too_small(space, conv) == f"conv={conv} does not fit on images {shape}"
        with pytest.raises((ZeroDivisionError, RuntimeError)):
            Torso(InitStream([0]), shape, [4], conv)(torch.zeros(1, 1, *shape))


def image(**more: Any) -> Callable[[spaces.Space], tuple[int, ...]]:
    return lambda space: encoding(space, **more)[1].shape


def test_a_layout_is_set_where_a_shape_does_not_tell_it() -> None:
    cube = spaces.Box(0, 255, (6, 6, 6), np.uint8)
    with pytest.raises(ConfigError, match=r"^env\.wrappers\.image: .*channels_first.*vector$"):
        encoding(cube)
    assert image(image="channels_last")(cube) == (6, 6, 6)
    assert image(image="vector")(cube) == (216,)
    assert image(hint="channels_first")(cube) == (6, 6, 6)
    tall = spaces.Box(0, 255, (8, 8, 12), np.uint8)
    assert image(image="channels_last")(tall) == (12, 8, 8)
    assert image(hint="channels_last")(spaces.Box(0, 255, (3, 8, 8), np.uint8)) == (3, 8, 8)
    with pytest.raises(ConfigError, match=r"^env\.wrappers\.image: .* are no images$"):
        encoding(spaces.Discrete(4), "channels_last")


def test_minatar_says_its_layout() -> None:
    env = make_env(EnvConfig(id="Prism/MinAtarSeaquest-v0"), training=False)
    assert env.observation_space.shape == (10, 10, 10)
    assert np.array_equal(env.reset(seed=3)[0], env.unwrapped.reset(seed=3)[0])
