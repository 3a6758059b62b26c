"""Files that a reader sees whole or not at all, and a lock for what several processes change."""

import fcntl
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def write(path: Path, data: bytes, sync: bool = False) -> None:
    """Replace a file's content so that a reader sees the old one or the new one, never a part.

    Args:
        path: the file; its folder is made.
        data: the new content.
        sync: wait until it is on the disk, so that it outlives a power cut.
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
    except OSError:
        temporary.unlink(missing_ok=True)  # a full disk: leave what little there is to others
        raise


@contextmanager
def mutex(folder: Path) -> Iterator[None]:
    """Let one process at a time, on any machine that shares the folder, change what lies in it.

    The system drops the lock of a process that dies.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".mutex").open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
