"""Files of a folder that somebody else may have written: no pipes or devices, no way out of it."""

import os
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from .errors import ConfigError

_WANDB = "wandb"


def regular(path: Path) -> BinaryIO:
    """Open a regular file to read; a pipe or a device is never waited for.

    Raises:
        ConfigError: it is something else.
        OSError: it is not there, or cannot be read.
    """
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ConfigError(f"{path} is not a regular file")
    return open(descriptor, "rb")


def read_bytes(path: Path) -> bytes:
    """Return the content of a regular file; raises as ``regular``."""
    with regular(path) as file:
        return file.read()


def check_no_link(folder: Path) -> None:
    """Raise ConfigError if a folder is a link."""
    if folder.is_symlink():
        raise ConfigError(f"{folder} is a link: name the folder {os.path.realpath(folder)}")


def check_inside(folder: Path) -> None:
    """Check that whatever is written or deleted below a folder stays below it.

    W&B's own folders are full of links to what it sends; nothing else is written there.

    Raises:
        ConfigError: the folder is a link, or holds a link that leads out of it, a pipe or a device.
    """
    check_no_link(folder)
    root = os.path.realpath(folder)
    for entry in _entries(folder):
        if entry.is_symlink():
            target = os.path.realpath(entry.path)
            if os.path.commonpath([root, target]) != root:
                raise ConfigError(f"{entry.path} is a link that leads out of {folder}: remove it")
        elif not entry.is_file() and os.path.lexists(entry.path):
            raise ConfigError(f"{entry.path} is not a regular file: remove it")


def irregular(folder: Path) -> str:
    """Return the name of something in a folder that is neither a file nor a folder; "" if none."""
    with os.scandir(folder) as entries:
        return next((e.name for e in entries if not (e.is_file() or e.is_dir())), "")


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    """Yield everything below a folder but folders and what is W&B's; links are not followed."""
    folders = [str(folder)]
    while folders:
        with suppress(FileNotFoundError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders += [entry.path] * (entry.name != _WANDB)
                else:
                    yield entry
