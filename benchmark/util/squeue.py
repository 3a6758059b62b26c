"""What waits and runs in Slurm's queue, as squeue tells it; no accounting database is needed."""

import subprocess

_OVER = {"CD", "F", "TO", "NF", "CA", "OOM", "BF", "DL", "PR", "RV"}  # states behind a job's end


def names() -> frozenset[str] | None:
    """Return the jobs in the queue ("17_3" for a task of an array); None if nobody can tell."""
    command = ["squeue", "--me", "--noheader", "--array", "--format=%i %t"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    rows = (line.split() for line in told.stdout.splitlines() if line.strip())
    return frozenset(name for name, state in rows if state not in _OVER)
