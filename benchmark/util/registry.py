"""Finds classes by registered name, ours or from an entry-point group, or by "module:Class".

A module that the user names may lie in the working directory, which is searched last and only for
such a name: nothing in it is imported by accident.
"""

import os
import sys
from collections.abc import Iterable, Mapping
from importlib import import_module, metadata
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

from .errors import ConfigError, one_line, unknown

_searched: set[str] = set()  # working directories in which a named module was found


def entry_points(group: str) -> Iterable[metadata.EntryPoint]:
    """Return the entry points of installed distributions; a working directory installs none."""
    for entry in metadata.entry_points(group=group):
        if entry.dist is None or os.path.realpath(str(entry.dist.locate_file(""))) not in _searched:
            yield entry


def registered(group: str, ours: Mapping[str, str]) -> dict[str, str]:
    """Return the class, as "module:Class", of every name; our own names take precedence."""
    return {entry.name: entry.value for entry in entry_points(group)} | dict(ours)


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
        return getattr(load(module), attribute)
    except Exception as error:  # importing a module can raise anything
        where = name if name == path else f"{name} ({path})"
        raise ConfigError(f"{key}={where} cannot be imported: {one_line(error)}") from None


def load(module: str) -> ModuleType:
    """Import a module that the user or an installed distribution names."""
    here = os.getcwd()
    if _installed(module) is None and _in(here, module) is not None and here not in sys.path:
        sys.path.append(here)
        _searched.add(os.path.realpath(here))
    return import_module(module)


def origin(module: str) -> str:
    """Return where the top package of a module lies, without importing it; "" if nowhere."""
    spec = _installed(module) or _in(os.getcwd(), module)
    if spec is None:
        return ""
    places = [spec.origin] if spec.has_location else spec.submodule_search_locations or ()
    return os.pathsep.join(os.path.realpath(place) for place in places if place)


def leave_working_directory() -> None:
    """Undo that ``python -m`` searches the working directory first, unless Prism lies there."""
    here, prism = os.getcwd(), Path(__file__).resolve().parents[2]
    if sys.path and sys.path[0] in ("", here) and Path(here).resolve() != prism:
        del sys.path[0]


def _installed(module: str) -> ModuleSpec | None:
    try:
        return find_spec(module.partition(".")[0])
    except ValueError:  # __main__ has no module spec; an empty name
        return None


def _in(folder: str, module: str) -> ModuleSpec | None:
    return PathFinder.find_spec(module.partition(".")[0], [folder])
