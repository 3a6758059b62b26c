"""Checks a study's file before Hydra composes it, whose own messages do not name the mistake."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from ..util.errors import ConfigError
from .places import files

_PACKAGE = "# @package _global_"
_AXES = ("algo", "env")


def check(name: str) -> None:
    """Check the file of a study; a name without a file is left to Hydra, which knows all names.

    Raises:
        ConfigError: it cannot be read, lacks the line that makes its keys those of a command, or
            has an axis outside its grid.
    """
    path = files("study").get(name)
    if path is None:
        return
    text, values = read(path)
    if _PACKAGE not in (line.strip() for line in text.splitlines()):
        raise ConfigError(f"{path}: the line {_PACKAGE!r} is missing; write it first")
    if not isinstance(values, Mapping):
        raise ConfigError(f"{path}: a study is a mapping of keys, as in name: {name}")
    for key in _AXES:
        if key in values and not isinstance(values[key], Mapping):
            raise ConfigError(
                f"{path}: {key} belongs under grid:, as in grid: {{algo: dqn, env: cartpole}}"
            )


def check_own(folders: list[str]) -> None:
    """Check that every YAML file of the user's config folders can be read.

    Raises:
        ConfigError: the first one that cannot.
    """
    for folder in folders:
        for path in sorted(Path(folder).rglob("*.yaml")):
            read(path)


def read(path: Path) -> tuple[str, Any]:
    """Return the text and the values of a YAML file.

    Raises:
        ConfigError: it is not text, or not YAML; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return text, yaml.safe_load(text)
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: is not text in UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark is not None else str(path)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        raise ConfigError(f"{where}: is not YAML: {problem}") from None
