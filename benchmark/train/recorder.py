"""Writes the run folders of a job: rows during training, and each run's final status."""

import io
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..store import checkpoint, digests, leases, records, schema, trust
from ..store.job import Job
from ..store.rows import Rows, read_rows, timed
from ..tracking.tracker import Trackers, settle
from ..util import atomic
from . import video, watchdog

Columns = dict[str, np.ndarray]  # metric -> [K], NaN where there is no value


class RunWriter:
    """One run folder.

    Args:
        job: the job.
        k: index of the run's seed in the job.
        resume_at: step of the checkpoint that the run resumes from, None for a new run. Later rows
            are dropped; they will be computed again.

    Raises:
        leases.Lost: another process has taken the run over.
    """

    def __init__(self, job: Job, k: int, resume_at: int | None) -> None:
        self._job, self.folder = job, records.run_dir(job, job.run_ids[k])
        self._budget, self.state = job.spec.budget, schema.RUNNING
        record, last = records.run_record(job, k), -1 if resume_at is None else resume_at
        with leases.held(job):
            self.folder.mkdir(parents=True, exist_ok=True)
            before = records.read_status(self.folder)
            records.write_json(self.folder / "run.json", record)
            records.write_json(self.folder / "tracking.json", job.spec.record["tracking"])
            (self.folder / "error.txt").unlink(missing_ok=True)
            (self.folder / "metrics.parquet").unlink(missing_ok=True)
            if resume_at is None:
                for name in (schema.BEST, schema.VIDEO):  # left by a discarded attempt
                    (self.folder / name).unlink(missing_ok=True)
            self._metrics = Rows(self.folder / "metrics.jsonl", last)
            self._timing = Rows(self.folder / "timing.jsonl", last)
        self._attempts = (before["attempts"] if before else 0) + 1
        # of the last row; a seed that failed before the checkpoint has none behind it
        self.step = min(before["global_step"], resume_at) if before and resume_at else 0
        seen = read_rows(self._metrics.path)
        returns = [row.get(schema.EVAL_RETURN) for row in seen]
        self.best = max((x for x in returns if x is not None), default=-np.inf)
        self._updates = max((int(row.get(schema.UPDATES, 0)) for row in seen), default=0)
        clock = read_rows(self._timing.path)
        wall = clock[-1].get("wall") if clock else None  # of the last row
        self._wall = wall if isinstance(wall, int | float) else 0.0
        self._digests: schema.Digests | None = None
        self.trackers = Trackers(self.folder, job.spec.tracking, record, resume_at)
        self._write_status()

    @property
    def written(self) -> tuple[int, int]:
        """Return the length and the checksum of the rows written."""
        return self._metrics.length, self._metrics.crc

    def write(self, step: int, row: dict[str, float], timing: dict[str, float]) -> None:
        """Append one row, first to the local file, then to the trackers."""
        self.step = step
        if schema.UPDATES in row:
            made = row[schema.UPDATES] - self._updates
            passed = max(timing["wall"] - self._wall, 1e-9)
            timing = timing | {"updates_per_second": made / passed}
            self._updates, self._wall = int(row[schema.UPDATES]), timing["wall"]
        stored = self._metrics.write({schema.STEP: step} | row)
        self._timing.write({schema.STEP: step} | timing)
        self.trackers.log(stored | timed(timing))

    def end(
        self,
        state: str,
        reason: str | None = None,
        details: str | None = None,
        failure: str | None = None,
    ) -> None:
        """Close the folder with a final state; a failure also leaves ``error.txt``."""
        if self.state != schema.RUNNING:
            return
        if state == schema.FINISHED:
            self._metrics.finish(leases.held(self._job))
        self.state = state
        exit_code = schema.EXIT_CODES.get(state, 1)
        if state == schema.FAILED:  # at once: a tracker may take its time, a full disk raises below
            self._write_status(reason, exit_code, failure, error=details or reason or "unknown")
        self._metrics.close()
        self._timing.close()
        if state == schema.FINISHED:
            self._digests = digests.take(self.folder, self.folder.name)
        self.trackers.finish(state, reason)
        self._write_status(reason, exit_code, failure)

    def note_trackers(self) -> None:
        """Write the trackers' final status of a run that has ended."""
        self._write_status(*self._outcome, sync=True)

    def _write_status(
        self,
        reason: str | None = None,
        exit_code: int | None = None,
        failure: str | None = None,
        sync: bool = False,
        error: str | None = None,
    ) -> None:
        self._outcome = reason, exit_code, failure
        status = schema.Status(
            state=self.state,
            reason=reason,
            failure=failure,
            global_step=self.step,
            budget=self._budget,
            updates=self._updates,
            attempts=self._attempts,
            exit_code=exit_code,
            trackers=self.trackers.status,
            digests=self._digests,
            updated=time.time(),
        )
        with leases.held(self._job):
            records.write_json(self.folder / "status.json", status, sync)
            if error is not None:
                records.write_text(self.folder / "error.txt", error + "\n")


