"""A job: the seeds of one (variant, environment) cell, trained together in one process."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prism.algos.core.settings import setting

from .schema import Skipped, Variant
from .spec import RunSpec


@dataclass
class Retry:
    """How often a job is retried, from its checkpoint, after each class of failure."""

    exception: int = setting(0, "times after an exception", ge=0)
    exit: int = setting(0, "times after sys.exit", ge=0)
    nan: int = setting(0, "times after NaN or infinity in training", ge=0)
    crash: int = setting(1, "times after a crash such as a segfault", ge=0)
    oom: int = setting(1, "times after running out of memory or exceeding limits.memory", ge=0)
    hang: int = setting(1, "times after limits.hang", ge=0)
    timeout: int = setting(0, "times after limits.timeout", ge=0)
    disk: int = setting(0, "times after a full disk", ge=0)
    lost: int = setting(3, "times after being killed from outside or losing its node", ge=0)


@dataclass
class Job:
    """Everything a worker process needs; executors send it pickled or as plain data.

    Attributes:
        study: name of the study ("adhoc" outside one).
        study_dir: absolute path of ``results/<study>``.
        job_id: folder name under ``jobs/``; readable slug and hash.
        algo: preset name; env: conf/env name; variant: see schema.
        spec: what each of its seeds runs.
        tuned: name of the tuned file that was loaded, or None.
        seeds: the K seeds, and run_ids: the K run folders, in the same order.
        mark: the mark in the lease of the process that may run this job.
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
        """Rebuild a job from ``to_dict``."""
        return cls(**{**values, "spec": RunSpec.parse(values["spec"])})


@dataclass
class Sweep:
    """The plan of one command: its jobs, and the impossible pairs.

    Attributes:
        study: name; study_dir: absolute path.
        stale: what to do with results of other code: "refuse", "rerun" or "keep".
        dry_run: print the plan only; price: and what it costs.
        retry: retries by class of failure.
        stop_after: failed jobs after which no more are started; None = no limit.
        jobs: in the order of the grid; skipped: the impossible pairs, with reasons.
        notes: what a reader of the plan should know, a line each.
        repeated: runs requested more than once; each is planned once.
    """

    study: str
    study_dir: Path
    stale: str = "refuse"
    dry_run: bool = False
    price: bool = True
    retry: dict[str, int] = field(default_factory=lambda: asdict(Retry()))
    stop_after: int | None = None
    jobs: list[Job] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    repeated: int = 0
