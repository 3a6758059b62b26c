"""The cost of a job: fitted to the rows of a finished run, or measured in a short trial."""

import io
import json
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from ..envs.config import registered
from ..store import checkpoint, records, schema
from ..store.job import Job
from ..store.spec import RunSpec
from ..util.files import read_bytes

if TYPE_CHECKING:
    from ..train.runner import Training

START = 0.25  # CPU seconds of a process before its training is set up
TRIAL = 3.0  # seconds of a trial, after its start
_LEARNING, _EVALUATING = 0.7, 0.15  # shares of it: learning, and each of two evaluations
_BEFORE = 200  # most steps of a trial before learning starts
_BESIDE = 4e3  # bytes of a run's folder besides its weights and rows
_ROW = 170.0  # default bytes of a row and its times, for a trial too short to write one
_TABLE, _WANDB = 0.15, 3.8  # bytes of the Parquet file and of W&B's files per byte of rows


@dataclass(frozen=True)
class Cost:
    """The cost of a job of one cell with K seeds.

    Attributes:
        start: seconds before the first step, minus the time saved in steps before learning starts.
        step: seconds per environment step, all seeds together.
        evaluation: seconds per periodic evaluation.
        final: seconds of the final evaluation.
        busy: CPU seconds per second.
        disk: bytes per run.
    """

    start: float
    step: float
    evaluation: float
    final: float
    busy: float
    disk: float

    def seconds(self, spec: RunSpec) -> float:
        """Return the seconds of a job with the budget and the evaluations of a run."""
        every = spec.evaluate_every
        evaluations = spec.budget // every if every else 0
        training = max(0.0, self.start + self.step * spec.budget)
        return START + training + self.evaluation * evaluations + self.final


