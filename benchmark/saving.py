"""When a job saves its state, and which saved state it goes on from."""

import sys
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from benchmark import checkpoint, store
from benchmark.checkpoint import Checkpoints, State
from benchmark.job import Job

_SHARE = 0.02  # of the run's time that checkpoints may take
_RATE = 2e8  # bytes per second, a guess before the first save tells


class Saver:
    """The checkpoints of one job: when they are due, and whether they still belong to its files."""

    def __init__(self, job: Job) -> None:
        self.job, self.interval = job, job.config["checkpoint_every"]
        self.checkpoints = Checkpoints(store.job_dir(job) / "checkpoint")
        self._last, self._cost = time.monotonic(), 0.0

    def is_due(self, state: Callable[[], State]) -> bool:
        """Say whether to save now: the interval grows with what a save costs.

        Args:
            state: returns what would be saved, to guess the cost of the first save.
        """
        waited = time.monotonic() - self._last
        if self.interval <= 0 or waited < self.interval:
            return False
        return waited > (self._cost or checkpoint.size(state()) / _RATE) / _SHARE

    def save(self, state: State) -> None:
        """Write a checkpoint."""
        began = time.monotonic()
        rows = [_rows(self.job, run) for run in self.job.run_ids]
        length, crc = torch.tensor([[len(data), zlib.crc32(data)] for data in rows]).T
        own = {"code": store.code_hash(), "rows": length, "rows_crc": crc}
        self.checkpoints.save(state | own)
        self._last = time.monotonic()
        self._cost = self._last - began

    def load(self) -> State | None:
        """Return the newest state to go on from, or None; say why one is not used."""
        for states, own in ((self.checkpoints.states(), True), (self._of_larger_job(), False)):
            for state in states:
                why = self._unusable(state)
                if why is None:
                    if not own:  # the runs will not name the larger job much longer
                        self.checkpoints.save(state)
                    return state
                print(f"checkpoint at step {state['step']} is not used: {why}", file=sys.stderr)
        return None

    def remove(self) -> None:
        """Delete the job's checkpoints."""
        self.checkpoints.remove()

    def _of_larger_job(self) -> Iterator[State]:
        """Yield the checkpoints of the job that these seeds were part of before."""
        record = store.read_json(store.run_dir(self.job, self.job.run_ids[0]) / "run.json")
        if record is None or record["job_id"] == self.job.job_id:
            return
        seeds = record["pack"]["seeds"]
        if set(self.job.seeds) <= set(seeds):
            folder = Path(self.job.study_dir) / "jobs" / record["job_id"] / "checkpoint"
            for state in Checkpoints(folder).states():
                yield checkpoint.take_seeds(state, [seeds.index(s) for s in self.job.seeds])

    def _unusable(self, state: State) -> str | None:
        if state["code"] != store.code_hash():
            return f"it was made by other code ({state['code']})"
        for k, run in enumerate(self.job.run_ids):
            length = int(state["rows"][k])
            data = _rows(self.job, run)[:length]
            if (len(data), zlib.crc32(data)) != (length, int(state["rows_crc"][k])):
                return f"metrics.jsonl of {run} has lost rows that were written before it"
        return None


def _rows(job: Job, run: str) -> bytes:
    try:
        return (store.run_dir(job, run) / "metrics.jsonl").read_bytes()
    except FileNotFoundError:
        return b""
