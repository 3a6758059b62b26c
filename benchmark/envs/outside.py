"""Wrappers from other packages: the entries of ``env.wrappers.extra``."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import gymnasium

from ..util import registry
from ..util.errors import ConfigError, one_line, unknown

_KEY = "env.wrappers.extra"
_CLASS, _TRAINING_ONLY = "class", "training_only"


@cache
def names() -> dict[str, str]:
    """Return wrapper name -> "module:Class" for the wrappers that installed packages register."""
    return registry.registered("prism.wrappers", {})


def paths(extra: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the class, as "module:Class", of every entry.

    Raises:
        ConfigError: an entry's class is neither a registered name nor "module:Class".
    """
    return [
        registry.path_of(f"{_KEY}.{i}.{_CLASS}", entry[_CLASS], names())
        for i, entry in enumerate(extra)
    ]


def stored(extra: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries in the canonical form of a run's record, by registered name if possible.

    So two spellings give the same run, and a registered class can move to another module.
    """
    name_of = {path: name for name, path in sorted(names().items(), reverse=True)}
    entries = []
    for entry in extra:
        wrapper = {_CLASS: name_of.get(entry[_CLASS], entry[_CLASS])}
        flag = {_TRAINING_ONLY: True} if entry.get(_TRAINING_ONLY) else {}
        entries.append(wrapper | flag | _arguments(entry))
    return entries


def applied(extra: Sequence[Mapping[str, Any]], training: bool) -> list[Mapping[str, Any]]:
    """Return the entries that apply: all in training, those not training-only in evaluation."""
    return [entry for entry in extra if training or not entry.get(_TRAINING_ONLY)]


def wrap(env: gymnasium.Env, extra: Sequence[Mapping[str, Any]], training: bool) -> gymnasium.Env:
    """Apply the wrappers to an environment, innermost first.

    Raises:
        ConfigError: a wrapper's constructor fails.
    """
    for i, entry in enumerate(extra):
        if entry.get(_TRAINING_ONLY) and not training:
            continue
        try:
            env = _load(i, entry)(env, **_arguments(entry))
        except ConfigError:
            raise
        except Exception as error:
            reason = f"{type(error).__name__}: {one_line(error)}"
            raise ConfigError(f"{_KEY}.{i}: {entry[_CLASS]} cannot be built: {reason}") from error
    return env


def check(extra: Sequence[Any]) -> None:
    """Check form, class and argument names of every entry, without building anything.

    Raises:
        ConfigError: one line that names the entry.
    """
    for i, entry in enumerate(extra):
        valid = isinstance(entry, Mapping) and isinstance(entry.get(_CLASS), str)
        if not valid or not all(isinstance(name, str) for name in entry):
            raise ConfigError(
                f"{_KEY}.{i}: {entry} is not a wrapper; write {{class: module:Class}} and its"
                " arguments"
            )
        if not isinstance(entry.get(_TRAINING_ONLY, False), bool):
            flag = entry[_TRAINING_ONLY]
            raise ConfigError(f"{_KEY}.{i}.{_TRAINING_ONLY}: {flag} is neither true nor false")
        check_names(f"{_KEY}.{i}", _load(i, entry), _arguments(entry), given=1)


def check_names(
    key: str, maker: Callable[..., Any], arguments: Mapping[str, Any], given: int = 0
) -> None:
    """Check argument names against the signature of a callable, if it has one.

    Args:
        key: the config key that holds the arguments, for messages.
        maker: the callable.
        arguments: by name.
        given: number of positional arguments that the caller passes first.

    Raises:
        ConfigError: an unknown name; the message lists the nearest ones.
    """
    try:
        parameters = list(inspect.signature(maker).parameters.values())[given:]
    except (TypeError, ValueError):
        return  # no signature; the constructor call reports it
    if any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters):
        return
    known = [p.name for p in parameters]
    for name in arguments:
        if name not in known:
            raise unknown(f"{key}.{name}", name, known)


def _arguments(entry: Mapping[str, Any]) -> dict[str, Any]:
    return {name: x for name, x in entry.items() if name not in (_CLASS, _TRAINING_ONLY)}


def _load(i: int, entry: Mapping[str, Any]) -> type[gymnasium.Wrapper]:
    key = f"{_KEY}.{i}.{_CLASS}"
    wrapper = registry.find(key, entry[_CLASS], names())
    if isinstance(wrapper, type) and issubclass(wrapper, gymnasium.vector.VectorWrapper):
        raise ConfigError(f"{key}={entry[_CLASS]} is a wrapper of vector environments, not of one")
    if not (isinstance(wrapper, type) and issubclass(wrapper, gymnasium.Wrapper)):
        raise ConfigError(f"{key}={entry[_CLASS]} is not a gymnasium.Wrapper")
    return wrapper
