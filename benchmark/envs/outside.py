"""Wrappers of other packages, as ``env.wrappers.extra`` names them: by class or registered name."""

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
    """Return the class, as "module:Class", of every wrapper that an installed package names."""
    return registry.registered("prism.wrappers", {})


def paths(extra: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the class, as "module:Class", of every entry.

    Raises:
        ConfigError: an entry's class is neither a registered name nor of that form.
    """
    return [
        registry.path_of(f"{_KEY}.{i}.{_CLASS}", entry[_CLASS], names())
        for i, entry in enumerate(extra)
    ]


def stored(extra: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the entries as a run's record holds them: said in one way, and by name.

    So code may move under its name, and what is said in another way is the same run.
    """
    called = {path: name for name, path in sorted(names().items(), reverse=True)}
    entries = []
    for entry in extra:
        named = {_CLASS: called.get(entry[_CLASS], entry[_CLASS])}
        only = {_TRAINING_ONLY: True} if entry.get(_TRAINING_ONLY) else {}
        entries.append(named | only | _arguments(entry))
    return entries


def applied(extra: Sequence[Mapping[str, Any]], training: bool) -> list[Mapping[str, Any]]:
    """Return the entries that hold in training or, without those for training only, evaluation."""
    return [entry for entry in extra if training or not entry.get(_TRAINING_ONLY)]


def wrap(env: gymnasium.Env, extra: Sequence[Mapping[str, Any]], training: bool) -> gymnasium.Env:
    """Put the wrappers that apply around an environment, the first one innermost.

    Raises:
        ConfigError: a wrapper refuses its arguments.
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
        fine = isinstance(entry, Mapping) and isinstance(entry.get(_CLASS), str)
        if not fine or not all(isinstance(name, str) for name in entry):
            raise ConfigError(
                f"{_KEY}.{i}: {entry} is no wrapper; say {{class: module:Class}} and its arguments"
            )
        if not isinstance(entry.get(_TRAINING_ONLY, False), bool):
            only = entry[_TRAINING_ONLY]
            raise ConfigError(f"{_KEY}.{i}.{_TRAINING_ONLY}: {only} is neither true nor false")
        check_names(f"{_KEY}.{i}", _load(i, entry), _arguments(entry), given=1)


def check_names(
    key: str, maker: Callable[..., Any], arguments: Mapping[str, Any], given: int = 0
) -> None:
    """Check names of arguments where what takes them says which it takes.

    Args:
        key: that holds the arguments. given: positional arguments before them.

    Raises:
        ConfigError: a name that it does not take; the nearest are listed.
    """
    try:
        parameters = list(inspect.signature(maker).parameters.values())[given:]
    except (TypeError, ValueError):
        return  # no signature; building it will tell
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
    if not (isinstance(wrapper, type) and issubclass(wrapper, gymnasium.Wrapper)):
        raise ConfigError(f"{key}={entry[_CLASS]} is not a gymnasium.Wrapper")
    return wrapper
