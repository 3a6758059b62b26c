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

from ..util.errors import ConfigError
from .config import EnvConfig, registered
from .models import factors_of, model_of
from .wrappers import Clip, Encode, Fresh, FromZero, History, Stack, TrainingReward

_log = logging.getLogger(__name__)


def make_env(config: EnvConfig, *, gamma: float = 1.0, training: bool) -> gymnasium.Env:
    """Build one environment with its wrappers.

    Args:
        config: a validated config.
        gamma: the algorithm's discount, for potential-based shaping.
        training: whether the reward side of the wrappers applies; evaluation sees raw rewards.

    Returns:
        An environment whose observations are float32 vectors or ``[C, H, W]`` uint8 or bool images,
        and whose discrete actions count from 0.

    Raises:
        ConfigError: unknown id, missing dependency, bad arguments or an unsupported space.
    """
    spec, wrappers = registered(config), config.wrappers
    build = partial(_build, spec, config)
    env = _adapt_actions(Fresh(build) if config.fresh else build())
    horizon = config.horizon or spec.max_episode_steps
    if horizon is not None:
        env = TimeLimit(env, horizon)
    if not _is_plain(env.observation_space):
        env = Encode(env)
    if wrappers.frame_stack > 1:
        env = Stack(env, wrappers.frame_stack)
    if wrappers.history > 1:
        env = History(env, wrappers.history)
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
    env.close()
    assert isinstance(obs_space, spaces.Box)  # Encode has seen to it
    factory = partial(make_env, config, training=True)
    return Spec(
        obs_space, action_space, budget, {ENVIRONMENT: factory} | tabular_facts(config, env)
    )


def tabular_facts(config: EnvConfig, env: gymnasium.Env) -> dict[str, Any]:
    """Return what a tabular agent needs: sizes of the one-hot blocks, and the model if it is known.

    Nothing where a wrapper joins several observations: those are not states of the environment.
    """
    factors = factors_of(env.unwrapped.observation_space)
    if factors is None or config.wrappers.frame_stack > 1 or config.wrappers.history > 1:
        return {}
    model = model_of(config, env)
    return {FACTORS: factors} | ({MODEL: model} if model else {})


def _build(spec: EnvSpec, config: EnvConfig) -> gymnasium.Env:
    """Build the bare environment: order and interface are checked by tests, not at every step."""
    bare = copy(spec)
    bare.order_enforce = False
    if str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        _tame_mujoco()
    try:
        return gymnasium.make(bare, max_episode_steps=-1, disable_env_checker=True, **config.kwargs)
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ConfigError(f"env.id: {config.id} cannot be built: {reason}") from error


class _Trusted(spaces.Discrete):
    """The agent's own actions, not checked again: that costs a fifth of CartPole's step."""

    def contains(self, x: object) -> bool:
        """Say yes."""
        return True


def _adapt_actions(env: gymnasium.Env) -> gymnasium.Env:
    space = env.action_space
    if isinstance(space, spaces.Discrete):
        env.unwrapped.action_space = _Trusted(space.n, start=space.start)
        return FromZero(env) if space.start != 0 else env
    if isinstance(space, spaces.Box):
        return Clip(env)
    if isinstance(space, spaces.MultiDiscrete) and not np.any(space.start):
        return env
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
