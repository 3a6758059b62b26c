"""The jobs in Slurm's queue, from squeue; needs no accounting database."""

import subprocess

_OVER = {"CD", "F", "TO", "NF", "CA", "OOM", "BF", "DL", "PR", "RV"}  # states of ended jobs


def names() -> frozenset[str] | None:
    """Return the jobs in the queue ("17_3" for a task of an array); None if squeue fails."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i %t"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = (line.split() for line in result.stdout.splitlines() if line.strip())
    return frozenset(name for name, state in rows if state not in _OVER)
