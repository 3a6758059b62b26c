"""A job: the seeds of one (variant, environment) cell, trained together in one process."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmark.schema import Skipped, Variant


@dataclass
class Evaluation:
    """How agents are scored: greedy episodes on environments of their own."""

    episodes: int = 20  # of the final evaluation: the "score at the end"
    periodic_episodes: int = 5
    every: int | None = (
        None  # steps between periodic evaluations; null = budget / 20, 0 = final only
    )
    seed: int = 12345  # the same episodes for every algorithm


@dataclass
class Job:
    """All that a worker process needs; plain data, so that any executor can ship it.

    Attributes:
        study: name of the study ("adhoc" outside one).
        study_dir: absolute path of ``results/<study>``.
        job_id: folder name under ``jobs/``; readable slug and hash.
        algo: preset name; env: conf/env name; variant: see schema.
        config: resolved plain dict with the keys ``algo``, ``env``, ``evaluation``, ``budget``,
            ``log_every``, ``checkpoint_every``, ``device``, ``threads``, ``tracking``; no ``seed``.
        tuned: name of the tuned file that was loaded, or None.
        seeds: the K seeds, and run_ids: the K run folders, in the same order.
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


@dataclass
class Sweep:
    """What one command plans: its jobs, and the pairs that it cannot run."""

    study: str
    study_dir: Path
    stale: str
    dry_run: bool
    jobs: list[Job] = field(default_factory=list)
    skipped: list[Skipped] = field(default_factory=list)
