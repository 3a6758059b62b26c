"""The schema of ``conf/env/<name>.yaml`` and its validation."""

import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from prism.algos.core.settings import check, setting

from ..util.errors import ConfigError, check_recorded, one_line, unknown
from ..util.registry import load
from ..util.secrets import CleanStream, reveal
from . import facts, outside
from .encoding import LAYOUTS
from .shaping import POTENTIALS


@dataclass
class EnvWrappers:
    """The wrappers between the environment and the agent.

    Observation wrappers apply in training and evaluation, reward wrappers in training only. The
    reward is clipped, delayed, scaled and shaped, in this order: shaping comes last so that it
    stays potential-based.

    Wrappers from other packages go into ``extra``. They wrap the environment and its time limit,
    inside Prism's own wrappers: the observation and action encoding, and those below.
    """

    frame_stack: int = setting(
        1,
        "number of last observations to concatenate along the first axis (channels of images,"
        " features of vectors); padded at the episode's start by repeating the first",
        ge=1,
    )
    history: int = setting(
        1,
        'flat "N-gram" input: the last N observations and the N - 1 actions between them;'
        " zero-padded at the episode's start",
        ge=1,
    )
    image: str | None = setting(
        None,
        "layout of image observations; null: by their shape, with fewer channels than rows and"
        " columns; vector: plain numbers, flat and unscaled",
        choices=LAYOUTS,
    )
    reward_scale: float = setting(1.0, "factor that multiplies rewards", gt=0)
    reward_clip: float | None = setting(
        None, "clip rewards to [-reward_clip, reward_clip]; null: no clipping", gt=0
    )
    shaping: str | None = setting(
        None,
        "potential from benchmark/envs/shaping.py; null: no shaping",
        choices=tuple(POTENTIALS),
    )
    delay_reward: bool = setting(False, "pay the whole return at the episode's end")
    extra: list[Any] = setting(
        [],
        "wrappers from other packages, innermost first: {class: module:Class or a registered name,"
        " its arguments, and training_only: true to leave it out of evaluation}",
    )


@dataclass
class EnvConfig:
    """One environment: its id and arguments, training budget and scores for normalisation."""

    name: str = setting("???", "name of the file in conf/env, without .yaml")
    id: str = setting("???", "Gymnasium id; module:id imports the module first")
    kwargs: dict[str, Any] = setting({}, "constructor arguments")
    imports: str | None = setting(None, "module to import; its import registers the id")
    budget: int = setting(100_000, "environment steps per seed", ge=1)
    horizon: int | None = setting(
        None,
        "time limit in steps, by truncation; null: the registered limit, if any",
        ge=1,
    )
    ends: bool = setting(
        False, "every episode terminates under any policy, so no time limit is needed"
    )
    table: bool = setting(
        True,
        "step all lanes at once with the tabular model, if there is one (a table P, Blackjack)",
    )
    native: bool = setting(
        True,
        "step CartPole, MountainCar, Acrobot and Pendulum for all lanes at once; the bits are the"
        " same",
    )
    fresh: bool | None = setting(
        None,
        "rebuild the environment and its extra wrappers at every reset, for those that keep state"
        " across episodes; null: only if there are extra wrappers",
    )
    random_score: float | None = setting(
        None, "mean return of the uniformly random policy", free=True
    )
    reference_score: float | None = setting(None, "return with a normalised score of 1", free=True)
    score_source: str = setting("", "source of both scores")
    lowest_score: float | None = setting(
        None, "least mean return that is possible; intervals do not go below", free=True
    )
    highest_score: float | None = setting(
        None, "largest mean return that is possible; intervals do not go above", free=True
    )
    wrappers: EnvWrappers = setting(EnvWrappers, "wrappers between the environment and the agent")
    masks: bool = setting(False, "tell agents which actions are legal, as info['action_mask'] says")
    record: list[str] = setting(
        [], "info keys of an episode's last step; their means are logged beside return and length"
    )


def from_dict(values: dict[str, Any]) -> EnvConfig:
    """Return the config from resolved plain data, with references to secrets replaced by values."""
    values = reveal(values, "env")
    check_recorded("env", values, EnvConfig)
    check_recorded("env.wrappers", values["wrappers"], EnvWrappers)
    return EnvConfig(**(values | {"wrappers": EnvWrappers(**values["wrappers"])}))


def split_module(values: dict[str, Any]) -> dict[str, Any]:
    """Return an environment's plain values with the id "module:Env-v0" as ``imports`` and ``id``.

    Raises:
        ConfigError: ``imports`` names another module.
    """
    module, colon, env_id = str(values["id"]).partition(":")
    if not colon:
        return values
    if values["imports"] not in (None, module):
        raise ConfigError(f"env.id: {values['id']} and env.imports={values['imports']} disagree")
    name = env_id if values["name"] == values["id"] else values["name"]
    return values | {"id": env_id, "imports": module, "name": name}


def registered(config: EnvConfig) -> EnvSpec:
    """Return Gymnasium's registration of ``env.id``, after importing ``env.imports``.

    Raises:
        ConfigError: the module or the id (which includes a version) does not exist.
    """
    if config.imports is not None:
        try:
            output: Any = CleanStream(sys.stderr)  # stdout is for what the command says
            with redirect_stdout(output), redirect_stderr(output):
                load(config.imports)
        except (Exception, SystemExit) as error:
            raise ConfigError(f"env.imports: {one_line(error)}") from error
    spec = gymnasium.registry.get(config.id)
    if spec is None:
        raise unknown("env.id", config.id, gymnasium.registry)
    return spec


def validate(config: EnvConfig) -> None:
    """Check names and ranges without building the environment.

    Raises:
        ConfigError: one line that names the key.
    """
    wrappers = config.wrappers
    try:
        check(config, prefix="env.")
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if wrappers.history > 1 and wrappers.frame_stack > 1:
        raise ConfigError(
            "env.wrappers.history: cannot be combined with env.wrappers.frame_stack > 1"
        )
    outside.check(wrappers.extra)
    facts.check(config.record)
    if config.random_score is not None and config.random_score == config.reference_score:
        raise ConfigError(
            "env.reference_score: equals env.random_score, so scores cannot be normalised"
        )
    if None not in (lowest := config.lowest_score, highest := config.highest_score) and (
        lowest >= highest  # type: ignore[operator]
    ):
        raise ConfigError("env.highest_score: must be above env.lowest_score")
    spec = registered(config)
    if config.horizon is None and spec.max_episode_steps is None and not config.ends:
        raise ConfigError(
            f"env.horizon: {config.id} has no time limit, so an evaluation might never end: set "
            "env.horizon, or env.ends=true if every episode terminates under any policy"
        )
    _check_kwargs(config, spec)
    if wrappers.shaping is not None:
        names = POTENTIALS[wrappers.shaping].environments
        if spec.name not in names:
            raise ConfigError(
                f"env.wrappers.shaping: {wrappers.shaping!r} is a potential for "
                f"{', '.join(names)}, not for {config.id}"
            )


def _check_kwargs(config: EnvConfig, spec: EnvSpec) -> None:
    """Check the names in ``env.kwargs`` against the constructor's signature, if it has one."""
    if not config.kwargs or spec.entry_point is None:
        return
    creator = spec.entry_point
    try:
        maker = load_env_creator(creator) if isinstance(creator, str) else creator
    except (ImportError, AttributeError, ValueError, gymnasium.error.Error):
        return  # a missing dependency; building the environment reports it
    outside.check_names("env.kwargs", maker, config.kwargs)
