"""Building one environment from its config, and the ``Spec`` that its agent receives."""

import logging
from copy import copy
from functools import cache, partial
from importlib import import_module
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from gymnasium.wrappers import TimeLimit

from prism.algos.core.agent import ENVIRONMENT, Spec
from prism.algos.core.mdp import MODEL
from prism.algos.core.states import FACTORS

from ..util.errors import ConfigError, one_line
from ..util.versions import version
from . import legal, outside
from .config import EnvConfig, registered
from .models import factors_of, model_of
from .simulators import EXTRAS, simulators
from .wrappers import (
    Clip,
    Encode,
    Fresh,
    FromZero,
    History,
    InRow,
    Stack,
    TrainingReward,
    encoded_space,
)

_log = logging.getLogger(__name__)


def make_env(config: EnvConfig, *, gamma: float = 1.0, training: bool) -> gymnasium.Env:
    """Build one environment with its wrappers.

    Args:
        config: a validated config.
        gamma: the algorithm's discount, for potential-based shaping.
        training: whether reward wrappers and training-only extra wrappers apply; evaluation uses
            raw rewards.

    Returns:
        An environment whose observations are float32 vectors or ``[C, H, W]`` uint8 or bool images.
        Discrete actions are numbered from 0. Several of them form a
        vector. With ``masks``, the mask of legal actions is appended to each observation.

    Raises:
        ConfigError: unknown id, missing dependency, bad arguments or an unsupported space.
    """
    wrappers = config.wrappers
    build = partial(_build, registered(config), config, training)
    extra = outside.applied(wrappers.extra, training)
    fresh = bool(extra) if config.fresh is None else config.fresh
    bare = Fresh(build) if fresh else build()
    env = _adapt_actions(bare)
    if not _is_plain(env.observation_space):
        env = Encode(env)
    if wrappers.frame_stack > 1:
        env = Stack(env, wrappers.frame_stack)
    if wrappers.history > 1:
        env = History(env, wrappers.history)
    if config.masks:
        env = legal.Masked(env, bare.action_space)
    if training and TrainingReward.wanted(wrappers):
        env = TrainingReward(env, wrappers, gamma)
    return env


def make_spec(config: EnvConfig, budget: int) -> Spec:
    """Return what an agent may know about the environment before the first step.

    Args:
        config: a validated config.
        budget: environment steps per seed.

    Raises:
        ConfigError: as ``make_env``.
    """
    env = make_env(config, training=False)
    obs_space, action_space = env.observation_space, env.action_space
    entries = _entries(config, env)
    env.close()
    assert isinstance(obs_space, spaces.Box)  # by Encode
    _check_training(config, env)
    facts = tabular_facts(config, env)
    if config.record and config.table and MODEL in facts:
        raise ConfigError(
            f"env.record: {config.id} is stepped by its tabular model, which has no info; "
            "set env.table=false to step the environment itself"
        )
    factory = partial(make_env, config, training=True)
    return Spec(obs_space, action_space, budget, {ENVIRONMENT: factory} | facts, entries)


def _entries(config: EnvConfig, env: gymnasium.Env) -> int:
    """Return how many numbers its masks have, 0 without; see that an episode begins with one."""
    if not config.masks:
        return 0
    try:
        env.reset(seed=0)
    except Exception as error:
        raise ConfigError(f"env.masks: {config.id}: {one_line(error)}") from error
    return legal.entries(env.action_space)


def _check_training(config: EnvConfig, evaluation_env: gymnasium.Env) -> None:
    """Check that training-only wrappers do not change the spaces that the agent sees."""
    if outside.applied(config.wrappers.extra, False) == config.wrappers.extra:
        return
    training_env = make_env(config, training=True)
    training_env.close()
    for name in ("observation_space", "action_space"):
        ours, theirs = getattr(training_env, name), getattr(evaluation_env, name)
        same = (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)  # bounds may differ
        if not (same if name == "observation_space" else ours == theirs):
            raise ConfigError(
                f"env.wrappers.extra: in training the {name} is {ours}, in evaluation {theirs}; "
                "a wrapper that changes it cannot be training_only"
            )


def tabular_facts(config: EnvConfig, env: gymnasium.Env) -> dict[str, Any]:
    """Return what a tabular agent needs: the sizes of the one-hot blocks, and the model if known.

    Empty if a wrapper concatenates observations, since the result is not an environment state.
    Without the model if extra wrappers may change the dynamics.
    """
    extra = outside.applied(config.wrappers.extra, training=False)
    factors = factors_of(encoded_space(env) if extra else env.unwrapped.observation_space)
    if factors is None or config.wrappers.frame_stack > 1 or config.wrappers.history > 1:
        return {}
    model = None if extra else model_of(config, env)
    return {FACTORS: factors} | ({MODEL: model} if model else {})


def _build(spec: EnvSpec, config: EnvConfig, training: bool) -> gymnasium.Env:
    """Build the environment with its time limit, then the extra wrappers around both."""
    env = _bare(spec, config)
    if isinstance(space := env.unwrapped.action_space, spaces.Discrete):
        env.unwrapped.action_space = _Trusted(space.n, start=space.start)
    horizon = config.horizon or spec.max_episode_steps
    if horizon is not None:
        env = TimeLimit(env, horizon)
    return outside.wrap(env, config.wrappers.extra, training)


def _bare(spec: EnvSpec, config: EnvConfig) -> gymnasium.Env:
    """Build the bare environment, without Gymnasium's checks at every step; tests make them."""
    bare = copy(spec)
    bare.order_enforce = False
    if str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        _log_mujoco_warnings()
    try:
        return gymnasium.make(bare, max_episode_steps=-1, disable_env_checker=True, **config.kwargs)
    except Exception as error:
        missing = [name for name in simulators(config.id) if version(name) == "absent"]
        if extras := [EXTRAS[name] for name in missing if name in EXTRAS]:
            install = f"pip install 'prism-rl[{extras[0]}]'"
            raise ConfigError(f"env={config.name}: {config.id} needs {install}") from error
        raise ConfigError(f"env.id: {config.id} cannot be built: {one_line(error)}") from error


class _Trusted(spaces.Discrete):
    """A discrete space that accepts any action: the check takes a fifth of CartPole's step time."""

    def contains(self, x: object) -> bool:
        """Return True."""
        return True


def _adapt_actions(env: gymnasium.Env) -> gymnasium.Env:
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        return FromZero(env) if space.start != 0 else env
    if isinstance(space, spaces.Box):
        return Clip(env)
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1 and not space.start.any():
        return env
    if isinstance(space, spaces.MultiDiscrete | spaces.MultiBinary):
        return InRow(env)
    raise ConfigError(f"env.id: actions of type {type(space).__name__} are not supported")


def _is_plain(space: spaces.Space) -> bool:
    return isinstance(space, spaces.Box) and space.dtype == np.float32 and len(space.shape) == 1


@cache
def _log_mujoco_warnings() -> None:
    """Send each MuJoCo warning to the log once, not to a file in the working folder."""
    try:
        mujoco = import_module("mujoco")
    except ImportError:
        return  # building the environment reports it
    mujoco.set_mju_user_warning(cache(partial(_log.warning, "mujoco: %s")))
