"""The launcher's core: submits unfinished jobs, watches and retries them, and reports.

It is the same for every executor.
"""

import math
import os
import shlex
import signal
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ..plan.executors import Options
from ..store import leases, ledger, provenance, records, schema, trust
from ..store.job import Job, Sweep
from ..train.runner import run_job
from ..util.signals import handled
from ..util.text import shown
from . import faults
from .executor import Executor, Exit
from .progress import Progress
from .report import summary
from .worker import Run

_POLL = 0.2  # seconds
_LOOK = 1.0  # seconds between checks of what other processes run
_BLIND = 30.0  # seconds after limits.hang: by then a hung process should have ended itself


def launch(
    sweep: Sweep,
    options: Options,
    run: Run = run_job,
    *,
    then: Callable[[Sweep, list[Job]], None] = lambda sweep, jobs: None,
) -> bool:
    """Run the unfinished jobs of a sweep; return whether the whole sweep is finished.

    Args:
        sweep: the planned jobs.
        options: the executor and its options.
        run: the job's function.
        then: is called with the sweep and the jobs that were to do, before the last lines.
    """
    jobs, before = ledger.remaining(sweep), ledger.planned_ids(sweep.study_dir)
    ledger.write_plan(sweep)
    trust.remember(sweep.study_dir, (job.spec.record for job in sweep.jobs))
    if any(job.spec.tracking.git_diff for job in sweep.jobs):
        with suppress(OSError):  # a full disk is the jobs' concern
            provenance.keep_diff(sweep.study_dir)
    began = time.monotonic()
    with _held(sweep.study_dir):
        runner = options.build(run, jobs)
        _run(sweep, jobs, runner, Progress(sweep, jobs, runner.running, before))
    print(summary(sweep.study_dir, {run for job in sweep.jobs for run in job.run_ids}))
    then(sweep, jobs)
    complete = not ledger.unfinished(sweep)
    print(f"\n{'complete' if complete else 'NOT complete'} after {time.monotonic() - began:.0f} s")
    print(f"results  {shown(str(sweep.study_dir))}")
    folder = shown(shlex.quote(str(sweep.study_dir)))
    print(f"report   prism report {folder}")
    if not complete:
        print(f"continue prism resume {folder}")
    return complete


def _run(sweep: Sweep, jobs: list[Job], runner: Executor, progress: Progress) -> None:
    with progress:
        drive = _Drive(sweep, jobs, runner, progress)
        with handled(drive.stop):
            try:
                drive()
            finally:  # leave no process behind if the driver itself fails
                for job_id in list(runner.running):
                    runner.kill(job_id)
                runner.close()


@contextmanager
def _held(study_dir: Path) -> Iterator[None]:
    """Hold a lease on the study, so that others see this process even between jobs."""
    path = None
    with suppress(OSError):  # a full disk is the jobs' concern
        path = leases.hold(study_dir, os.getpid())
    try:
        yield
    finally:
        if path is not None:
            path.unlink(missing_ok=True)


