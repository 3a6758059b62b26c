"""The facts about an environment, as ``conf/env/<name>.yaml`` states them, and their checks."""

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

from prism.algos.core.settings import check, setting

from ..util.errors import ConfigError, one_line, unknown
from ..util.secrets import reveal
from . import facts, outside
from .shaping import POTENTIALS


@dataclass
class EnvWrappers:
    """What stands between the environment and the agent.

    The observation side holds in training and evaluation, the reward side in training only. The
    reward is clipped, delayed, scaled and shaped in this order, so that shaping stays potential
    based whatever else is on.

    Wrappers of other packages have a key of their own, since a schema that holds the mapping to
    its types cannot also be a list. They stand around the environment and its time limit, within
    all that is Prism's: its encoding of observations and actions, and the wrappers below.
    """

    frame_stack: int = setting(
        1,
        "last observations, joined along the first axis (channels of images, features of vectors);"
        " before the episode's start the first one is repeated",
        ge=1,
    )
    history: int = setting(
        1,
        'the "N-gram" input, flat: the last N observations and the N - 1 actions between them;'
        " zeros before the episode's start",
        ge=1,
    )
    reward_scale: float = setting(1.0, "what rewards are multiplied by", gt=0)
    reward_clip: float | None = setting(
        None, "rewards are cut to [-reward_clip, reward_clip]; null: they are not", gt=0
    )
    shaping: str | None = setting(
        None, "a potential of benchmark/envs/shaping.py; null: none", choices=tuple(POTENTIALS)
    )
    delay_reward: bool = setting(False, "the whole return is paid at the episode's end")
    extra: list[Any] = setting(
        [],
        "of other packages, the first one innermost: {class: module:Class, or a registered name},"
        " its arguments beside it, and training_only: true where evaluation does without it",
    )


@dataclass
class EnvConfig:
    """One environment: what it is, how long it is trained on, and its scores for normalisation."""

    name: str = setting("???", "stem of the file in conf/env")
    id: str = setting("???", "Gymnasium id")
    kwargs: dict[str, Any] = setting({}, "the constructor's arguments")
    imports: str | None = setting(None, "module whose import registers the id")
    budget: int = setting(100_000, "environment steps of one seed", ge=1)
    horizon: int | None = setting(
        None,
        "time limit in steps, applied as a truncation; null: the registered one, if any",
        ge=1,
    )
    ends: bool = setting(
        False, "every episode ends by itself, whatever the policy does: no time limit is needed"
    )
    table: bool = setting(
        True,
        "step all lanes at once by the model, where the environment has one (a table P, Blackjack)",
    )
    fresh: bool | None = setting(
        None,
        "rebuild it and its extra wrappers at every reset: where one leaves traces of earlier"
        " episodes; null: where there are extra wrappers",
    )
    random_score: float | None = setting(None, "mean return of uniformly random actions", free=True)
    reference_score: float | None = setting(
        None, "the return that counts as 1 after normalisation", free=True
    )
    score_source: str = setting("", "where both scores come from")
    wrappers: EnvWrappers = setting(
        EnvWrappers, "what stands between the environment and the agent"
    )
    masks: bool = setting(
        False, "agents are told which actions are legal: info says it, under action_mask"
    )
    record: list[str] = setting(
        [], "keys of the info of an episode's last step: their means stand beside return and length"
    )


def from_dict(values: dict[str, Any]) -> EnvConfig:
    """Return the config that a resolved plain dict describes, its secrets revealed."""
    values = reveal(values, "env")
    return EnvConfig(**(values | {"wrappers": EnvWrappers(**values["wrappers"])}))


def registered(config: EnvConfig) -> EnvSpec:
    """Return Gymnasium's registration of ``env.id``, after importing ``env.imports``.

    Raises:
        ConfigError: the module or the id does not exist; a version is part of an id.
    """
    if config.imports is not None:
        try:
            import_module(config.imports)
        except ImportError as error:
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
        raise ConfigError("env.wrappers.history: excludes env.wrappers.frame_stack > 1")
    outside.check(wrappers.extra)
    facts.check(config.record)
    if config.random_score is not None and config.random_score == config.reference_score:
        raise ConfigError("env.reference_score: equals env.random_score, nothing can be normalised")
    spec = registered(config)
    if config.horizon is None and spec.max_episode_steps is None and not config.ends:
        raise ConfigError(
            f"env.horizon: {config.id} has no time limit, so an evaluation might never end: set "
            "env.horizon, or env.ends=true if every episode ends by itself"
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
    """Check the names in ``env.kwargs`` where the constructor says which it takes."""
    if not config.kwargs or spec.entry_point is None:
        return
    creator = spec.entry_point
    try:
        maker = load_env_creator(creator) if isinstance(creator, str) else creator
    except (ImportError, AttributeError, ValueError, gymnasium.error.Error):
        return  # a missing dependency; building it will tell
    outside.check_names("env.kwargs", maker, config.kwargs)
