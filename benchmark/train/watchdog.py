"""The watchdog of a worker process: renews the job's lease and ends a job that exceeds a limit.

A process trains one job at a time, so one counter measures its progress. A thread checks it, so
that even a job without a driver, say on a cluster, records why and exits when it hangs or uses too
much memory.
"""

import faulthandler
import os
import resource
import signal
import sys
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path

from ..store import leases, ledger, schema
from ..store.job import Job

PERIOD = 0.2  # seconds between checks
BEAT = 2.0  # seconds between renewals of the lease

_ticks = 0


def tick() -> None:
    """Count one step of training or evaluation."""
    global _ticks
    _ticks += 1


class Watchdog:
    """Context manager that renews the lease and checks the limits of a running job.

    Args:
        job: the running job, whose config holds the limits.
        enforce: end this process when a limit is exceeded or the lease is lost.
    """

    def __init__(self, job: Job, enforce: bool) -> None:
        self.job, self.enforce = job, enforce
        self.limits = job.spec.limits
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.thread.join()

    def _watch(self) -> None:
        began = moved = beaten = time.monotonic()
        seen, study = _ticks, Path(self.job.study_dir)
        token = leases.stop_token(study)
        while not self.closing.wait(PERIOD):
            now = time.monotonic()
            if _ticks != seen:
                seen, moved = _ticks, now
            if self.enforce:
                self._judge(now - began, now - moved)
            if now - beaten > BEAT:
                beaten = now
                with suppress(OSError):  # a full disk is the job's concern
                    if self.job.mark and not leases.beat(self.job) and self.enforce:
                        os._exit(0)  # another process has taken the runs over
                if token != (token := leases.stop_token(study)):
                    os.kill(os.getpid(), signal.SIGTERM)

    def _judge(self, running: float, still: float) -> None:
        memory, timeout, hang = self.limits.memory, self.limits.timeout, self.limits.hang
        if memory is not None and (used := rss() / 1e9) > memory:
            self._end(schema.OOM, f"out of memory: {used:.2f} GB, limits.memory={memory:g}")
        if timeout is not None and running > timeout:
            self._end(schema.TIMEOUT, f"timeout: ran {running:.0f} s, limits.timeout={timeout:g}")
        if hang is not None and still > hang:
            self._end(schema.HANG, f"hang: no step for {still:.0f} s, limits.hang={hang:g}")

    def _end(self, failure: str, reason: str) -> None:
        with suppress(OSError):
            ledger.end(self.job, schema.FAILED, reason, stacks(), failure, 1)
            print(reason, file=sys.stderr, flush=True)
        os._exit(1)


def rss() -> int:
    """Return the resident memory of this process in bytes; without ``/proc``, its peak."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return pages * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def stacks() -> str:
    """Return the stack traces of all threads of this process."""
    with tempfile.TemporaryFile("w+") as file:
        faulthandler.dump_traceback(file, all_threads=True)
        file.seek(0)
        return file.read()
