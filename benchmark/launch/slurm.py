"""The Slurm executor: submits job arrays; reads how tasks end from ``exit.json`` and squeue."""

import subprocess
import sys
import time
from pathlib import Path

from ..plan.executors import SlurmOptions
from ..store import leases, records
from ..store.job import Job
from ..util import squeue
from ..util.errors import ConfigError
from ..util.text import tail
from . import task, worker
from .executor import Exit


class Slurm:
    """Runs each job as a task of an array job, which goes on if this process ends.

    Args:
        run: the job's function, importable by name.
        jobs: all jobs that may be started.
        options: the executor's options.
    """

    blocking = False

    def __init__(self, run: worker.Run, jobs: list[Job], options: SlurmOptions) -> None:
        self.run, self.slots = run, options.n_jobs
        self.arguments, self.period = list(options.arguments), options.period
        self.running: dict[str, Job] = {}
        self.names: dict[str, str] = {}  # job_id -> what squeue calls it
        self.missing: dict[str, int] = {}  # job_id -> consecutive polls without it
        self.fresh: list[Job] = []
        self.asked: set[str] = set()
        self.looked = 0.0

    def start(self, job: Job) -> None:
        """Queue a job; the next poll submits one array per number of cores."""
        self.fresh.append(job)
        self.asked.discard(job.job_id)
        self.running[job.job_id] = job

    def poll(self, seconds: float) -> list[Exit]:
        """Submit new jobs and return those that have left the queue."""
        jobs, self.fresh = self.fresh, []
        for cores in sorted({job.spec.cores for job in jobs}):
            self._submit([job for job in jobs if job.spec.cores == cores], cores)
        time.sleep(seconds)
        if time.monotonic() - self.looked < self.period:
            return []
        self.looked = time.monotonic()
        queue = squeue.names()
        if queue is None:  # the controller does not answer
            return []
        return [self._exit(job_id) for job_id in list(self.names) if self._gone(job_id, queue)]

    def _submit(self, jobs: list[Job], cores: int) -> None:
        folder = Path(jobs[0].study_dir) / "slurm"
        folder.mkdir(exist_ok=True)
        listed = folder / f"{jobs[0].mark}.txt"
        listed.write_text("".join(f"{task.write(job, self.run)}\n" for job in jobs))
        flags = [
            f"--array=0-{len(jobs) - 1}",
            f"--job-name=prism-{jobs[0].study}",
            f"--cpus-per-task={cores}",
            f"--output={folder}/%A_%a.txt",
            *("--parsable", "--requeue", "--open-mode=append", "--signal=B:TERM@60"),
        ]
        script = f"#!/bin/bash\nexec '{sys.executable}' -m prism.benchmark.launch.task '{listed}'\n"
        command = ["sbatch", *flags, *self.arguments]
        done = subprocess.run(command, input=script, capture_output=True, text=True)
        if done.returncode:
            raise ConfigError(f"sbatch: {done.stderr.strip().splitlines()[-1]}")
        array = done.stdout.strip().partition(";")[0]
        for number, job in enumerate(jobs):
            self.names[job.job_id] = f"{array}_{number}"
            leases.queued_as(job, f"{array}_{number}")

    def _gone(self, job_id: str, queue: frozenset[str]) -> bool:
        """Return whether two polls in a row miss a job; one may fall into a change of state."""
        absent = 0 if self.names[job_id] in queue else self.missing.get(job_id, 0) + 1
        self.missing[job_id] = absent
        return absent > 1

    def _exit(self, job_id: str) -> Exit:
        del self.names[job_id], self.missing[job_id]
        job = self.running.pop(job_id)
        folder = records.job_dir(job)
        code = records.read_json(folder / "exit.json")
        error = tail(folder / "log.txt")
        if code is None:
            return Exit(
                job, 1, "it left the queue: its node is gone, or it was cancelled", lost=True
            )
        return Exit(job, code["code"], error)

    def stop(self) -> None:
        """Ask every task to save and exit; cancel those that have not started."""
        names = []
        for job_id in self.names.keys() - self.asked:
            self.asked.add(job_id)
            (records.job_dir(self.running[job_id]) / "stop").touch()
            names.append(self.names[job_id])
        if names:
            subprocess.run(["scancel", "--state=PENDING", *names], capture_output=True)
            subprocess.run(["scancel", "--batch", "--signal=TERM", *names], capture_output=True)

    def kill(self, job_id: str) -> None:
        """Cancel a task."""
        if job_id in self.names:
            subprocess.run(["scancel", self.names[job_id]], capture_output=True)

    def close(self) -> None:
        """Do nothing: there is nothing to release."""
