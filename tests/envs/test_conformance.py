"""A trajectory through Prism is that of plain Gymnasium: all spaces, all kinds of wrappers."""

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from itertools import chain, product
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from prism.algos.core.mdp import MODEL
from prism.benchmark.envs.config import EnvConfig, EnvWrappers, validate
from prism.benchmark.envs.make import make_spec
from prism.benchmark.envs.table import TableVecEnv, vector_env
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.util.errors import ConfigError
from tests.envs import conforming
from tests.envs.conforming import (
    ACTIONS,
    OBSERVATIONS,
    REFUSED_ACTIONS,
    REFUSED_OBSERVATIONS,
    SENT,
    VECTOR_ONLY,
    WRAPPERS,
    Acted,
    ReadOnly,
    Seen,
    Universal,
    combinations,
)

LIMIT, TICKS = 5, 12


def registered(obs: spaces.Space, act: spaces.Space, kind: type = Universal) -> str:
    """Register an environment of these spaces anew; returns its id."""
    gymnasium.registry.pop("Conform/Now-v0", None)
    gymnasium.register("Conform/Now-v0", partial(kind, obs, act), max_episode_steps=LIMIT)
    return "Conform/Now-v0"


@dataclass
class Episode:
    """What a lane lived through: its seed, what it saw first, and each step's outcome."""

    seed: int
    first: np.ndarray
    actions: list[np.ndarray] = field(default_factory=list)
    steps: list[tuple[Any, ...]] = field(default_factory=list)
    sent: list[np.ndarray] = field(default_factory=list)


def any_action(space: spaces.Space, rng: np.random.Generator) -> np.ndarray:
    """Return what an agent might do: continuous actions leave their box now and then."""
    if isinstance(space, spaces.Box):
        return rng.uniform(-12, 12, space.shape).astype(np.float32)
    if isinstance(space, spaces.Discrete):
        return np.asarray(rng.integers(space.n))
    assert isinstance(space, spaces.MultiDiscrete)
    return rng.integers(space.nvec)


def lived(env: SeedVecEnv | TableVecEnv, ticks: int = TICKS) -> Iterator[Episode]:
    """Step an environment of K seeds x N lanes; yield the episodes of all its lanes."""
    rng, grid = np.random.default_rng(0), (len(env.seeds), env.lanes)
    running: dict[int, Episode] = {}
    for _ in range(ticks):
        obs = env.begin()
        for lane in range(grid[0] * grid[1]):
            if lane not in running:
                seed = env._seed_of(lane) if isinstance(env, SeedVecEnv) else 0
                running[lane] = Episode(seed, obs.reshape(-1, *obs.shape[2:])[lane])
        chosen = [any_action(env.action_space, rng) for _ in running]
        step = env.step(np.stack(chosen).reshape(*grid, *chosen[0].shape))
        assert not env.failed, env.failed
        assert step.valid.all()
        rows = zip(*(x.reshape(grid[0] * grid[1], *x.shape[2:]) for x in step[:4]), strict=True)
        for lane, row in enumerate(rows):
            running[lane].actions.append(chosen[lane])
            running[lane].steps.append(row)
            if row[2] or row[3]:
                yield running.pop(lane)
    yield from running.values()


def plain(env_id: str, wrapper: str) -> gymnasium.Env:
    """Build the environment as anybody would."""
    env = gymnasium.make(env_id, disable_env_checker=True)
    wrapped = WRAPPERS[wrapper]
    if wrapped is None:
        return env
    module, name = wrapped.path.split(":")
    made: gymnasium.Env = getattr(import_module(module), name)(env, **wrapped.arguments)
    return made


def same(left: Any, right: Any) -> bool:
    left, right = np.asarray(left), np.asarray(right)
    return left.dtype == right.dtype and np.array_equal(left, right)


