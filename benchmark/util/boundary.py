"""The boundary of every command: a mistake, or a machine that fails, is one line and no traceback.

Code below it raises; only this module turns an exception into a line and an exit code.
"""

import errno
import os
import sys
import traceback
from collections.abc import Callable
from functools import cache
from pathlib import Path

from .errors import ConfigError, one_line
from .pipes import close_output
from .secrets import clean_output

REFUSED, INTERRUPTED = 2, 130  # exit codes
TRACEBACK_VARIABLE = "PRISM_TRACEBACK"  # if set, the traceback follows the line
_ADVICE = {
    errno.ENOLCK: "its file system offers no locks; put results on one that does, with results=",
    errno.ENOSPC: "no space or no inodes are left there; see df and df -i",
    errno.EDQUOT: "your quota is used up there",
    errno.EMFILE: "raise the limit of open files; see ulimit -n",
}


def answered(command: Callable[[], int], *mistakes: type[Exception]) -> int:
    """Run a command and return its exit code; whatever it raises is one line on stderr.

    A mistake of the user, a failure of the machine and a fault of Prism all end with ``REFUSED``.
    A reader of our output that has exited, such as head, is no failure. Nothing that is printed
    meanwhile shows a secret.

    Args:
        command: returns an exit code.
        mistakes: exceptions whose message is for the user, beside ``ConfigError``.
    """
    with clean_output():
        return _answered(command, mistakes)


def _answered(command: Callable[[], int], mistakes: tuple[type[Exception], ...]) -> int:
    try:
        return command()
    except KeyboardInterrupt:  # before anything ran: the launcher has its own handler
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        close_output()
        return 0
    except Exception as error:
        told = isinstance(error, (ConfigError, *mistakes))
        print(f"error: {error if told else line(error)}", file=sys.stderr)
        if os.environ.get(TRACEBACK_VARIABLE):
            traceback.print_exc()
        return REFUSED


def line(error: BaseException) -> str:
    """Return one line about an exception that is not meant for the user as it is."""
    if isinstance(error, OSError):
        return _refusal(error)
    if isinstance(error, MemoryError):
        return "the machine has no memory left"
    where = traceback.extract_tb(error.__traceback__)[-1:]
    place = "".join(
        f" ({Path(frame.filename).name}:{frame.lineno}, {frame.name})" for frame in where
    )
    return (
        f"a fault of Prism: {type(error).__name__}: {one_line(error)}{place}; "
        f"{TRACEBACK_VARIABLE}=1 shows all of it"
    )


def _refusal(error: OSError) -> str:
    """Return what the operating system refuses, and where."""
    where = f"{error.filename}: " if error.filename else ""
    reason = error.strerror or one_line(error)
    advice = _ADVICE.get(error.errno or 0, "")
    if error.errno in (errno.EACCES, errno.EPERM) and error.filename:
        advice = _owner(Path(os.fsdecode(error.filename)))
    return f"{where}{reason}" + (f": {advice}" if advice else "")


@cache
def _owner(path: Path) -> str:
    """Return whose a path or its nearest readable parent is, if it is not ours."""
    for each in (path, *path.absolute().parents):
        try:
            owner = each.stat().st_uid
        except OSError:
            continue
        return "" if owner == os.geteuid() else f"{each} belongs to {_name(owner)}"
    return ""


def _name(user: int) -> str:
    try:
        import pwd

        return pwd.getpwuid(user).pw_name
    except (ImportError, KeyError):
        return f"user {user}"
