"""The share of CPU time that checkpoints take in jobs with a large replay buffer."""

import statistics
from typing import Any
from unittest.mock import patch

from tools.bench.measure import Group, Result, cpu_seconds, train

BAR = 0.02  # of the run's CPU time
# The worst case: buffers fill before the end, and an update every four steps keeps training cheap.
_FULL: dict[str, Any] = {
    "algo__hidden": [128],
    "algo__batch_size": 32,
    "algo__train_every": 4,
    "algo__learning_starts": 5_000,
    "algo__buffer_size": 100_000,
    "checkpoint_every": 60.0,  # the default; a checkpoint is taken beside a row of metrics
    "log_every": 600,
}


def saved(seeds: int, budget: int) -> Result:
    """Train DQN on Seaquest; return its cost, with the number and CPU seconds of checkpoints."""
    from prism.benchmark.train.runner import Training

    spent: list[float] = []
    save = Training._save

    def timed(training: Training) -> None:
        began = cpu_seconds()
        save(training)
        spent.append(cpu_seconds() - began)

    with patch.object(Training, "_save", timed):
        result = train("dqn", "minatar_seaquest", seeds, budget, **_FULL)
    return result | {"saves": len(spent), "saving": sum(spent)}


def _report(results: dict[str, list[Result]]) -> None:
    for case, runs in results.items():
        share = statistics.median(run["saving"] / run["cpu"] for run in runs)
        print(
            f"  {case}: {runs[0]['saves']:.0f} checkpoints, {runs[0]['saving']:.2f} of "
            f"{runs[0]['cpu']:.0f} CPU seconds, {share:.2%} (bar: {BAR:.0%})"
        )


GROUPS = {
    "checkpoint": Group(
        {
            "one seed": lambda: saved(1, 120_000),
            "ten seeds": lambda: saved(10, 110_000),
        },
        repeats=1,
        report=_report,
    )
}
