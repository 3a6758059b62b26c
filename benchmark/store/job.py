"""A job: the seeds of one (variant, environment) cell, trained together in one process."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from .schema import Skipped, Variant
from .spec import RunSpec


@dataclass
class Retry:
    """How often a job is started again after each class of failure; from its checkpoint."""

    exception: int = 0
    exit: int = 0  # sys.exit
    nan: int = 0
    crash: int = 1  # a segfault and its like
    oom: int = 1
    hang: int = 1
    timeout: int = 0
    disk: int = 0
    lost: int = 3  # killed from outside, or its node is gone


@dataclass
class Job:
    """All that a worker process needs; any executor can ship it, pickled or as plain data.

    Attributes:
        study: name of the study ("adhoc" outside one).
        study_dir: absolute path of ``results/<study>``.
        job_id: folder name under ``jobs/``; readable slug and hash.
        algo: preset name; env: conf/env name; variant: see schema.
        spec: what each of its seeds is asked to do.
        tuned: name of the tuned file that was loaded, or None.
        seeds: the K seeds, and run_ids: the K run folders, in the same order.
        mark: what the process that may run this job has written into its lease.
    """

    study: str
    study_dir: str
    job_id: str
    algo: str
    env: str
    variant: Variant
    spec: RunSpec
    tuned: str | None
    seeds: list[int]
    run_ids: list[str]
    mark: str = ""

    def to_dict(self) -> dict[str, Any]:
        """Return this as plain data, for another process to read."""
        return {**vars(self), "spec": self.spec.record}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Job":
        """Return the job that ``to_dict`` described."""
        return cls(**{**values, "spec": RunSpec.parse(values["spec"])})


@dataclass
class Sweep:
    """What one command plans: its jobs, and the pairs that it cannot run.

    Attributes:
        study: name; study_dir: absolute path.
        stale: what to do with results of other code: "refuse", "rerun" or "keep".
        dry_run: print the plan only.
        retry: how often each class of failure is tried again.
        stop_after: failed jobs after which no other is started; None = all are.
        jobs: in the order of the grid; skipped: why a pair of the grid cannot be.
        repeated: runs that were asked for again, and are planned once.
    """

    study: str
    study_dir: Path
    stale: str = "refuse"
    dry_run: bool = False
    retry: dict[str, int] = field(default_factory=lambda: asdict(Retry()))
    stop_after: int | None = None
    jobs: list[Job] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    repeated: int = 0
