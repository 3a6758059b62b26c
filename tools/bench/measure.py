"""Benchmark cases, and functions that measure their cost in this process."""

import os
import resource
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Result = dict[str, float]  # "steps" of all seeds, "cpu" seconds, "start" seconds, "rss" MB
Case = Callable[[], Result]

QUIET = {
    "tracking.wandb": "disabled",
    "evaluation.every": 0,
    "evaluation.episodes": 1,
    "checkpoint_every": 0,
}


@dataclass(frozen=True)
class Group:
    """Cases that are measured alternately, so that drift in the machine's speed affects all alike.

    Args:
        cases: each case's name and function.
        ratios: pairs of cases; the first's speed is divided by the second's.
        repeats: upper limit on the repetitions; None for no limit.
        by_clock: the cases measure wall-clock time, which only ``report`` prints.
        report: prints more from the results, by case.
    """

    cases: dict[str, Case]
    ratios: tuple[tuple[str, str], ...] = ()
    repeats: int | None = None
    by_clock: bool = False
    report: Callable[[dict[str, list[Result]]], None] | None = None


def train(algo: str, env: str, seeds: int, budget: int, **settings: Any) -> Result:
    """Train ``seeds`` seeds for ``budget`` steps each; return the cost.

    ``settings`` are config keys with "__" for the dot; logging, evaluation and checkpoints are off.
    """
    import torch

    from prism.benchmark.train.runner import Training, keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        given = {key.replace("__", "."): value for key, value in settings.items()}
        quiet = QUIET | {"log_every": budget, "budget": budget}
        job = _job(Path(folder), algo, env, seeds, quiet | given)
        began = cpu_seconds()
        training = Training(job)
        ready = cpu_seconds()
        training.run(lambda: False)
        training.close()
    spent = cpu_seconds() - ready
    return {"steps": seeds * budget, "cpu": spent, "start": ready - began, "rss": peak_mb()}


def _job(folder: Path, algo: str, env: str, seeds: int, settings: dict[str, Any]) -> Any:
    """Return the job of one untuned cell."""
    from prism.benchmark.plan.config import assign, composed, resolved, session
    from prism.benchmark.store import identity
    from prism.benchmark.store.job import Job
    from prism.benchmark.store.schema import PRESET, Variant

    with session():
        config = composed(f"algo={algo}", f"env={env}").copy()
        for key, value in settings.items():
            assign(config, key, value)
        spec = resolved(config)
    numbers = list(range(seeds))
    variant = Variant(
        label=algo, kind=PRESET, base=algo, full=algo, on=[], off=[], component=None, overrides={}
    )
    runs = [identity.run_id(spec, algo, env, seed) for seed in numbers]
    name = identity.job_id(spec, algo, env, numbers)
    return Job("bench", str(folder), name, algo, env, variant, spec, None, numbers, runs)


def measured(work: Callable[[], object], steps: int) -> Result:
    """Run ``work`` and return its cost; ``steps`` is its number of environment steps."""
    began = cpu_seconds()
    work()
    return {"steps": steps, "cpu": cpu_seconds() - began, "rss": peak_mb()}


def cpu_seconds() -> float:
    """Return CPU seconds of this process, its threads and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def peak_mb() -> float:
    """Return the peak resident memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