def conforms(
    seen: Seen, acted: Acted, wrapper: str = "none", kind: type = Universal, **more: Any
) -> None:
    """Assert that Prism steps an environment of these spaces as Gymnasium does."""
    wrapped, env_id = WRAPPERS[wrapper], registered(seen.space, acted.space, kind)
    extra = [{"class": wrapped.path, **wrapped.arguments}] if wrapped else []
    wrappers = EnvWrappers(extra=extra, image=seen.image)
    config = EnvConfig(name="conform", id=env_id, wrappers=wrappers, **more)
    env = SeedVecEnv(config, (3, 11), 1)
    base = env._envs[0].unwrapped
    assert (base.observation_space, base.action_space) == (seen.space, acted.space)
    assert type(base.action_space) is type(acted.space)
    if wrapped:
        seen, acted = wrapped.seen(seen), wrapped.acted(acted)
    agent = env.action_space
    assert type(agent) is type(acted.agent)
    assert agent == acted.agent or isinstance(agent, spaces.Box)
    assert (agent.shape, agent.dtype) == (acted.agent.shape, acted.agent.dtype)
    episodes = list(lived(env))
    assert len(episodes) > 4
    for episode in episodes:
        episode.sent = SENT[episode.seed]
    theirs = plain(env_id, wrapper)
    for episode in episodes:
        theirs = plain(env_id, wrapper) if wrapped else theirs
        obs, _ = theirs.reset(seed=episode.seed)
        assert (env.obs_space.shape, env.obs_space.dtype) == (seen(obs).shape, seen.dtype)
        assert same(episode.first, seen(obs))
        for action, (next_obs, paid, ended, cut) in zip(
            episode.actions, episode.steps, strict=True
        ):
            obs, reward, terminated, truncated, _ = theirs.step(acted.sent(action))
            assert same(next_obs, seen(obs)), (next_obs, obs)
            assert paid == np.float32(reward)
            assert (ended, cut) == (terminated, truncated and not terminated)
        assert len(episode.sent) == len(SENT[episode.seed])
        assert all(same(a, b) for a, b in zip(episode.sent, SENT[episode.seed], strict=True))


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_all_spaces_behind(wrapper: str) -> None:
    for obs, act, name in combinations(full=False):
        if name == wrapper:
            try:
                conforms(OBSERVATIONS[obs], ACTIONS[act], wrapper)
            except (Exception, AssertionError) as error:
                error.add_note(f"observations {obs!r}, actions {act!r}, wrapper {wrapper!r}")
                raise


@pytest.mark.slow
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_all_pairs_of_spaces_behind(wrapper: str) -> None:
    for obs, act, name in combinations(full=True):
        if name == wrapper:
            conforms(OBSERVATIONS[obs], ACTIONS[act], wrapper)


def test_how_many_combinations_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    few, all_of_them = (len(list(combinations(full))) for full in (False, True))
    environments = len(OBSERVATIONS) * len(ACTIONS)
    assert few > 1500 and all_of_them > 15_000
    with capsys.disabled():
        print(
            f"\nconformance: {few} combinations of {environments} environments "
            f"and {len(WRAPPERS)} wrappers; {all_of_them} with -m slow"
        )


@pytest.mark.parametrize("act", ACTIONS)
def test_spaces_that_cannot_be_assigned(act: str) -> None:
    for wrapper in ("none", "corners", "pair"):
        conforms(OBSERVATIONS["float64"], ACTIONS[act], wrapper, ReadOnly)
        conforms(OBSERVATIONS["Dict"], ACTIONS[act], wrapper, ReadOnly, fresh=True)


def own_wrapper(size: int, wrappers: EnvWrappers) -> Callable[[], Callable[..., np.ndarray]]:
    """Return what makes, per episode, what ``wrappers`` show of observations and actions."""
    stack, history = wrappers.frame_stack, wrappers.history

    def make() -> Callable[..., np.ndarray]:
        past: deque[np.ndarray] = deque(maxlen=max(stack, history))
        done: deque[np.ndarray] = deque([np.zeros(size, np.float32)] * history, maxlen=history - 1)

        def look(obs: np.ndarray, action: np.ndarray | None = None) -> np.ndarray:
            if not past:
                past.extend([obs if stack > 1 else np.zeros_like(obs)] * max(stack, history))
            past.append(obs)
            if action is not None:
                done.append(action)
            flat = history > 1
            shown = [np.ravel(x).astype(np.float32) if flat else x for x in past]
            return np.concatenate([*shown, *done])

        return look

    return make


@pytest.mark.parametrize("wrappers", [EnvWrappers(frame_stack=3), EnvWrappers(history=3)], ids=str)
@pytest.mark.parametrize("act", ["MultiDiscrete matrix from", "Box of int32"])
def test_frame_stack_and_history_of_all_observations(wrappers: EnvWrappers, act: str) -> None:
    acted = ACTIONS[act]
    for seen in OBSERVATIONS.values():
        wrappers.image = seen.image
        env_id = registered(seen.space, acted.space)
        env = SeedVecEnv(EnvConfig(name="conform", id=env_id, wrappers=wrappers), (3,), 2)
        theirs = plain(env_id, "none")
        make = own_wrapper(spaces.flatdim(acted.agent), wrappers)
        for episode in lived(env, 8):
            look, (obs, _) = make(), theirs.reset(seed=episode.seed)
            assert same(episode.first, look(seen(obs)))
            for action, (next_obs, *_) in zip(episode.actions, episode.steps, strict=True):
                obs, *_ = theirs.step(acted.sent(action))
                flat = np.asarray(spaces.flatten(acted.agent, action), np.float32)
                assert same(next_obs, look(seen(obs), flat))


