"""Errors in user input: one line that names the key and the nearest valid names."""

from collections.abc import Iterable
from dataclasses import fields
from difflib import get_close_matches
from typing import Any

_LISTS = {"algo": "algos", "env": "envs", "study": "studies"}  # key -> what lists its names


class ConfigError(ValueError):
    """Bad input, found before the first step; the message is one line and names the key."""


def one_line(error: BaseException) -> str:
    """Return the first non-empty line of an error's message, else the name of its class."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


def check_recorded(key: str, values: Iterable[str], config: Any) -> None:
    """Check that a config dataclass has the names that a record holds below ``key``.

    Raises:
        ConfigError: it lacks one: the record is of another version.
    """
    names = {each.name for each in fields(config)}
    for name in values:
        if name not in names:
            near = get_close_matches(name, names, n=3, cutoff=0.6)
            hint = f" (nearest: {', '.join(near)})" if near else ""
            raise ConfigError(
                f"{key}.{name}: no such key here{hint}; the record that holds it is of another "
                "version of Prism: use that one"
            )


def unknown(key: str, name: object, known: Iterable[str]) -> ConfigError:
    """Return the error for a name that does not exist.

    Args:
        key: the config key that holds the name ("env.id").
        name: the unknown name.
        known: the valid names; the message lists those nearest to ``name``.
    """
    names = sorted(known)
    folded = {other.lower(): other for other in reversed(names)}
    close = [folded[match] for match in get_close_matches(str(name).lower(), folded, cutoff=0.5)]
    if not close and len(names) <= 12:
        close = names
    hint = f"; nearest: {', '.join(close)}" if close else ""
    if not close and key in _LISTS:
        hint = f"; see prism list {_LISTS[key]}"
    return ConfigError(f"{key}: unknown {name!r}{hint}")
