"""Checks of one environment: its spaces, seeding and ends, and how Prism steps it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.wrappers import TimeLimit

from prism.algos.core.mdp import MODEL

from ..util.checks import Check, Skip, Wrong
from . import outside
from .config import EnvConfig, EnvWrappers, registered
from .encoding import Encode
from .make import make_env, tabular_facts
from .repeats import Played, not_fresh, not_repeating, play, random_action, same
from .vector import SeedVecEnv

EPISODES, STEPS = 6, 400  # of a check at most, in all its episodes
SEED = 1


@dataclass
class Subject:
    """The environment under test."""

    config: EnvConfig

    @cached_property
    def played(self) -> list[Played]:
        """Return the episodes of one environment without Prism's wrappers, one seed each."""
        env, steps, episodes = plain(self.config), STEPS, []
        for number in range(EPISODES):
            episodes.append(play(env, SEED + number, steps))
            steps -= len(episodes[-1].steps)
            if steps <= 0:
                break
        env.close()
        return episodes


def plain(config: EnvConfig) -> gymnasium.Env:
    """Build the environment as one would without Prism, with its time limit and extra wrappers."""
    spec = registered(config)
    env = gymnasium.make(spec, max_episode_steps=-1, disable_env_checker=True, **config.kwargs)
    horizon = config.horizon or spec.max_episode_steps
    if horizon is not None:
        env = TimeLimit(env, horizon)
    return outside.wrap(env, config.wrappers.extra, training=False)


def returns(subject: Subject) -> None:
    """Check what ``reset`` and ``step`` return."""
    env = plain(subject.config).unwrapped
    start = env.reset(seed=SEED)
    if not (isinstance(start, tuple) and len(start) == 2 and isinstance(start[1], dict)):
        raise Wrong("reset() does not return an observation and a dict")
    env.action_space.seed(SEED)
    outcome = env.step(env.action_space.sample())
    if not (isinstance(outcome, tuple) and len(outcome) == 5):
        raise Wrong("step() does not return observation, reward, terminated, truncated and info")
    reward: Any = outcome[1]
    flags, info = outcome[2:4], outcome[4]
    if np.ndim(reward) or not isinstance(reward, int | float | np.number | np.ndarray | np.bool_):
        raise Wrong(f"step() returns the reward {reward!r}, not a number")
    for name, flag in zip(("terminated", "truncated"), flags, strict=True):
        if not isinstance(flag, bool | np.bool_):
            raise Wrong(f"step() returns {name} = {flag!r} of type {type(flag).__name__}, not bool")
    if not isinstance(info, dict):
        raise Wrong(f"step() returns info of type {type(info).__name__}, not a dict")
    env.close()


def observations(subject: Subject) -> None:
    """Check that every observation lies in its space, and that every reward is finite."""
    env = plain(subject.config)
    env.close()
    for played in subject.played:
        for t, obs in enumerate(played.observations):
            if outside_of := _misfit(env.observation_space, obs):
                raise Wrong(f"the observation of step {t} {outside_of}")
        for t, (reward, *_) in enumerate(played.steps, 1):
            if not np.isfinite(reward):
                raise Wrong(f"the reward of step {t} is {reward}")


def _misfit(space: spaces.Space, obs: Any) -> str | None:
    """Say how an observation does not belong to its space."""
    if space.contains(obs):
        return None
    if not isinstance(space, spaces.Box):
        return f"is {obs}, not in {space}"
    array = np.asarray(obs)
    if array.shape != space.shape:
        return f"has shape {array.shape}, its space {space}"
    if not isinstance(obs, np.ndarray):
        return f"is of type {type(obs).__name__}, not an array"
    if not np.can_cast(array.dtype, space.dtype):
        return f"is {array.dtype}, its space {space}"
    bad = ~((array >= space.low) & (array <= space.high))
    return f"holds {array[bad][0]}, its space is {space}"


def seeding(subject: Subject) -> None:
    """Check that a seed and the actions determine an episode, in a new environment as in a used."""
    config = subject.config
    build = partial(plain, config)
    if wrong := not_repeating(build, SEED, STEPS):
        raise Wrong(wrong)
    rebuilt = bool(config.wrappers.extra) if config.fresh is None else config.fresh
    if not rebuilt and (wrong := not_fresh(build, SEED, STEPS)):
        raise Wrong(f"{wrong}; set env.fresh=true to rebuild it at every reset")