def test_a_trained_reward_hides_no_return() -> None:
    wrappers = EnvWrappers(reward_clip=0.5, reward_scale=3.0)
    env_id = registered(OBSERVATIONS["Dict"].space, ACTIONS["MultiBinary"].space)
    env = SeedVecEnv(EnvConfig(name="conform", id=env_id, wrappers=wrappers), (3, 4), 1)
    episodes, theirs = [e for e in lived(env, 60) if any(e.steps[-1][2:])], plain(env_id, "none")
    returns = []
    for episode in episodes:
        theirs.reset(seed=episode.seed)
        total = 0.0
        for action, step in zip(episode.actions, episode.steps, strict=True):
            raw = theirs.step(ACTIONS["MultiBinary"].sent(action))[1]
            total += float(raw)
            assert step[1] == np.float32(3 * min(max(float(raw), -0.5), 0.5))
        returns.append((total, len(episode.steps)))
    assert sorted(returns) == sorted(chain(*env.drain()))


@pytest.mark.parametrize("name", REFUSED_OBSERVATIONS)
def test_refused_observations(name: str) -> None:
    space, told = REFUSED_OBSERVATIONS[name]
    config = EnvConfig(name="conform", id=registered(space, spaces.Discrete(2)))
    with pytest.raises(ConfigError) as caught:
        make_spec(config, 10)
    assert told in str(caught.value) and "\n" not in str(caught.value)
    assert str(caught.value).startswith("env.")


@pytest.mark.parametrize("name", REFUSED_ACTIONS)
def test_refused_actions(name: str) -> None:
    space = REFUSED_ACTIONS[name]
    config = EnvConfig(name="conform", id=registered(OBSERVATIONS["float32"].space, space))
    with pytest.raises(ConfigError, match=rf"^env\.id: actions .*{name}") as caught:
        make_spec(config, 10)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("path", VECTOR_ONLY)
def test_wrappers_of_vector_environments_are_refused(path: str) -> None:
    env_id = registered(OBSERVATIONS["float32"].space, ACTIONS["Discrete"].space)
    config = EnvConfig(id=env_id, wrappers=EnvWrappers(extra=[{"class": path}]))
    with pytest.raises(ConfigError, match=r"^env\.wrappers\.extra\.0\.class=.* vector env"):
        validate(config)


class Tabular(gymnasium.Env):
    """A random model as a table ``P``; one outcome of every action, or three."""

    def __init__(self, states: int = 6, actions: int = 3, outcomes: int = 1, start: int = 0):
        rng = np.random.default_rng([states, actions, outcomes])
        chances = rng.dirichlet(np.ones(outcomes), (states, actions))
        self.P = {
            s: {
                a: [
                    (p, int(rng.integers(states)), float(rng.normal()), bool(rng.random() < 0.1))
                    for p in chances[s, a]
                ]
                for a in range(actions)
            }
            for s in range(states)
        }
        self.start, self.initial_state_distrib = start, np.full(states, 1 / states)
        self.observation_space = spaces.Discrete(states, start=start)
        self.action_space = spaces.Discrete(actions, start=-start)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        self.s = int(self.np_random.integers(len(self.P)))
        return self.s + self.start, {}

    def step(self, action: Any) -> Any:
        branches = self.P[self.s][int(action) + self.start]
        i = self.np_random.choice(len(branches), p=[b[0] for b in branches])
        _, self.s, reward, terminated = branches[i]
        return self.s + self.start, reward, terminated, False, {}


class Swapped(gymnasium.ActionWrapper):
    """Another task: the first action is the last."""

    def action(self, action: Any) -> Any:
        space = self.env.action_space
        assert isinstance(space, spaces.Discrete)
        return space.n - 1 - action


gymnasium.register("Conform/Tabular-v0", partial(Tabular), max_episode_steps=7)
gymnasium.register(
    "Conform/Swapped-v0", lambda **kwargs: Swapped(Tabular(**kwargs)), max_episode_steps=7
)
TABLES: list[tuple[str, dict[str, Any]]] = [
    *(
        ("Conform/Tabular-v0", {"states": s, "actions": a, "outcomes": b, "start": start})
        for s, a, b, start in product((1, 2, 9), (1, 4), (1, 3), (0, 5))
    ),
    ("FrozenLake-v1", {"is_slippery": False}),
    ("FrozenLake-v1", {}),
    ("CliffWalking-v1", {}),
    ("Taxi-v4", {}),
]


def start_of(env: gymnasium.Env) -> int:
    return int(getattr(env.action_space, "start", 0))


