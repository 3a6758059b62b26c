"""A worker process: one job, its output in a file, stopped when its driver dies."""

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TextIO, cast

from ..store import leases
from ..store.job import Job
from ..train.watchdog import Watchdog
from ..util.secrets import CleanStream, notice

Run = Callable[[Job], object]  # what a job does; runner.run_job

GRACE = 30.0  # seconds for a last checkpoint after the driver has died
_PR_SET_PDEATHSIG = 1  # of linux/prctl.h
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


def limit_threads(threads: int) -> None:
    """Limit this process to ``threads`` compute threads."""
    import torch

    os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
    torch.set_num_threads(threads)


def run_inside(run: Run, job: Job) -> None:
    """Run a job in this process; restore its thread settings afterwards."""
    import torch

    notice(job.spec.record)
    threads, variables = torch.get_num_threads(), dict(os.environ)
    limit_threads(job.spec.threads)
    try:
        with Watchdog(job, enforce=False):
            run(job)
    finally:
        torch.set_num_threads(threads)
        for name in THREAD_VARIABLES:
            os.environ.pop(name)
        os.environ |= {name: variables[name] for name in THREAD_VARIABLES if name in variables}


def run_contained(run: Run, job: Job) -> None:
    """Run a job in a process of its own; return at once if the lease cannot be taken over."""
    faulthandler.enable()
    if job.mark and not leases.adopt(job):
        return
    limit_threads(job.spec.threads)
    with Watchdog(job, enforce=True):
        run(job)


def die_with_parent() -> None:
    """Let the kernel kill this process when its parent dies (Linux only)."""
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def take_output(log: Path) -> None:
    """Append the output of Python and C code to ``log``; secrets are removed from Python's."""
    log.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    os.close(descriptor)
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    sys.stdout = cast(TextIO, CleanStream(sys.stdout))
    sys.stderr = cast(TextIO, CleanStream(sys.stderr))


def work(run: Run, job: Job, log: Path, device: str | None = None) -> None:
    """Run a job in this process: the target of a fork server's child.

    Args:
        run: the job's function.
        job: what to run.
        log: file that takes the output of Python and of C code, and a traceback if there is one.
        device: number of the only GPU that the job sees; None for no restriction.
    """
    os.setsid()  # Ctrl-C must reach only the driver, which then asks the workers to stop
    if device is not None:
        os.environ["CUDA_VISIBLE_DEVICES"] = device
    notice(job.spec.record)
    log.unlink(missing_ok=True)
    take_output(log)
    threading.Thread(target=_stop_with_driver, daemon=True).start()
    run_contained(run, job)


def _stop_with_driver() -> None:
    driver = multiprocessing.parent_process()
    assert driver is not None
    driver.join()
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE)
    os._exit(1)