def ends(subject: Subject) -> None:
    """Check that episodes end, and that a time limit truncates."""
    limit = subject.config.horizon or registered(subject.config).max_episode_steps
    over = [p for p in subject.played if p.over]
    if not over:
        if limit is None:
            raise Wrong(f"no episode ended in {STEPS} random steps, and there is no time limit")
        raise Skip(f"no episode ended in {STEPS} random steps; the time limit is {limit}")
    lengths = {len(p.steps) for p in over}
    terminated = all(p.steps[-1][1] for p in over)
    if terminated and len(over) == EPISODES and len(lengths) == 1 and max(lengths) > 1:
        raise Wrong(
            f"every episode of random actions terminates at step {max(lengths)}: if this is a time"
            " limit, it must truncate, by max_episode_steps or env.horizon"
        )


def stepping(subject: Subject) -> None:
    """Check that Prism steps the environment as Gymnasium does: sees, pays and ends the same."""
    own = subject.config.wrappers
    wrappers = EnvWrappers(extra=own.extra, image=own.image)
    config = replace(subject.config, wrappers=wrappers, masks=False, record=[])
    ours, rng, steps = SeedVecEnv(config, [SEED], 1, training=False), np.random.default_rng(0), 0
    for number in range(EPISODES):
        theirs = plain(config)
        look = Encode(theirs, own.image).observation
        seen = ours.begin()[0, 0]
        _equal(seen, look(theirs.reset(seed=ours._seed_of(0))[0]), f"episode {number}, reset")
        over = False
        while not over and steps < STEPS:
            native = random_action(theirs.action_space, rng)
            step = ours.step(_as_agents(native, theirs.action_space, ours.action_space))
            if ours.failed:
                raise Wrong(ours.failed[0])
            obs, reward, terminated, truncated, _ = theirs.step(native)
            steps += 1
            words = f"episode {number}, step {steps}"
            _equal(step.next_obs[0, 0], look(obs), f"{words}: the observation")
            _equal(step.reward[0, 0], np.float32(reward), f"{words}: the reward")
            _equal(step.terminated[0, 0], bool(terminated), f"{words}: terminated")
            over = bool(terminated or truncated)
            _equal(step.truncated[0, 0], over and not terminated, f"{words}: truncated")
        theirs.close()
    ours.close()


def _as_agents(native: Any, space: spaces.Space, agents: spaces.Space) -> np.ndarray:
    """Return an environment's action as one of an agent, ``[1, 1, *act]``."""
    start = getattr(space, "start", 0)
    action = np.asarray(native) - start
    dtype = np.float32 if isinstance(agents, spaces.Box) else np.int64
    return action.astype(dtype).reshape(1, 1, *(agents.shape or ()))


def _equal(ours: Any, theirs: Any, words: str) -> None:
    if not same(ours, theirs):
        raise Wrong(f"{words} is {ours} through Prism, {theirs} in Gymnasium")


ENV_CHECKS = (
    Check("returns", "reset and step return what Gymnasium says", returns, True),
    Check("observations", "they lie in their space, and rewards are finite", observations),
    Check("ends", "episodes end, by termination or a time limit", ends),
    Check("seeding", "a seed and the actions determine an episode", seeding, True),
    Check("stepping", "agents see, are paid and end as in Gymnasium", stepping),
)


def shown(config: EnvConfig) -> Iterator[tuple[str, str]]:
    """Yield what agents will see of an environment: a name, and a line of text.

    Raises:
        ConfigError: as ``make_env``.
    """
    env = make_env(config, training=True)
    obs, act = env.observation_space, env.action_space
    kind = "image" if len(obs.shape or ()) == 3 else "vector"
    raw = plain(config)
    text = " ".join(str(raw.observation_space).split())
    yield "observations", f"{kind} {list(obs.shape or ())} of {obs.dtype}, from {text}"
    yield "actions", f"{_kind(act)}, from {raw.action_space}"
    raw.close()
    limit = config.horizon or registered(config).max_episode_steps
    yield "time limit", f"{limit} steps" if limit is not None else "none"
    facts = tabular_facts(config, make_env(config, training=False))
    yield "as a table", "its model is known" if MODEL in facts else "its states" if facts else "no"
    layers = []
    while isinstance(env, gymnasium.Wrapper):
        layers.append(type(env).__name__)
        env = env.env
    yield "wrappers", ", ".join(reversed(layers)) or "none"


def _kind(space: spaces.Space) -> str:
    if isinstance(space, spaces.Discrete):
        return f"discrete, {space.n}"
    if isinstance(space, spaces.MultiDiscrete):
        return f"multi-discrete, {space.nvec.tolist()}"
    return f"continuous, {list(space.shape or ())}"