@pytest.mark.parametrize(("env_id", "kwargs"), TABLES, ids=str)
@pytest.mark.parametrize("horizon", [None, 4])
def test_a_table_is_stepped_as_its_environment(
    env_id: str, kwargs: dict[str, Any], horizon: int | None
) -> None:
    """Every outcome is one that the environment may have, with its reward and its ends."""
    config = EnvConfig(id=env_id, kwargs=kwargs, horizon=horizon, ends=True)
    env = vector_env(config, (3, 11), 3)
    assert isinstance(env, TableVecEnv)
    bare: Any = gymnasium.make(env_id, **kwargs).unwrapped
    limit = horizon or gymnasium.spec(env_id).max_episode_steps
    returns = []
    for episode in lived(env, 60):
        total, state = 0.0, int(episode.first.argmax())
        for t, (action, (next_obs, paid, ended, cut)) in enumerate(
            zip(episode.actions, episode.steps, strict=True), 1
        ):
            following = int(next_obs.argmax())
            assert next_obs.sum() == 1 and len(next_obs) == bare.observation_space.n
            branches = {
                (s, np.float32(reward), bool(over))
                for p, s, reward, over in bare.P[state][int(action)]
                if p > 0
            }
            assert (following, paid, bool(ended)) in branches
            assert cut == (t == limit and not ended)
            state, total = following, total + float(paid)
        if ended or cut:
            returns.append((total, len(episode.steps)))
    drained = list(chain(*env.drain()))
    assert sorted(length for _, length in returns) == sorted(length for _, length in drained)
    assert sum(r for r, _ in returns) == pytest.approx(sum(r for r, _ in drained), abs=1e-3)


@pytest.mark.parametrize(
    ("env_id", "kwargs"), [t for t in TABLES if t[1].get("outcomes", 1) == 1], ids=str
)
def test_a_table_without_chance_is_the_environment_itself(
    env_id: str, kwargs: dict[str, Any]
) -> None:
    if env_id == "FrozenLake-v1" and not kwargs:
        pytest.skip("its ice is slippery: the table draws otherwise than the environment")
    env = vector_env(EnvConfig(id=env_id, kwargs=kwargs, horizon=30), (3,), 2)
    theirs = gymnasium.make(env_id, **kwargs, disable_env_checker=True, max_episode_steps=30)
    for episode in lived(env, 70):
        theirs.reset(seed=0)
        theirs.unwrapped.s = int(episode.first.argmax())  # type: ignore[attr-defined]
        for action, (next_obs, paid, ended, cut) in zip(
            episode.actions, episode.steps, strict=True
        ):
            obs, reward, terminated, truncated, _ = theirs.step(int(action) + start_of(theirs))
            assert int(next_obs.argmax()) == obs - theirs.observation_space.start  # type: ignore
            assert (paid, ended, cut) == (
                np.float32(reward),
                terminated,
                truncated and not terminated,
            )


def test_a_table_does_not_stand_for_what_is_wrapped_around_it() -> None:
    config = EnvConfig(id="Conform/Swapped-v0", kwargs={"states": 6, "actions": 4})
    assert MODEL not in make_spec(config, 10).extras
    assert isinstance(vector_env(config, (3,), 1), SeedVecEnv)


def test_wrappers_of_a_registration_stand_around_its_time_limit() -> None:
    """As ``gymnasium.make`` has it: a limit of five steps is three of two each."""
    obs, act = OBSERVATIONS["float32"], ACTIONS["Discrete"]
    env_id = registered(obs.space, act.space)
    twice = gymnasium.wrappers.RepeatAction(gymnasium.make(env_id), num_repeats=2).spec
    assert twice is not None
    spec = gymnasium.registry[env_id]
    spec.additional_wrappers = twice.additional_wrappers
    env = SeedVecEnv(EnvConfig(id=env_id), (3,), 4)
    theirs = gymnasium.make(env_id, disable_env_checker=True)
    lengths = []
    for episode in lived(env, 60):
        theirs.reset(seed=episode.seed)
        for action, step in zip(episode.actions, episode.steps, strict=True):
            obs_, reward, terminated, truncated, _ = theirs.step(action)
            assert same(step[0], obs_) and step[1] == np.float32(reward)
            assert step[2:] == (terminated, truncated and not terminated)
        lengths.append(len(episode.steps))
    assert max(lengths) == 3


def test_the_two_lists_of_wrappers_are_used() -> None:
    used = {name for *_, name in combinations(full=False)}
    assert used == set(WRAPPERS)
    assert isinstance(conforming.DICT, spaces.Dict) and isinstance(ACTIONS["Box"], Acted)
