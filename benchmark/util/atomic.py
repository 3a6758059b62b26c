"""Atomic file writes, and a lock for folders that several processes change."""

import fcntl
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path

_PARTIAL = re.compile(r"\..+\.(\d+)-\d+(?:@(.+))?")


def write(path: Path, data: bytes, sync: bool = False) -> None:
    """Replace a file's content; a reader sees all of the old content or all of the new.

    Args:
        path: the file; its folder is created.
        data: the new content.
        sync: wait until the data is on the disk, so that it survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacement(path) as partial, partial.open("wb") as file:
        file.write(data)
        file.flush()
        if sync:
            os.fsync(file.fileno())


@contextmanager
def replacement(path: Path, lock: AbstractContextManager[None] | None = None) -> Iterator[Path]:
    """Yield the path of a partial file, which then takes the place of ``path``, under a lock."""
    owner = f"{os.getpid()}-{threading.get_ident()}@{socket.gethostname()}"
    partial = path.with_name(f".{path.name}.{owner}")
    try:
        yield partial
        with lock or nullcontext():
            partial.replace(path)
    except Exception as error:
        with suppress(OSError):  # on a full disk, free what the partial file takes
            partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            error.filename = str(path)
        raise


def writer(name: str) -> tuple[int, str | None] | None:
    """Return the process and the host that a partial file is named after; None for other names."""
    match = _PARTIAL.fullmatch(name)
    return (int(match[1]), match[2]) if match else None


@contextmanager
def mutex(folder: Path) -> Iterator[None]:
    """Lock a folder for one process at a time, across all machines that share it.

    The system releases the lock of a process that dies. Who has waited while the folder was renamed
    or deleted gets the lock of the folder that has its name now.
    """
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / ".mutex").open("ab") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX)
            except OSError as error:
                error.filename = str(folder)
                raise
            if _is_at(file.fileno(), Path(file.name)):
                yield
                return


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
