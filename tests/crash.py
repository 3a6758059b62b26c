"""Every filesystem call below a folder as a point at which something can happen to its process."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_CALLS = ("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "os.utime")
_listeners: list[Callable[[str, tuple[object, ...]], None]] = []


def _hear(event: str, arguments: tuple[object, ...]) -> None:
    for listener in tuple(_listeners):  # a hook of the interpreter cannot be removed
        listener(event, arguments)


sys.addaudithook(_hear)


@contextmanager
def points(
    folder: Path, reached: Callable[[int], None], events: tuple[str, ...] = _CALLS
) -> Iterator[None]:
    """Call ``reached(n)`` before the n-th call, from 1, that changes or opens something there."""
    count = 0

    def listen(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal count
        if event in events and _path(event, arguments).startswith(str(folder)):
            count += 1
            reached(count)

    _listeners.append(listen)
    try:
        yield
    finally:
        _listeners.remove(listen)


def _path(event: str, arguments: tuple[object, ...]) -> str:
    """Return the path that an event is about; some calls name it from an open folder."""
    path, *more = arguments
    if not isinstance(path, str | os.PathLike):
        return ""
    beside = more[0] if event in ("os.remove", "os.rmdir") else -1
    folder = "" if beside == -1 else os.readlink(f"/proc/self/fd/{beside}")
    return os.path.join(folder, os.fspath(path))


def killed(folder: Path, point: int, command: Callable[[], object]) -> bool:
    """Run a command in a process that is killed before its n-th call; False if it has no such."""

    def reached(n: int) -> None:
        if n == point:
            os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        code = 1
        try:
            with points(folder, reached):
                command()
            code = 0
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code in (0, -signal.SIGKILL)
    return code != 0
