"""The keys of the command line, with their meaning and bounds."""

from dataclasses import dataclass
from typing import Any

from omegaconf import II, MISSING

from prism.algos.core.settings import setting

from ..store.job import Retry
from ..store.spec import EvaluationConfig, Limits, TrackingConfig

# The keys that a job carries; the other keys of Root say where and how a sweep runs.
JOB_KEYS = (
    *("algo", "env", "evaluation", "budget", "log_every", "checkpoint_every"),
    *("device", "threads", "tracking", "limits"),
)
STALE = ("refuse", "rerun", "keep")


@dataclass
class Root:
    """Every key of the command line, beside those of ``algo`` and ``env``."""

    algo: Any = setting(MISSING, "the algorithm: a preset of conf/algo")
    env: Any = setting(MISSING, "the environment: a file of conf/env")
    seed: Any = setting(0, "seeds: 3 | 0,1,2 | range(0,10)")
    components: Any = setting("preset", "component studies; see benchmark/plan/grid.py")
    grid: Any = setting(None, "the grid of a study: one mapping of lists, or several")
    zip: Any = setting(None, "axes of the grid that vary together")
    exclude: Any = setting(None, "cells of the grid to leave out")
    budget: int = setting(II("env.budget"), "environment steps of one seed", ge=1)
    evaluation: EvaluationConfig = setting(EvaluationConfig, "how agents are scored")
    tracking: TrackingConfig = setting(TrackingConfig, "where metrics are mirrored to")
    log_every: int | None = setting(
        None, "environment steps of one seed between rows of metrics; null: budget / 200", ge=1
    )
    checkpoint_every: float = setting(60.0, "seconds between checkpoints; 0: none", ge=0)
    device: str = setting("cpu", "where torch computes: cpu, cuda, cuda:0, mps")
    threads: int = setting(1, "threads of one job", ge=1)
    results: str = setting("results", "folder of all studies")
    name: str = setting("adhoc", "the study: its folder under results/")
    seeds_per_job: int | None = setting(
        None, "seeds of a cell that train together; null: all", ge=1
    )
    limits: Limits = setting(Limits, "what one job may use")
    retry: Retry = setting(Retry, "how often a failed job is retried")
    on_failure: str = setting(
        "continue", "continue | stop | stop_after:N: start no more jobs after N failures"
    )
    stale: str = setting("refuse", "what to do with finished runs of other code", choices=STALE)
    strict: bool = setting(False, "refuse a grid with an impossible pair instead of skipping it")
    resume: str | None = setting(None, "a study's folder: run what is left of its plan")
    dry_run: bool = setting(False, "print the plan and its price, and stop")
    price: bool = setting(True, "dry_run measures what the plan costs, in seconds per cell")