_BEAT = 1.0  # minimum seconds between heartbeats while no row is due


class Recorder:
    """The K run folders of a job, and the heartbeat that progress displays read."""

    def __init__(self, job: Job, resume_at: np.ndarray | None, spent: tuple[float, float]) -> None:
        self._job, self._began = job, (time.monotonic() - spent[0], time.process_time() - spent[1])
        self.runs = [
            RunWriter(job, k, None if resume_at is None else int(resume_at[k]))
            for k in range(len(job.seeds))
        ]
        self._latest: dict[str, float | None] = {}
        self.live = list(range(len(self.runs)))  # indices of the seeds that have not ended
        self._beat(np.zeros(len(self.runs), np.int64) if resume_at is None else resume_at)

    def spent(self) -> tuple[float, float]:
        """Return wall-clock and CPU seconds since the job began, earlier attempts included."""
        return time.monotonic() - self._began[0], time.process_time() - self._began[1]

    def write(self, steps: np.ndarray, columns: Columns, due: np.ndarray) -> None:
        """Append a row to every live run that is ``due [K]``; NaN entries are left out.

        Raises:
            leases.Lost: another process has taken the runs over.
        """
        leases.check(self._job)
        wall, cpu = self.spent()
        for k in self.live:
            if due[k]:
                row = {name: float(x[k]) for name, x in columns.items() if not np.isnan(x[k])}
                self.runs[k].write(int(steps[k]), row, {"wall": wall, "cpu": cpu})
        for name in (schema.TRAIN_RETURN, schema.EVAL_RETURN):
            if name in columns and not np.isnan(columns[name]).all():
                self._latest[name] = float(np.nanmean(columns[name]))
        self._beat(steps)

    def renew(self, steps: np.ndarray) -> None:
        """Renew the heartbeat during an evaluation, at most once per second."""
        if time.monotonic() - self._beaten >= _BEAT:
            self._beat(steps)

    def fail(self, k: int, reason: str, failure: str) -> None:
        """End one seed's run; the others go on."""
        self.runs[k].end(schema.FAILED, reason, None, failure)
        self.live = [j for j in self.live if j != k]

    def finish(self, seeds: list[int], remarks: Sequence[str | None]) -> None:
        """End the runs of some seeds as finished, with what is remarked of each; others go on."""
        for k, remark in zip(seeds, remarks, strict=True):
            self.runs[k].end(schema.FINISHED, remark)
        self.live = [k for k in self.live if k not in seeds]
        for k in seeds if self.live else ():  # else ``end`` follows, which does it for all
            self.runs[k].note_trackers()

    def end(
        self,
        state: str,
        reason: str | None = None,
        details: str | None = None,
        failure: str | None = None,
    ) -> None:
        """End every run that is still live, and wait for their trackers."""
        for run in self.runs:
            run.end(state, reason, details, failure)
        settle(run.trackers for run in self.runs)
        for run in self.runs:
            run.note_trackers()
        self.live = []

    def save_weights(self, k: int, policy: dict[str, Any]) -> None:
        """Write the weights that one seed's greedy policy needs."""
        with leases.held(self._job):
            checkpoint.save(self.runs[k].folder / schema.WEIGHTS, checkpoint.take_seed(policy, k))

    def save_best(self, returns: np.ndarray, policy: dict[str, Any]) -> None:
        """Write the weights of the seeds whose periodic evaluation ``[K]`` is their best so far."""
        for k in self.live:
            if returns[k] > self.runs[k].best:
                self.runs[k].best = float(returns[k])
                path = self.runs[k].folder / schema.BEST
                with leases.held(self._job):
                    checkpoint.save(path, checkpoint.take_seed(policy, k))

    def save_video(self, k: int) -> None:
        """Write a video of one seed; print a line if that fails."""
        try:
            with trust.granted(everything=True):  # the launch has named what this job runs
                video.record(self.runs[k].folder, watchdog.tick)
        except Exception as error:
            print(f"no video of {self.runs[k].folder.name}: {error}", file=sys.stderr)

    def save_arrays(self, k: int, arrays: dict[str, Tensor]) -> None:
        """Write one seed's part of ``[K, ...]`` to ``arrays/result.npz``."""
        path = self.runs[k].folder / schema.ARRAYS
        mine: dict[str, Any] = {name: x[k].cpu().numpy() for name, x in arrays.items()}
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **mine)
        with leases.held(self._job):
            atomic.write(path, buffer.getvalue())

    def states(self) -> dict[str, str]:
        """Return the state of every run by its id."""
        return {Path(run.folder).name: run.state for run in self.runs}

    def _beat(self, steps: np.ndarray) -> None:
        """Write the mean steps of the seeds that have not failed, and how many these are."""
        self._beaten = time.monotonic()
        good = [k for k, run in enumerate(self.runs) if run.state != schema.FAILED]
        beat = {
            "global_step": int(steps[good].mean()) if good else 0,
            "budget": self._job.spec.budget,
            "wall": self.spent()[0],
            "seeds": len(good),
            "train_return": self._latest.get(schema.TRAIN_RETURN),
            "eval_return": self._latest.get(schema.EVAL_RETURN),
            "time": time.time(),
            "pid": os.getpid(),
        }
        records.write_json(records.job_dir(self._job) / "heartbeat.json", beat)


