"""A job: the seeds of one (variant, environment) cell, trained together in one process."""

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from prism.algos.core.settings import setting

from .schema import Skipped, Variant


@dataclass
class Evaluation:
    """How agents are scored: greedy episodes on environments of their own."""

    episodes: int = setting(20, 'episodes of the final evaluation, the "score at the end"', ge=1)
    periodic_episodes: int = setting(5, "episodes of an evaluation during training", ge=1)
    every: int | None = setting(
        None, "environment steps of one seed between evaluations; null: budget / 20; 0: none", ge=0
    )
    seed: int = setting(12345, "of the episodes, which are the same for every algorithm", ge=0)

    @staticmethod
    def steps_between(every: int | None, budget: int) -> int:
        """Return the steps between periodic evaluations that ``every`` means; 0 = none."""
        return max(1, budget // 20) if every is None else every


@dataclass
class Limits:
    """What one job may use; a job beyond a limit is ended, and its runs say so."""

    memory: float | None = setting(None, "GB of resident memory; null: no limit", ge=0)
    timeout: float | None = setting(None, "seconds of one attempt; null: no limit", ge=0)
    hang: float | None = setting(
        600.0, "seconds without a step of training or evaluation; null: no limit", ge=0
    )


@dataclass
class Retry:
    """How often a job is started again after each class of failure; from its checkpoint."""

    exception: int = setting(0, "times after an exception", ge=0)
    exit: int = setting(0, "times after sys.exit", ge=0)
    nan: int = setting(0, "times after a job of NaN", ge=0)
    crash: int = setting(1, "times after a segfault and its like", ge=0)
    oom: int = setting(1, "times after memory ran out, or a job's limit of it", ge=0)
    hang: int = setting(1, "times after limits.hang", ge=0)
    timeout: int = setting(0, "times after limits.timeout", ge=0)
    disk: int = setting(0, "times after a full disk", ge=0)
    lost: int = setting(3, "times after being killed from outside, or with its node", ge=0)


@dataclass
class Job:
    """All that a worker process needs; plain data, so that any executor can ship it.

    Attributes:
        study: name of the study ("adhoc" outside one).
        study_dir: absolute path of ``results/<study>``.
        job_id: folder name under ``jobs/``; readable slug and hash.
        algo: preset name; env: conf/env name; variant: see schema.
        config: resolved plain dict with the keys ``algo``, ``env``, ``evaluation``, ``budget``,
            ``log_every``, ``checkpoint_every``, ``device``, ``threads``, ``tracking``, and
            ``limits``; no ``seed``.
        tuned: name of the tuned file that was loaded, or None.
        seeds: the K seeds, and run_ids: the K run folders, in the same order.
        mark: what the process that may run this job has written into its claim.
    """

    study: str
    study_dir: str
    job_id: str
    algo: str
    env: str
    variant: Variant
    config: dict[str, Any]
    tuned: str | None
    seeds: list[int]
    run_ids: list[str]
    mark: str = ""

    @property
    def cpus(self) -> int:
        """Return how many jobs of one process this one counts as; an agent of processes says."""
        return int(self.config["algo"].get("cpus", 1))

    @property
    def cores(self) -> int:
        """Return how many cores this job keeps busy: what to ask a cluster for."""
        return self.cpus * int(self.config["threads"])


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
