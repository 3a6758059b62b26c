"""Building one environment from its config, and the ``Spec`` that its agent receives."""

import logging
import sys
from contextlib import redirect_stderr, redirect_stdout
from copy import copy
from functools import cache, partial
from importlib import import_module
from io import TextIOBase
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
from ..util.secrets import CleanStream
from ..util.versions import version
from . import legal, outside
from .actions import adapt_actions
from .config import EnvConfig, registered
from .encoding import Encode, encoded_space
from .models import factors_of, model_of
from .simulators import EXTRAS, simulators
from .wrappers import Fresh, History, Stack, TrainingReward, close

_log = logging.getLogger(__name__)


def make_env(config: EnvConfig, *, gamma: float = 1.0, training: bool) -> gymnasium.Env:
    """Build one environment with its wrappers.

    Args:
        config: a validated config.
        gamma: the algorithm's discount, for potential-based shaping.
        training: whether reward wrappers and training-only extra wrappers apply; evaluation uses
            raw rewards.

    Returns:
        An environment whose observations are float32 vectors or ``[C, H, W]`` images. Its actions
        are Discrete or a vector MultiDiscrete, numbered from 0, or a vector Box. With ``masks``,
        the mask of legal actions is appended to each observation.

    Raises:
        ConfigError: unknown id, missing dependency, bad arguments or an unsupported space.
    """
    wrappers = config.wrappers
    build = partial(_build, registered(config), config, training)
    extra = outside.applied(wrappers.extra, training)
    fresh = bool(extra) if config.fresh is None else config.fresh
    bare = Fresh(build) if fresh else build()
    env = adapt_actions(bare)
    if wrappers.image is not None or not _is_plain(env.observation_space):
        env = Encode(env, wrappers.image)
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
    close(env)
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
    close(training_env)
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
    Without the model if wrappers from elsewhere may change the dynamics.
    """
    factors = factors_of(encoded_space(env))
    if factors is None or config.wrappers.frame_stack > 1 or config.wrappers.history > 1:
        return {}
    model = model_of(config, env) if _is_bare(config, env) else None
    return {FACTORS: factors} | ({MODEL: model} if model else {})


def horizon_of(config: EnvConfig) -> int | None:
    """Return the time limit of an environment: the config's, else the registered one."""
    return config.horizon or registered(config).max_episode_steps


def _is_bare(config: EnvConfig, env: gymnasium.Env) -> bool:
    """Return whether only Prism's wrappers and one time limit stand around an environment."""
    limits = 0
    while isinstance(env, gymnasium.Wrapper):
        limits += isinstance(env, TimeLimit)
        if not isinstance(env, TimeLimit) and not type(env).__module__.startswith(__package__):
            return False
        env = env.env
    return limits == (horizon_of(config) is not None)


def _build(spec: EnvSpec, config: EnvConfig, training: bool) -> gymnasium.Env:
    """Build the environment with its time limit, then the extra wrappers around both."""
    env = _registered_env(spec, config)
    extra = config.wrappers.extra
    own = str(spec.entry_point).startswith(("gymnasium.envs.", "prism.benchmark.envs."))
    if own and not extra and isinstance(space := env.unwrapped.action_space, spaces.Discrete):
        env.unwrapped.action_space = _Trusted(space.n, start=space.start)
    return outside.wrap(env, extra, training)


def _registered_env(spec: EnvSpec, config: EnvConfig) -> gymnasium.Env:
    """Build what is registered, without Gymnasium's checks at every step; tests make them."""
    unchecked = copy(spec)
    unchecked.order_enforce = False
    if str(spec.entry_point).startswith("gymnasium.envs.mujoco"):
        _log_mujoco_warnings()
    try:
        output = _output(config.id)
        with redirect_stdout(output), redirect_stderr(output):
            return gymnasium.make(
                unchecked,
                max_episode_steps=config.horizon,
                disable_env_checker=True,
                **config.kwargs,
            )
    except (Exception, SystemExit) as error:
        missing = [name for name in simulators(config.id) if version(name) == "absent"]
        if extras := [EXTRAS[name] for name in missing if name in EXTRAS]:
            install = f"pip install 'prism-rl[{extras[0]}]'"
            raise ConfigError(f"env={config.name}: {config.id} needs {install}") from error
        raise ConfigError(f"env.id: {config.id} cannot be built: {one_line(error)}") from error


class _Nowhere(TextIOBase):
    """A stream that drops what is written to it."""

    def write(self, text: str) -> int:
        """Drop a text."""
        return len(text)


_nowhere, _built = _Nowhere(), set[str]()


def _output(env_id: str) -> Any:
    """Return the stream for what a constructor prints: first stderr, without secrets, then none.

    stdout is for what the command says, and there are many lanes and rebuilds.
    """
    first = env_id not in _built
    _built.add(env_id)
    return CleanStream(sys.stderr) if first else _nowhere


class _Trusted(spaces.Discrete):
    """A discrete space that accepts any action: the check takes a fifth of CartPole's step time.

    For environments of Gymnasium and Prism whose actions are the agent's own.
    """

    def contains(self, x: object) -> bool:
        """Return True."""
        return True


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
