"""Every filesystem call below a folder as a point at which something can happen to its process."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CHANGES = ("os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.utime")
_listeners: list[Callable[[str, tuple[object, ...]], None]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    for listener in tuple(_listeners):  # a hook of the interpreter cannot be removed
        listener(event, arguments)


sys.addaudithook(_hear)


@contextmanager
def points(folder: Path, reached: Callable[[int], None]) -> Iterator[None]:
    """Call ``reached(n)`` before the n-th call, from 1, that changes or opens something there."""
    count = 0

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in _CHANGES or event == "open":
            path = arguments[0]
            if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(str(folder)):
                count += 1
                reached(count)

    _listeners.append(listen)
    try:
        yield
    finally:
        _listeners.remove(listen)