def fitted(folder: Path) -> Cost | None:
    """Return the cost of a finished run's job, None if its rows are missing or do not match."""
    times, rows = _rows(folder / "timing.jsonl"), _rows(folder / "metrics.jsonl")
    if not rows or len(times) != len(rows):
        return None
    config = records.read_json(folder / "run.json")["config"]  # plain: its agent may not be here
    cpus: int = config["algo"].get("cpus", 1)
    clock, busy = _clock(cpus, config["threads"], config["device"])
    last = times[-1]
    if clock is not time.process_time and cpus == 1:
        busy = last["cpu"] / max(last["wall"], 1e-9)
    key = "cpu" if clock is time.process_time else "wall"
    steps = np.diff([0.0, *(row[schema.STEP] for row in times)])
    spent = np.diff([0.0, *(row[key] for row in times)])
    evaluates = np.array([schema.EVAL_RETURN in row for row in rows])
    evaluates[-1] = True
    plain = ~evaluates
    if not plain.any():  # every row has an evaluation: they cannot be told apart
        return Cost(0.0, float(spent.sum() / steps.sum()), 0.0, 0.0, busy, _size(folder))
    late = plain & (np.cumsum(plain) > plain.sum() // 2)  # learning has begun by then
    step = float(spent[late].sum() / max(steps[late].sum(), 1.0))
    beyond = spent - step * steps
    periodic = evaluates[:-1]
    evaluation = float(beyond[:-1][periodic].mean()) if periodic.any() else 0.0
    final = float(beyond[-1]) - evaluation * (schema.EVAL_RETURN in rows[-1])
    start = float(beyond[plain].sum())
    return Cost(start, step, max(0.0, evaluation), max(0.0, final), busy, _size(folder))


def _rows(path: Path) -> list[dict[str, float]]:
    try:
        return [json.loads(line) for line in _lines(path)]
    except (ValueError, RecursionError):
        return []


def _lines(path: Path) -> list[bytes]:
    with suppress(OSError):
        return read_bytes(path).splitlines()
    return []


def _size(folder: Path) -> float:
    return float(sum(p.stat().st_size for p in folder.rglob("*") if p.is_file()))


def _clock(cpus: int, threads: int, device: str) -> tuple[Callable[[], float], float]:
    """Return the clock that measures a job, and CPU seconds per second of that clock.

    CPU time is independent of other load on the machine, but it equals a job's duration only for
    one process with one thread and no GPU.
    """
    if cpus == 1 and threads == 1 and device == "cpu":
        return time.process_time, 1.0
    return time.perf_counter, float(cpus * threads)


class _Enough(Exception):
    """Ends a trial that has measured enough."""


def tried(job: Job) -> Cost:
    """Train a job for ``TRIAL`` seconds in a temporary folder and return its cost.

    Learning starts after a few steps; what the steps before it save is reckoned from those few.
    """
    from ..train.runner import Training

    clock, busy = _clock(job.spec.cpus, job.spec.threads, job.spec.device)
    starts = min(getattr(job.spec.algo, "learning_starts", 0), job.spec.budget // 2)
    warm = min(starts, _BEFORE)
    changes = {"tracking.sinks": [], "checkpoint_every": 0, "evaluation.every": 0}
    changes |= {"algo.learning_starts": warm} if starts else {}
    spec = job.spec.changed(changes)
    before: list[tuple[float, float]] = []  # steps and time
    learning: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        training = Training(replace(job, study_dir=folder, spec=spec))

        def enough() -> bool:
            marks = before if (steps := float(training.steps.mean())) < warm else learning
            now = clock()
            if not marks or steps > marks[-1][0]:  # it is also called during an evaluation
                marks.append((steps, now))
            if learning and now - learning[0][1] > _LEARNING * TRIAL:
                raise _Enough
            return False

        try:
            began = clock()
            with suppress(_Enough):
                training.run(enough)
            if len(learning) < 2:  # its whole budget went at once
                learning = [(0.0, began), (float(training.steps.mean()), clock())]
            first, at = learning[0]
            step = _slope(learning)
            idle = _slope(before) if len(before) > 1 else step
            start = at - began - idle * first + starts * (idle - step)
            periodic, final = (_evaluation(training, prefix, clock) for prefix in ("eval", "final"))
            disk = _disk(training, Path(folder), "wandb" in job.spec.tracking.active)
        finally:
            training.close()
    return Cost(start, step, periodic, final, busy, disk)


def _slope(marks: list[tuple[float, float]]) -> float:
    """Return the seconds per step between the first mark and the last."""
    (first, began), (last, end) = marks[0], marks[-1]
    return (end - began) / max(last - first, 1)


def _evaluation(training: "Training", prefix: str, clock: Callable[[], float]) -> float:
    """Return the seconds of an evaluation, which is left when its share of the trial is over.

    Episode lengths change as an agent learns. The estimate is midway between the length so far and
    the longest possible one.
    """
    seeds, ticks, began = len(training.job.seeds), 0, clock()

    def tick() -> None:
        nonlocal ticks
        ticks += 1
        if clock() - began > _EVALUATING * TRIAL:
            raise _Enough

    alone = training.spec.algo.reset != "each"  # its seeds are evaluated one by one: see one
    due = np.arange(seeds) < (1 if alone else seeds)
    with suppress(_Enough):
        training.evaluations(prefix, training.agent, due, tick)
    spent = (clock() - began) * (seeds if alone else 1)
    env = training.spec.env
    longest = max(ticks, env.horizon or registered(env).max_episode_steps or ticks)
    return spent * (ticks + longest) / (2 * max(ticks, 1))


def _disk(training: "Training", folder: Path, wandb: bool) -> float:
    """Estimate the bytes of a run's folder from its weights and the rows written so far."""
    weights = io.BytesIO()
    torch.save(checkpoint.take_seed(training.agent.state()["policy"], 0), weights)
    run = folder / "runs" / training.job.run_ids[0]
    lines = [*_lines(run / "metrics.jsonl"), *_lines(run / "timing.jsonl")]
    row = 2 * sum(map(len, lines)) / len(lines) if lines else _ROW
    rows = training.budget / training.spec.row_every
    copies = 1 + _TABLE + _WANDB * wandb
    return _BESIDE + len(weights.getvalue()) + copies * rows * row
