"""Live progress of a sweep, read from the heartbeat files of its jobs."""

import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping
from typing import Any

from ..store import records, schema
from ..store.job import Job, Sweep
from ..util.text import clock, plural, shown
from .report import extent

_LOG_PERIOD = 10.0  # seconds between lines when stdout is no terminal
_RECENT = 4  # recently ended jobs to show
_NUMBERS = ("done", "steps/s", "ETA", "return", "evaluation")
_WIDTH = 72  # minimum width in characters, so that the title does not wrap


class Progress:
    """Context manager that shows a sweep: a live table on a terminal, else plain lines.

    Args:
        sweep: the whole plan.
        jobs: the jobs that this command runs.
        running: the executor's running jobs, by job_id.
        before: ids of the runs that the study's plan held before the sweep.
    """

    def __init__(
        self,
        sweep: Sweep,
        jobs: list[Job],
        running: Mapping[str, Job],
        before: Collection[str] = (),
    ) -> None:
        self.sweep, self.jobs, self.running, self.before = sweep, jobs, running, before
        self.ends: dict[str, tuple[Job, str]] = {}  # job_id -> how it ended
        self.failed = 0
        self.began: dict[str, float] = {}
        self.start = time.monotonic()
        self.live: Any = live_table(self.table) if sys.stdout.isatty() else None
        self.closing = threading.Event()
        self.thread = threading.Thread(target=self._lines, daemon=True)

    def __enter__(self) -> "Progress":
        runs = [run for job in self.sweep.jobs for run in job.run_ids]
        todo = sum(len(job.seeds) for job in self.jobs)
        self.say(
            f"{self.sweep.study}: {extent(runs, self.before, ' planned')}, "
            f"{len(runs) - todo} finished before, {todo} to do in {plural(len(self.jobs), 'job')}"
        )
        for pair in self.sweep.skipped:
            self.say(f"skipped  {pair['label']} on {pair['env']}: {pair['reason']}")
        for note in self.sweep.notes:
            self.say(f"note     {note}")
        (self.live or self.thread).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        if self.live:
            self.live.stop()
        else:
            self.thread.join()
        self.say("")

    def say(self, line: str) -> None:
        """Print one line above the live table."""
        line = shown(line)
        if self.live:
            self.live.console.print(line, markup=False, highlight=False, soft_wrap=True)
        else:
            print(line, flush=True)

    def started(self, job: Job) -> None:
        """Record that a job starts."""
        self.began[job.job_id] = time.monotonic()
        self.ends.pop(job.job_id, None)

    def ended(self, job: Job, states: list[schema.Status], again: bool) -> None:
        """Record and print how a job ended.

        Args:
            job: the job.
            states: the statuses of its runs.
            again: the job will be retried.
        """
        wrong = [s for s in states if s["state"] != schema.FINISHED]
        seconds = time.monotonic() - self.began.get(job.job_id, time.monotonic())
        word = "done" if not wrong else "again" if again else wrong[0]["state"].upper()
        if not again:
            self.failed += sum(s["state"] == schema.FAILED for s in wrong)
        self.ends[job.job_id] = job, word
        self.say(f"{word:<8} {name(job)}, {seconds:.0f} s")
        for reason in dict.fromkeys(str(s["reason"]) for s in wrong):
            count = sum(str(s["reason"]) == reason for s in wrong)
            self.say(f"         {count} of {len(states)} seeds: {reason}")

    def _lines(self) -> None:
        while not self.closing.wait(_LOG_PERIOD):
            self.say(" | ".join([self.head(), *map(line, self._beats())]))

    def _beats(self) -> list[tuple[Job, dict[str, Any]]]:
        running = list(self.running.values())
        return [
            (job, records.read_passing(records.job_dir(job) / "heartbeat.json") or {})
            for job in running
        ]

    def head(self) -> str:
        """Return the state of the sweep in one line."""
        incomplete = ("again", schema.INTERRUPTED.upper())
        ends = [job for job, word in list(self.ends.values()) if word not in incomplete]
        done = sum(map(work, ends)) + sum(fraction(b) * work(job) for job, b in self._beats())
        total, elapsed = sum(map(work, self.jobs)), time.monotonic() - self.start
        slowest = max((left(b) or 0.0 for _, b in self._beats()), default=0.0)
        rest = max(elapsed * (total - done) / done, slowest) if done else None
        eta = "ETA unknown" if rest is None else f"ETA {clock(rest)}"
        text = f"{len(ends)}/{len(self.jobs)} jobs, {done / max(total, 1):.0%}, "
        return text + f"{self.failed} runs failed, {clock(elapsed)} elapsed, {eta}"

    def table(self) -> Any:
        """Return the table: running jobs, recently ended jobs, and the count of waiting ones."""
        from rich.table import Table

        table = Table(
            title=self.head(), title_justify="left", box=None, pad_edge=False, min_width=_WIDTH
        )
        table.add_column("job", no_wrap=True, overflow="ellipsis")
        table.add_column("seeds", justify="right")
        table.add_column("state", no_wrap=True)
        for number in _NUMBERS:
            table.add_column(number, justify="right", no_wrap=True)
        for job, beat in self._beats():
            table.add_row(cell(job), str(len(job.seeds)), *cells(beat))
        for job, word in list(self.ends.values())[-_RECENT:]:
            table.add_row(cell(job), str(len(job.seeds)), word)
        waiting = len(self.jobs) - len(self.ends) - len(self.running)
        if waiting > 0:
            table.add_row(f"and {plural(waiting, 'job')}", "", "waiting")
        return table


def live_table(picture: Callable[[], Any]) -> Any:
    """Return rich's live display of what ``picture`` returns."""
    from rich.live import Live  # only a terminal needs it

    return Live(get_renderable=picture, refresh_per_second=2)


def cells(beat: Mapping[str, Any]) -> list[str]:
    """Return a running job's table columns: its state, then ``_NUMBERS`` as text."""
    if not beat:
        return ["starting"]
    rate = beat["global_step"] * beat["seeds"] / max(beat["wall"], 1e-9)
    rest = left(beat)
    scores = [beat.get(key) for key in ("train_return", "eval_return")]
    texts = ["" if score is None else f"{score:.1f}" for score in scores]
    eta = "unknown" if rest is None else clock(rest)
    return [schema.RUNNING, f"{fraction(beat):.0%}", f"{rate:,.0f}", eta, *texts]


def line(of: tuple[Job, Mapping[str, Any]]) -> str:
    """Return one running job's progress as text."""
    job, beat = of
    state, *rest = cells(beat)
    if not rest:
        return f"{name(job)}: {state}"
    text = f"{name(job)}: {rest[0]}, {rest[1]} steps/s"
    words = zip(("return", "evaluation"), rest[3:], strict=True)
    return text + "".join(f", {word} {value}" for word, value in words if value)


def name(job: Job) -> str:
    """Return a job's display name."""
    return f"{cell(job)} x {plural(len(job.seeds), 'seed')}"


def cell(job: Job) -> str:
    """Return the (variant, environment) cell of a job as text."""
    return f"{job.variant['label']} on {job.env}"


def work(job: Job) -> int:
    """Return the environment steps of a job, all seeds together."""
    return job.spec.budget * len(job.seeds)


def fraction(beat: Mapping[str, Any]) -> float:
    """Return the fraction of the budget that a job has done."""
    return beat["global_step"] / beat["budget"] if beat else 0.0


def left(beat: Mapping[str, Any]) -> float | None:
    """Return a job's remaining seconds at its average speed; None before the first step."""
    share = fraction(beat)
    return beat["wall"] * (1 - share) / share if share else None
