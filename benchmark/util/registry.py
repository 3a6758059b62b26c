"""Finds classes by registered name, ours or from an entry-point group, or by "module:Class"."""

from collections.abc import Mapping
from importlib import import_module
from importlib.metadata import entry_points
from typing import Any

from .errors import ConfigError, one_line, unknown


def registered(group: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the class, as "module:Class", of every name; our own names take precedence."""
    return {entry.name: entry.value for entry in entry_points(group=group)} | dict(ours)


def path_of(key: str, name: str, known: Mapping[str, str]) -> str:
    """Return a class as "module:Class".

    Args:
        key: the config key that holds the name, for messages.
        name: a name, or "module:Class"; known: the class of every name.

    Raises:
        ConfigError: there is no such name, or the text is not "module:Class".
    """
    if ":" in name:
        return name
    if name not in known:
        raise unknown(key, name, [*known, "module:Class"])
    return known[name]


def find(key: str, name: str, known: Mapping[str, str]) -> Any:
    """Return the class of a name; see ``path_of``.

    Raises:
        ConfigError: there is no such name, or it cannot be imported.
    """
    module, _, attribute = (path := path_of(key, name, known)).partition(":")
    if not module or not attribute:
        raise ConfigError(f"{key}={name}: give a registered name or module:Class")
    try:
        return getattr(import_module(module), attribute)
    except Exception as error:  # importing a module can raise anything
        where = name if name == path else f"{name} ({path})"
        raise ConfigError(f"{key}={where} cannot be imported: {one_line(error)}") from None
