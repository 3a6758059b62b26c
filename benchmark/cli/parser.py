"""Shared by all commands: a parser with one-line errors, and checks of folder arguments."""

import argparse
import os
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from ..plan.places import FOLDERS_VARIABLE
from ..util.errors import ConfigError, unknown


class OneLine(argparse.ArgumentParser):
    """A parser whose errors are one line, raised as ConfigError."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            names = action.option_strings or [self.prog.rpartition(" ")[2]]
            raise unknown(names[-1], value, action.choices)

    def error(self, message: str) -> NoReturn:
        """Raise ConfigError with the message."""
        raise ConfigError(message)


def folder(text: str) -> Path:
    """Return an existing folder.

    Raises:
        ConfigError: it does not exist; the message names the nearest ones.
    """
    path = Path(text)
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, siblings, n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ConfigError(f"there is no folder {text}{hint}")
    return path


def add_config_dir(parser: argparse.ArgumentParser) -> None:
    """Add the flag ``--config-dir``."""
    parser.add_argument("-cd", "--config-dir", help="a folder of your own with algo/, env/, study/")


def parsed(parser: argparse.ArgumentParser, words: list[str]) -> argparse.Namespace:
    """Parse a command line; its ``--config-dir`` then applies to this process and its children."""
    args = parser.parse_intermixed_args(words)
    if args.config_dir is not None:
        os.environ[FOLDERS_VARIABLE] = str(folder(args.config_dir).absolute())
    return args
