"""When a job saves its state, and which checkpoint it resumes from."""

import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import torch

from ..store import checkpoint, leases, provenance, records
from ..store.checkpoint import Checkpoints, State
from ..store.job import Job

_SHARE = 0.02  # fraction of the run's time that checkpoints may take
_RATE = 2e8  # assumed bytes per second until the first save is measured


class Saver:
    """The checkpoints of one job: when to save, and which ones still match the job's files."""

    def __init__(self, job: Job) -> None:
        self.job, self.interval = job, job.spec.checkpoint_every
        self.checkpoints = Checkpoints(records.job_dir(job) / "checkpoint")
        self._last, self._cost = time.monotonic(), 0.0

    def is_due(self, state: Callable[[], State]) -> bool:
        """Return whether to save now; the interval grows with the cost of a save.

        Args:
            state: returns the state to save; its size estimates the cost of the first save.
        """
        waited = time.monotonic() - self._last
        if self.interval <= 0 or waited < self.interval:
            return False
        return waited > (self._cost or checkpoint.size(state()) / _RATE) / _SHARE

    def save(self, state: State, rows: list[tuple[int, int]]) -> None:
        """Write a checkpoint.

        Args:
            state: the state of the training.
            rows: length and checksum of the rows that each run has written.

        Raises:
            leases.Lost: another process has taken the runs over.
        """
        leases.check(self.job)
        began = time.monotonic()
        length, crc = torch.tensor(rows).T
        seeds = torch.tensor(self.job.seeds)
        code = provenance.code_hash(self.job.spec)
        own = {"code": code, "seeds": seeds, "rows": length, "rows_crc": crc}
        self.checkpoints.save(state | own, leases.held(self.job))
        self._last = time.monotonic()
        self._cost = self._last - began

    def load(self) -> State | None:
        """Return the newest usable state or None; print why newer ones are not used."""
        for folder in self._folders():
            for state in Checkpoints(folder).states():
                try:
                    mine = self._mine(state)
                except _Unusable as why:
                    step = int(state["steps"].max())
                    print(f"checkpoint at step {step} is not used: {why}", file=sys.stderr)
                    continue
                if folder != self.checkpoints.folder:  # run.json will soon name this job instead
                    self.checkpoints.save(mine, leases.held(self.job))
                return mine
        return None

    def remove(self) -> None:
        """Delete the job's checkpoints."""
        with leases.held(self.job):
            self.checkpoints.remove()

    def _folders(self) -> list[Path]:
        """Return the checkpoint folders: of the seeds' previous job, if different, and of this job.

        The previous job may have trained more or other seeds.
        """
        own = self.checkpoints.folder
        record = records.read_record(records.run_dir(self.job, self.job.run_ids[0]))
        if record is None or record["job_id"] == self.job.job_id:
            return [own]
        return [own.parent.parent / record["job_id"] / own.name, own]

    def _mine(self, state: State) -> State:
        """Return the part of a state that belongs to the job's seeds.

        Raises:
            _Unusable: the job cannot resume from it.
        """
        if state["code"] != provenance.code_hash(self.job.spec):
            raise _Unusable(f"it was made by other code ({state['code']})")
        held = state["seeds"].tolist()
        if absent := [seed for seed in self.job.seeds if seed not in held]:
            raise _Unusable(f"it holds the seeds {_listed(held)}, not {_listed(absent)}")
        if held != self.job.seeds:
            state = checkpoint.take_seeds(state, [held.index(seed) for seed in self.job.seeds])
        if state["ended"].any():  # a finished run is not resumed: its folder has lost its status
            ended = state["seeds"][state["ended"]].tolist()
            raise _Unusable(f"the seeds {_listed(ended)} had ended, but are not finished")
        for k, run in enumerate(self.job.run_ids):
            length = int(state["rows"][k])
            data = _rows(self.job, run)[:length]
            if (len(data), zlib.crc32(data)) != (length, int(state["rows_crc"][k])):
                raise _Unusable(f"metrics.jsonl of {run} has lost rows that were written before it")
        return state


class _Unusable(Exception):
    """Why a job cannot resume from a checkpoint."""


def _listed(seeds: list[int]) -> str:
    return ", ".join(map(str, seeds))


def _rows(job: Job, run: str) -> bytes:
    try:
        return (records.run_dir(job, run) / "metrics.jsonl").read_bytes()
    except FileNotFoundError:
        return b""
