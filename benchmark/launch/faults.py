"""Classifies why a process ended before its runs were finished."""

import signal
from pathlib import Path

from ..store import schema
from .executor import Exit

_OURS = (signal.SIGTERM, signal.SIGINT)


def oom_kills() -> int:
    """Return how many processes the kernel has killed because memory ran out."""
    try:
        lines = Path("/proc/vmstat").read_text().splitlines()
    except OSError:
        return 0
    return next((int(x.split()[1]) for x in lines if x.startswith("oom_kill ")), 0)


def classify(exit: Exit, out_of_memory: bool = False) -> tuple[str, str]:
    """Return the class of a failure and a one-line description.

    Args:
        exit: how the process ended.
        out_of_memory: the kernel killed a process for lack of memory while this one ran.
    """
    lines = [line.strip() for line in exit.error.splitlines() if line.strip()]
    last = f": {lines[-1]}" if lines else ""
    if exit.lost:
        return schema.LOST, f"lost{last}"
    if exit.code < 0:
        number = signal.Signals(-exit.code)
        if number == signal.SIGKILL and out_of_memory:
            return schema.OOM, f"killed by the kernel, out of memory{last}"
        outside = number == signal.SIGKILL or number in _OURS
        return schema.LOST if outside else schema.CRASH, f"killed by {number.name}{last}"
    if exit.code:
        failure = schema.EXCEPTION if "Traceback (most recent" in exit.error else schema.EXIT
        return failure, f"exit code {exit.code}{last}"
    return schema.EXIT, f"the job returned without finishing this run{last}"