_EMPTY = -0.0  # the sum of no floats: added to any, it changes not even the sign of a zero


class Meter:
    """Sums of metrics ``[K]`` on the device between two rows.

    A metric named ``learned [K]`` masks the seeds that the others apply to; without it, all. The
    updates of each seed are counted from the beginning of its training on.
    """

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int | Tensor] = {}
        self._updates: int | Tensor = 0

    def add(self, metrics: dict[str, Tensor]) -> None:
        """Add one update's metrics."""
        learned = metrics.get("learned")
        count: int | Tensor = 1 if learned is None else learned.float()
        self._updates = self._updates + (1 if learned is None else learned.long())
        for name, value in metrics.items():
            if name == "learned":
                continue
            mine = value.clone() if learned is None else torch.where(learned, value, _EMPTY)
            if name in self._sums:
                self._sums[name].add_(mine)
                self._counts[name] = self._counts[name] + count
            else:
                self._sums[name], self._counts[name] = mine, count

    def drain(self, due: np.ndarray) -> Columns:
        """Return the means of all seeds; those that are ``due [K]`` (bool) begin anew.

        NaN where a seed learned nothing; a mean that is not finite is infinite.
        """
        columns: Columns = {}
        for name, total in self._sums.items():
            count = torch.as_tensor(self._counts[name]).expand_as(total).cpu().numpy()
            mean = total.cpu().numpy() / np.maximum(count, 1)
            columns[name] = np.where(count == 0, np.nan, np.where(np.isfinite(mean), mean, np.inf))
        if due.all():
            self._sums, self._counts = {}, {}
        for name, total in self._sums.items():
            mine = torch.from_numpy(due).to(total.device)
            counted = torch.as_tensor(self._counts[name], device=total.device)
            self._sums[name] = torch.where(mine, _EMPTY, total)
            self._counts[name] = torch.where(mine, 0, counted)
        return columns

    def updates(self, k: int) -> np.ndarray:
        """Return how many updates each of ``k`` seeds has made, ``[K]``."""
        made: np.ndarray = torch.as_tensor(self._updates).expand(k).cpu().numpy()
        return made.astype(float)

    def state(self) -> dict[str, Any]:
        """Return the sums and counts."""
        return {"sums": self._sums, "counts": self._counts, "updates": self._updates}

    def load(self, state: dict[str, Any], device: torch.device) -> None:
        """Continue from what ``state`` returned."""
        self._sums = {name: s.to(device) for name, s in state["sums"].items()}
        made = state["updates"]
        self._updates = made.to(device) if isinstance(made, Tensor) else made
        self._counts = {
            name: n.to(device) if isinstance(n, Tensor) else n
            for name, n in state["counts"].items()
        }
