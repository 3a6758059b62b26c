"""Live progress of a sweep, read from the heartbeats of its jobs: it works for any executor."""

import shutil
import sys
import threading
import time
from collections.abc import Mapping
from typing import Any

from benchmark import schema, store
from benchmark.job import Job, Sweep

_TERMINAL_PERIOD = 0.5  # seconds between two pictures on a terminal
_LOG_PERIOD = 10.0  # and between two lines elsewhere
_SHOWN = 12  # running jobs in a picture


class Progress:
    """Shows a sweep while it is open: a picture that renews itself, or plain lines off a terminal.

    Args:
        sweep: what is planned; jobs: what of it this command runs.
        running: the executor's running jobs, by job_id.
    """

    def __init__(self, sweep: Sweep, jobs: list[Job], running: Mapping[str, Job]) -> None:
        self.sweep, self.jobs, self.running = sweep, jobs, running
        self.done = self.failed = self.steps_done = 0
        self.began: dict[str, float] = {}
        self.start, self.out = time.monotonic(), sys.stdout
        self.live = self.out.isatty()
        self.height = 0  # lines of the picture on the terminal
        self.lock, self.closing = threading.RLock(), threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "Progress":
        planned = sum(len(job.seeds) for job in self.sweep.jobs)
        todo = sum(len(job.seeds) for job in self.jobs)
        self.say(
            f"{self.sweep.study}: {plural(planned, 'run')} planned, {planned - todo} finished "
            f"before, {todo} to do in {plural(len(self.jobs), 'job')}"
        )
        for pair in self.sweep.skipped:
            self.say(f"skipped  {pair['label']} on {pair['env']}: {pair['reason']}")
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.thread.join()
        self.say("")

    def say(self, line: str) -> None:
        """Print one line that stays."""
        with self.lock:
            self._clear()
            print(line, file=self.out, flush=True)

    def started(self, job: Job) -> None:
        """Note that a job begins."""
        self.began[job.job_id] = time.monotonic()

    def ended(self, job: Job, states: list[schema.Status]) -> None:
        """Note how a job ended, and say so."""
        wrong = [s for s in states if s["state"] != schema.FINISHED]
        with self.lock:
            self.done += 1
            self.failed += len(wrong)
            self.steps_done += work(job)
        seconds = time.monotonic() - self.began[job.job_id]
        word = "done" if not wrong else wrong[0]["state"].upper()
        self.say(f"{word:<8} {name(job)}, {seconds:.0f} s")
        for line in dict.fromkeys(str(s["reason"]) for s in wrong):
            count = sum(str(s["reason"]) == line for s in wrong)
            self.say(f"         {count} of {len(states)} seeds: {line}")

    def _watch(self) -> None:
        while not self.closing.wait(_TERMINAL_PERIOD if self.live else _LOG_PERIOD):
            lines = self.picture()
            if not self.live:
                self.say(" | ".join(lines))
                continue
            size = shutil.get_terminal_size()
            lines = [line[: size.columns - 1] for line in lines[: size.lines - 1]]
            with self.lock:
                self._clear()
                self.out.write("".join(f"{line}\n" for line in lines))
                self.out.flush()
                self.height = len(lines)

    def _clear(self) -> None:
        if self.height:
            self.out.write(f"\x1b[{self.height}A\x1b[J")
            self.height = 0

    def picture(self) -> list[str]:
        """Return the state of the sweep, one line, and of each running job, one line each."""
        running = list(self.running.values())
        beats = [store.read_json(store.job_dir(job) / "heartbeat.json") or {} for job in running]
        elapsed = time.monotonic() - self.start
        doing = sum(fraction(beat) * work(job) for job, beat in zip(running, beats, strict=True))
        total = sum(map(work, self.jobs))
        done = self.steps_done + doing
        eta = f"ETA {clock(elapsed * (total - done) / done)}" if done else "ETA unknown"
        head = f"{self.done}/{len(self.jobs)} jobs, {done / max(total, 1):.0%}, "
        head += f"{self.failed} runs failed, {clock(elapsed)} elapsed, {eta}"
        shown = [line(job, beat) for job, beat in zip(running, beats, strict=True)][:_SHOWN]
        return [head, *shown]


def line(job: Job, beat: Mapping[str, Any]) -> str:
    """Return what one running job's heartbeat says."""
    if not beat:
        return f"{name(job)}: starting"
    rate = beat["global_step"] * beat["seeds"] / max(beat["wall"], 1e-9)
    text = f"{name(job)}: {fraction(beat):.0%}, {rate:,.0f} steps/s"
    for key, word in (("train_return", "return"), ("eval_return", "evaluation")):
        if beat.get(key) is not None:
            text += f", {word} {beat[key]:.1f}"
    return text


def name(job: Job) -> str:
    """Return what a job is called in progress and failures."""
    return f"{job.variant['label']} on {job.env} x {plural(len(job.seeds), 'seed')}"


def plural(n: int, noun: str) -> str:
    """Return "1 seed" or "2 seeds"."""
    return f"{n} {noun}" + ("" if n == 1 else "s")


def work(job: Job) -> int:
    """Return the environment steps of a job, all seeds together."""
    return int(job.config["budget"]) * len(job.seeds)


def fraction(beat: Mapping[str, Any]) -> float:
    """Return how much of its budget a job has done."""
    return beat["global_step"] / beat["budget"] if beat else 0.0


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
