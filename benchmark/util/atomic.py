"""Atomic file writes, and a lock for folders that several processes change."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def write(path: Path, data: bytes, sync: bool = False) -> None:
    """Replace a file's content; a reader sees all of the old content or all of the new.

    Args:
        path: the file; its folder is created.
        data: the new content.
        sync: wait until the data is on the disk, so that it survives a power cut.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{threading.get_ident()}")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):  # on a full disk, free what the partial file takes
            temporary.unlink(missing_ok=True)
        error.filename = str(path)
        raise


@contextmanager
def mutex(folder: Path) -> Iterator[None]:
    """Lock a folder for one process at a time, across all machines that share it.

    The system releases the lock of a process that dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".mutex").open("ab") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
        except OSError as error:
            error.filename = str(folder)
            raise
        yield
