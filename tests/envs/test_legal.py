"""Masks from an environment's info to behind its observations, and actions of several numbers."""

from typing import Any, ClassVar

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.legal import Masked
from prism.benchmark.envs.make import make_env, make_spec
from prism.benchmark.envs.table import TableVecEnv, vector_env
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.util.errors import ConfigError

TAXI: dict[str, Any] = {"name": "taxi", "id": "Taxi-v4", "masks": True}


class Told(gymnasium.Env):
    """Shows zeros, says what it is told to say, and keeps its last action."""

    taken: ClassVar[list[Any]] = []

    def __init__(self, actions: Any = None, mask: Any = None, ends: bool = False) -> None:
        self.action_space, self.mask, self.ends = actions, mask, ends
        self.observation_space = spaces.Box(-1.0, 1.0, (2,))

    def _info(self) -> dict[str, Any]:
        return {} if self.mask is None else {"action_mask": self.mask}

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), self._info()

    def step(self, action: Any) -> Any:
        self.taken.append(action)
        return np.zeros(2, np.float32), 0.0, self.ends, False, self._info()


def make_told(**kwargs: Any) -> Told:
    return Told(**kwargs)


gymnasium.register("Prism/told-v0", make_told, max_episode_steps=5)


def told(**kwargs: Any) -> EnvConfig:
    masks = kwargs.pop("masks", False)
    return EnvConfig(name="told", id="Prism/told-v0", kwargs=kwargs, masks=masks)


def test_taxi_says_what_is_legal_in_its_table_and_alone() -> None:
    table = vector_env(EnvConfig(**TAXI), (0,), 2)
    alone = SeedVecEnv(EnvConfig(**TAXI), (0,), 2)
    assert isinstance(table, TableVecEnv) and table.obs_space == alone.obs_space
    bare: Any = gymnasium.make("Taxi-v4").unwrapped
    rng = np.random.default_rng(0)
    for env in (table, alone):
        obs = env.begin()
        for _ in range(300):
            state, mask = obs[..., :500].argmax(-1), obs[..., 500:]
            for s, m in zip(state.ravel(), mask.reshape(-1, 6), strict=True):
                assert np.array_equal(m, bare.action_mask(int(s)))
            action = np.array([[rng.choice(np.flatnonzero(m)) for m in mask[0]]])
            env.step(action)
            obs = env.begin()
        env.close()
    spec = make_spec(EnvConfig(**TAXI), 10)
    assert spec.legal == 6 and spec.obs_space.shape == (506,)
    assert spec.extras["model"].legal.shape == (500, 6)


def test_without_masks_nothing_changes() -> None:
    spec = make_spec(EnvConfig(name="taxi", id="Taxi-v4"), 10)
    assert spec.legal == 0 and spec.obs_space.shape == (500,)
    assert spec.extras["model"].legal is None


def test_a_textbook_model_says_it_in_both_forms() -> None:
    config = EnvConfig(name="bias", id="Prism/MaximisationBias-v0", masks=True, ends=True)
    obs, _ = make_env(config, training=True).reset(seed=0)
    table = vector_env(config, (0,), 1)
    assert isinstance(table, TableVecEnv)
    assert np.array_equal(table.begin()[0, 0], obs)


def test_a_mask_of_an_image_is_a_plane() -> None:
    class Image(Told):
        def __init__(self) -> None:
            super().__init__(spaces.Discrete(3), np.array([0, 1, 1], np.int8))
            self.observation_space = spaces.Box(0, 1, (2, 2, 2), np.bool_)

        def reset(self, *, seed: Any = None, options: Any = None) -> Any:
            return np.ones((2, 2, 2), np.bool_), self._info()

    env = Masked(Image(), spaces.Discrete(3))
    obs, _ = env.reset()
    assert env.observation_space.contains(obs) and obs.shape == (3, 2, 2)
    assert obs[2].ravel().tolist() == [False, True, True, False]


def test_masks_of_several_numbers() -> None:
    nested = (np.array([1, 0], np.int8), np.array([1, 1, 0], np.int8))
    env = make_env(
        told(actions=spaces.MultiDiscrete([2, 3]), mask=nested, masks=True), training=True
    )
    assert env.reset()[0].tolist() == [0, 0, 1, 0, 1, 1, 0]
    bits = np.array([1, 0], np.int8)  # the second one must be 0
    env = make_env(told(actions=spaces.MultiBinary(2), mask=bits, masks=True), training=True)
    assert env.reset()[0].tolist() == [0, 0, 1, 1, 1, 0]


def test_behind_a_termination_all_is_legal() -> None:
    config = told(actions=spaces.Discrete(2), mask=np.zeros(2, np.int8), ends=True, masks=True)
    env = make_env(config, training=True)
    with pytest.raises(ValueError, match="leaves no legal action"):
        env.reset()
    assert env.step(0)[0].tolist() == [0, 0, 1, 1]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"actions": spaces.Discrete(2)}, "has no action_mask"),
        ({"actions": spaces.Discrete(2), "mask": np.ones(3)}, "has 3 numbers, not 2"),
        ({"actions": spaces.Box(-1, 1, (2,)), "mask": np.ones(2)}, "masks are of discrete"),
    ],
)
def test_bad_masks_are_one_line(kwargs: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as error:
        make_spec(told(**kwargs, masks=True), 10)
    assert str(error.value).startswith("env.masks: ") and "\n" not in str(error.value)


ROWS: dict[str, tuple[spaces.Space, list[int], list[Any]]] = {
    "bits": (spaces.MultiBinary(3), [1, 0, 1], [1, 0, 1]),
    "bits in a matrix": (spaces.MultiBinary((2, 2)), [1, 0, 0, 1], [[1, 0], [0, 1]]),
    "matrix": (spaces.MultiDiscrete(np.array([[2, 3], [4, 2]])), [1, 2, 3, 0], [[1, 2], [3, 0]]),
    "start": (spaces.MultiDiscrete([2, 3], start=[5, -1]), [1, 2], [6, 1]),
    "small": (
        spaces.MultiDiscrete(
            np.array([[2], [3]]),
            dtype=np.int32,
            start=np.array([[1], [0]]),
        ),
        [1, 2],
        [[2], [2]],
    ),
}


@pytest.mark.parametrize("name", ROWS)
def test_actions_reach_the_environment_as_it_declares_them(name: str) -> None:
    space, row, expected = ROWS[name]
    env = SeedVecEnv(told(actions=space), (0,), 1)
    assert isinstance(env.action_space, spaces.MultiDiscrete)
    assert env.action_space.nvec.ndim == 1 and not env.action_space.start.any()
    env.begin()
    env.step(np.array([[row]]))
    assert not env.failed
    action = Told.taken[-1]
    assert action.tolist() == expected and action.dtype == space.dtype and space.contains(action)
    again = SeedVecEnv(told(actions=space), (0,), 1)  # what is logged brings it back
    again.load(env.state())
    assert np.array_equal(Told.taken[-1], action) and Told.taken[-1].dtype == action.dtype
