"""The facts about an environment, as ``conf/env/<name>.yaml`` states them, and their checks."""

from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import gymnasium
from gymnasium.envs.registration import EnvSpec, load_env_creator

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

    # last observations, joined along the first axis (channels of images, features of vectors);
    # before the episode's start the first one is repeated
    frame_stack: int = 1
    # the "N-gram" input, flat: the last N observations and the N - 1 actions between them, zeros
    # before the episode's start
    history: int = 1
    reward_scale: float = 1.0
    reward_clip: float | None = None  # rewards are cut to [-reward_clip, reward_clip]
    shaping: str | None = None  # a potential of benchmark/envs/shaping.py
    delay_reward: bool = False  # the whole return is paid at the episode's end
    # of other packages, the first one innermost: {class: module:Class, or a registered name}, its
    # arguments beside it, and training_only: true where evaluation does without it
    extra: list[Any] = field(default_factory=list)


@dataclass
class EnvConfig:
    """One environment: what it is, how long it is trained on, and its scores for normalisation."""

    name: str = "???"  # stem of the file in conf/env
    id: str = "???"  # Gymnasium id
    kwargs: dict[str, Any] = field(default_factory=dict)  # the constructor's arguments
    imports: str | None = None  # module whose import registers the id
    budget: int = 100_000  # environment steps per seed
    # time limit in steps, applied as a truncation; null keeps the registered one, if any
    horizon: int | None = None
    # every episode ends by itself, whatever the policy does: no time limit is needed
    ends: bool = False
    # step all lanes at once by the model, where the environment has one (a table P, Blackjack)
    table: bool = True
    # rebuild the environment and its extra wrappers at every reset: where one leaves traces of
    # earlier episodes; null rebuilds where there are extra wrappers
    fresh: bool | None = None
    random_score: float | None = None  # mean return of uniformly random actions
    reference_score: float | None = None  # the return that counts as 1 after normalisation
    score_source: str = ""  # where both come from
    wrappers: EnvWrappers = field(default_factory=EnvWrappers)
    # keys of the info of an episode's last step: their means stand beside return and length
    record: list[str] = field(default_factory=list)


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
    ranges = {
        "env.budget": (config.budget >= 1, config.budget, "at least 1"),
        "env.horizon": (
            config.horizon is None or config.horizon >= 1,
            config.horizon,
            "null or at least 1",
        ),
        "env.wrappers.frame_stack": (wrappers.frame_stack >= 1, wrappers.frame_stack, "at least 1"),
        "env.wrappers.history": (wrappers.history >= 1, wrappers.history, "at least 1"),
        "env.wrappers.reward_scale": (wrappers.reward_scale > 0, wrappers.reward_scale, "above 0"),
        "env.wrappers.reward_clip": (
            wrappers.reward_clip is None or wrappers.reward_clip > 0,
            wrappers.reward_clip,
            "null or above 0",
        ),
    }
    for key, (ok, value, wanted) in ranges.items():
        if not ok:
            raise ConfigError(f"{key}: {value} is out of range; it must be {wanted}")
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
        if wrappers.shaping not in POTENTIALS:
            raise unknown("env.wrappers.shaping", wrappers.shaping, POTENTIALS)
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