class _Drive:
    """One pass over the jobs of a sweep; other processes may work on the same study."""

    def __init__(self, sweep: Sweep, jobs: list[Job], runner: Executor, progress: Progress) -> None:
        self.sweep, self.runner, self.progress = sweep, runner, progress
        self.queue, self.elsewhere = deque(jobs), deque[Job]()  # elsewhere: leased by others
        self.watch = leases.Watch()
        self.retries = Counter[tuple[str, str]]()  # (last run, class of failure) -> retries
        self.requests = self.failed = 0
        self.looked = -math.inf
        now = leases.stop_token(sweep.study_dir)
        self.token = os.environ.pop(leases.TOKEN_VARIABLE, now)  # a stop since then counts
        self.kills: dict[str, int] = {}  # job_id -> the kernel's count when it began
        self.beats: dict[str, tuple[int, float]] = {}  # job_id -> its last beat, and since when

    def __call__(self) -> None:
        """Run until no job is left, or until all jobs have ended after a stop request."""
        while self.runner.running or (self.open and (self.queue or self.elsewhere)):
            if time.monotonic() - self.looked > _LOOK:
                self.looked = time.monotonic()
                with suppress(OSError):  # a network disk that stalls is looked at again
                    self._look()
            if self.open:
                self._fill()
            elif self.requests <= 1:
                self.runner.stop()
            else:
                for job_id in list(self.runner.running):
                    self.runner.kill(job_id)
            for exit in self.runner.poll(_POLL):
                self._settle(exit)

    @property
    def open(self) -> bool:
        """Return whether further jobs may start."""
        limit = self.sweep.stop_after
        return not self.requests and (limit is None or self.failed < limit)

    def stop(self, number: int) -> None:
        """Handle a signal: the first stops jobs cleanly, the second kills them."""
        self.requests += 1
        if self.requests == 1:
            self.progress.say(
                "stopping: jobs save a checkpoint first; press Ctrl-C again to end them now"
            )

    def _fill(self) -> None:
        while self.queue and self.open and self._has_room(self.queue[0]):
            job = self.queue.popleft()
            try:
                leased = self._lease(job)
                if leased is None:
                    continue
                ledger.prepare(leased)
            except leases.Lost:
                self.elsewhere.append(job)
                continue
            except OSError as error:  # a full disk must not take the sweep with it
                self.failed += 1
                self.progress.ended(job, _unwritten(job, "cannot start", error), False)
                continue
            self.kills[leased.job_id] = faults.oom_kills()
            self.progress.started(leased)
            self.runner.start(leased)
            if self.runner.blocking:
                break

    def _has_room(self, job: Job) -> bool:
        """Return whether a job fits in the free slots; one larger than all slots runs alone."""
        busy = sum(other.spec.cpus for other in self.runner.running.values())
        return not busy or busy + job.spec.cpus <= self.runner.slots

    def _lease(self, job: Job) -> Job | None:
        """Lease the unfinished part of a job; None if it is finished or held elsewhere."""
        rest = ledger.due(job)
        leased = rest and self.watch.take(rest)
        if rest is None:
            self.progress.ended(job, ledger.statuses(job), False)
        elif leased is None:
            self.elsewhere.append(rest)
        elif ledger.due(leased) == leased:
            return leased
        else:  # finished by its owner between our look and its release
            leases.release(leased)
            self.queue.append(rest)
        return None

    def _settle(self, exit: Exit) -> None:
        """Record how a job ended; requeue it if it may be retried.

        A job that another process took over while this one slept is that process's.
        """
        job = exit.job
        self.beats.pop(job.job_id, None)
        stopped = bool(exit.code) and (self.requests > 0 or exit.code == -signal.SIGINT)
        failure, reason = faults.classify(
            exit, faults.oom_kills() > self.kills.pop(job.job_id, 2**63)
        )
        try:
            if leases.taken(job):
                self.elsewhere.append(job)
                return
            state = schema.INTERRUPTED if stopped else schema.FAILED
            ledger.end(job, state, reason, exit.error, None if stopped else failure, exit.code)
            leases.release(job)
            states = ledger.statuses(job)
        except OSError as error:
            states = _unwritten(job, reason, error)
        if self.runner.blocking and schema.INTERRUPTED in {s["state"] for s in states}:
            self.requests += 1  # the signal was for this process, and the job has taken it
        wrong = [s["failure"] or failure for s in states if s["state"] == schema.FAILED]
        again = bool(wrong) and self.open and self._may_retry(job, wrong)
        self.progress.ended(job, states, again)
        if again:
            rest = ledger.due(job)
            assert rest is not None
            self.queue.append(rest)
        elif wrong:
            self.failed += 1

    def _may_retry(self, job: Job, wrong: list[str]) -> bool:
        worst = min(wrong, key=lambda failure: self.sweep.retry.get(failure, 0))
        self.retries[job.run_ids[-1], worst] += 1
        return self.retries[job.run_ids[-1], worst] <= self.sweep.retry.get(worst, 0)

    def _look(self) -> None:
        """Take over abandoned jobs, kill hung ones, and check for stop requests."""
        if self.token != (token := leases.stop_token(self.sweep.study_dir)):
            self.token = token
            self.stop(signal.SIGTERM)
        for _ in range(len(self.elsewhere)):
            job = self.elsewhere[0]
            rest = ledger.due(job)
            others = leases.of(self.sweep.study_dir)
            mine = [lease for lease in others if set(lease["runs"]) & set(job.run_ids)]
            running = [x for x in mine if self.watch.alive(x, self.sweep.study_dir)]
            self.elsewhere.popleft()
            if running:
                self.elsewhere.append(job)
            elif rest is None or all(s["state"] == schema.FAILED for s in ledger.statuses(rest)):
                self.progress.ended(job, ledger.statuses(job), False)
            else:
                self.queue.append(rest)
        now = time.monotonic()
        for job in list(self.runner.running.values()):
            hang = job.spec.limits.hang
            lease = records.read_passing(leases.path_of(job))
            beat, since = self.beats.get(job.job_id, (-1, now))
            if lease is None or lease["beat"] != beat:
                self.beats[job.job_id] = (lease["beat"] if lease else -1), now
            elif hang is not None and now - since > hang + _BLIND:
                self.runner.kill(job.job_id)  # first: it may hang while it holds the study's lock
                ledger.end(job, schema.FAILED, _why_it_hangs(job), "", schema.HANG, 1)


def _why_it_hangs(job: Job) -> str:
    """Return why a hung job is killed: the reason that its own watchdog wrote, if any.

    A main thread that holds the interpreter lock can block the watchdog after its first status.
    """
    reasons = [s["reason"] for s in ledger.statuses(job) if s["failure"] == schema.HANG]
    return next(filter(None, reasons), "hang: no sign of life")


def _unwritten(job: Job, reason: str, error: OSError) -> list[schema.Status]:
    """Return the statuses, kept in memory, of a job that failed because the disk is full."""
    text = f"{reason}; its status cannot be written: {error.strerror}"
    failed = {"state": schema.FAILED, "reason": text, "failure": schema.DISK}
    return [s if s["state"] in ledger.ENDED else {**s, **failed} for s in ledger.statuses(job)]  # type: ignore[typeddict-item]
