"""Building one environment from its config, and telling an agent what it may know about it."""

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
        training: whether the reward side of the wrappers applies, and the extra ones for training
            only; evaluation sees raw rewards.

    Returns:
        An environment whose observations are float32 vectors or ``[C, H, W]`` uint8 or bool images,
        and whose discrete actions count from 0, several at once in a row. With ``masks``, one for
        the actions that are legal lies behind each observation.

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
    """Return what an agent may know about the task before the first step.

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
    assert isinstance(obs_space, spaces.Box)  # Encode has seen to it
    _check_training(config, env)
    facts = tabular_facts(config, env)
    if config.record and config.table and MODEL in facts:
        raise ConfigError(
            f"env.record: {config.id} is stepped by its table, which gives no info; "
            "env.table=false steps the environment itself"
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


def _check_training(config: EnvConfig, evaluated: gymnasium.Env) -> None:
    """Check that wrappers for training only leave the agent the spaces of evaluation."""
    if outside.applied(config.wrappers.extra, False) == config.wrappers.extra:
        return
    trained = make_env(config, training=True)
    trained.close()
    for what in ("observation_space", "action_space"):
        ours, theirs = getattr(trained, what), getattr(evaluated, what)
        same = (ours.shape, ours.dtype) == (theirs.shape, theirs.dtype)  # bounds may differ
        if not (same if what == "observation_space" else ours == theirs):
            raise ConfigError(
                f"env.wrappers.extra: in training the {what} is {ours}, in evaluation {theirs}; "
                "a wrapper that changes it cannot be training_only"
            )


def tabular_facts(config: EnvConfig, env: gymnasium.Env) -> dict[str, Any]:
    """Return what a tabular agent needs: sizes of the one-hot blocks, and the model if it is known.

    Nothing where a wrapper joins several observations: those are not states of the environment.
    No model where an extra wrapper makes another task of it.
    """
    extra = outside.applied(config.wrappers.extra, training=False)
    factors = factors_of(encoded_space(env) if extra else env.unwrapped.observation_space)
    if factors is None or config.wrappers.frame_stack > 1 or config.wrappers.history > 1:
        return {}
    model = None if extra else model_of(config, env)
    return {FACTORS: factors} | ({MODEL: model} if model else {})


def _build(spec: EnvSpec, config: EnvConfig, training: bool) -> gymnasium.Env:
    """Build the environment, its time limit around it, and the extra wrappers around both."""
    env = _bare(spec, config)
    if isinstance(space := env.unwrapped.action_space, spaces.Discrete):
        env.unwrapped.action_space = _Trusted(space.n, start=space.start)
    horizon = config.horizon or spec.max_episode_steps
    if horizon is not None:
        env = TimeLimit(env, horizon)
    return outside.wrap(env, config.wrappers.extra, training)


def _bare(spec: EnvSpec, config: EnvConfig) -> gymnasium.Env:
    """Build the bare environment: order and interface are checked by tests, not at every step."""
    bare = copy(spec)
    bare.order_enforce = False
    if str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        _tame_mujoco()
    try:
        return gymnasium.make(bare, max_episode_steps=-1, disable_env_checker=True, **config.kwargs)
    except Exception as error:
        absent = [name for name in simulators(config.id) if version(name) == "absent"]
        if extras := [EXTRAS[name] for name in absent if name in EXTRAS]:
            install = f"pip install 'prism-rl[{extras[0]}]'"
            raise ConfigError(f"env={config.name}: {config.id} needs {install}") from error
        raise ConfigError(f"env.id: {config.id} cannot be built: {one_line(error)}") from error


class _Trusted(spaces.Discrete):
    """The agent's own actions, not checked again: that costs a fifth of CartPole's step."""

    def contains(self, x: object) -> bool:
        """Say yes."""
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
def _tame_mujoco() -> None:
    """Send MuJoCo's warnings to the log, each once; by default they litter the working folder."""
    try:
        mujoco = import_module("mujoco")
    except ImportError:
        return  # building the environment will say so
    mujoco.set_mju_user_warning(cache(partial(_log.warning, "mujoco: %s")))
