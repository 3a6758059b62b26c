"""What a plan will cost: from the runs that this results folder holds, else from a short trial."""

import heapq
import json
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from benchmark import ledger, schema, store
from benchmark.job import Job

SEED_SHARE = 0.154  # of one seed's time that each further one adds: `make bench`, DQN on CartPole
START = 0.25  # CPU seconds of a job before its first step
TRIAL = 3.0  # CPU seconds of a trial
_TRIALS = 8  # at most, of one plan
_RUNS = 5  # past runs of one cell that are looked at, the newest


@dataclass
class Price:
    """The cost of a plan's unfinished part.

    Attributes:
        jobs: how many; cpu: seconds of all together; wall: with ``slots`` jobs at once.
        disk: bytes of the runs' folders.
        past, tried, guessed: jobs priced by past runs, by a trial, by others of the plan.
    """

    jobs: int
    cpu: float
    wall: float
    disk: float
    past: int
    tried: int
    guessed: int
    slots: int

    def __str__(self) -> str:
        if not self.jobs:
            return "price: nothing is left to do"
        known = f"{self.past} jobs from past runs, {self.tried} from trials of {TRIAL:.0f} s"
        known += f", {self.guessed} from their neighbours" if self.guessed else ""
        return (
            f"price: {_clock(self.wall)} with {self.slots} jobs at once, {self.cpu / 3600:.2f} CPU "
            f"hours, {self.disk / 1e6:.1f} MB ({known})"
        )


def of(jobs: list[Job], results: Path, slots: int) -> Price:
    """Return the price of jobs.

    Args:
        jobs: what is to do.
        results: the folder of all studies, whose runs tell how fast this machine is.
        slots: jobs at once.
    """
    past = _Past(results)
    seconds: dict[str, float] = {}
    for job in jobs:
        if (known := past.seconds(job)) is not None:
            seconds[job.job_id] = known
    from_past = len(seconds)
    tried: dict[str, float] = {}  # cell -> seconds per step of one seed
    for job in jobs:
        if job.job_id not in seconds:
            cell = _cell(job.config, job.env)
            if cell not in tried and len(tried) < _TRIALS:
                print(f"measuring {job.variant['label']} on {job.env}", file=sys.stderr)
                tried[cell] = trial(job)
            if cell in tried:
                seconds[job.job_id] = _scaled(tried[cell], job)
    from_trials = len(seconds) - from_past
    rates = [seconds[j.job_id] / _work(j) for j in jobs if j.job_id in seconds]
    for job in jobs:
        if job.job_id not in seconds:
            seconds[job.job_id] = median(rates) * _work(job)
    runs = sum(len(job.seeds) for job in jobs)
    total = sum(seconds.values()) + START * len(jobs)
    return Price(
        jobs=len(jobs),
        cpu=total,
        wall=_schedule([s + START for s in seconds.values()], slots),
        disk=runs * past.bytes_per_run(),
        past=from_past,
        tried=from_trials,
        guessed=len(jobs) - from_past - from_trials,
        slots=slots,
    )


def _cell(config: Mapping[str, Any], env: str) -> str:
    """Return what has one speed: everything but the budget and how often it is evaluated."""
    return store.digest([config["algo"], config["env"], env])


def _work(job: Job) -> float:
    """Return the steps of a job in those of one seed alone."""
    return float(job.config["budget"] * (1 + SEED_SHARE * (len(job.seeds) - 1)))


def _scaled(rate: float, job: Job) -> float:
    return rate * _work(job)


def _schedule(seconds: Iterable[float], slots: int) -> float:
    """Return when the last of some jobs ends, the longest begun first."""
    free = [0.0] * slots
    for length in sorted(seconds, reverse=True):
        heapq.heapreplace(free, free[0] + length)
    return max(free)


class _Past:
    """What finished runs took, by their cell and the seeds that trained with them."""

    def __init__(self, results: Path) -> None:
        self._rates: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
        self._sizes: list[int] = []
        folders = sorted(results.glob("*/runs/*"), key=lambda p: p.stat().st_mtime, reverse=True)
        for folder in folders:
            self._read(folder)

    def _read(self, folder: Path) -> None:
        record, status = store.read_json(folder / "run.json"), store.read_status(folder)
        if record is None or not ledger.finished(folder, status) or "pack" not in record:
            return
        cell, k = _cell(record["config"], record["env"]), len(record["pack"]["seeds"])
        rates = self._rates[cell][k]
        if len(rates) < _RUNS:
            last = _last(folder / "timing.jsonl")
            if last:
                rates.append(last["cpu"] / last[schema.STEP])
                self._sizes.append(sum(p.stat().st_size for p in folder.iterdir() if p.is_file()))

    def seconds(self, job: Job) -> float | None:
        """Return what a job took before, scaled to its budget and its number of seeds."""
        known = self._rates.get(_cell(job.config, job.env))
        if not known:
            return None
        k = min(known, key=lambda n: abs(n - len(job.seeds)))
        alone = median(known[k]) / (1 + SEED_SHARE * (k - 1))
        return _scaled(alone, job)

    def bytes_per_run(self) -> float:
        """Return what a run's folder takes."""
        return median(self._sizes) if self._sizes else 150e3


def _last(path: Path) -> dict[str, float] | None:
    try:
        lines = path.read_bytes().splitlines()
        return dict(json.loads(lines[-1])) if lines else None
    except (OSError, ValueError):
        return None


def trial(job: Job) -> float:
    """Train a job for a few seconds in a folder that is thrown away.

    Returns:
        CPU seconds per environment step, of one seed alone, evaluations included.
    """
    from benchmark.runner import Training

    with tempfile.TemporaryDirectory() as folder:
        config = {**job.config, "tracking": {**job.config["tracking"], "wandb": "disabled"}}
        config |= {"checkpoint_every": 0, "evaluation": {**config["evaluation"], "every": 0}}
        training = Training(replace(job, study_dir=folder, config=config))
        warm = min(config["algo"].get("learning_starts", 0), job.config["budget"] // 2)
        marks: list[tuple[int, float]] = []  # step and CPU time, since learning began

        def enough() -> bool:
            if training.step >= warm:
                marks.append((training.step, time.process_time()))
            return bool(marks) and marks[-1][1] - marks[0][1] > TRIAL

        try:
            training.run(enough)
            began = time.process_time()
            training.evaluators["eval"](training.agent)
            evaluation = time.process_time() - began
        finally:
            training.close()
    (first, start), (last, end) = marks[0], marks[-1]
    every = job.config["evaluation"]["every"]
    every = max(1, job.config["budget"] // 20) if every is None else every
    per_step = (end - start) / max(last - first, 1) + (evaluation / every if every else 0.0)
    return per_step / (1 + SEED_SHARE * (len(job.seeds) - 1))


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest:02d}"
