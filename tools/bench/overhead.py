"""The cost of record keeping in a DQN job on CartPole, at the default settings.

Measured inside the job: CPU seconds that the training thread spends on rows, evaluations,
checkpoints and the end, and those of all other threads and W&B's service process. A job without
records runs for comparison, but two equal jobs can differ by over 10 % on a virtual machine.
"""

import functools
import os
import time
from collections import defaultdict
from collections.abc import Callable
from typing import Any

from tools.bench.measure import Group, Result, train

_EVERYTHING: dict[str, Any] = {
    "log_every": None,
    "checkpoint_every": 60,
    "evaluation__every": None,
    "tracking__wandb": "offline",
}
_ONCE = _EVERYTHING | {"log_every": 1_000, "evaluation__every": 0}  # costs independent of length
_USUAL = ("steps", "cpu", "start", "rss")  # keys of every result; the others are parts
_THREADS, _SERVICE = "other threads", "W&B's service"


def counted(budget: int, settings: dict[str, Any]) -> Result:
    """Train ten seeds; return also the CPU seconds of each part of record keeping."""
    from prism.benchmark.train.evaluate import Evaluator
    from prism.benchmark.train.recorder import Recorder
    from prism.benchmark.train.runner import Training
    from prism.benchmark.train.saving import Saver

    spent: defaultdict[str, float] = defaultdict(float)
    for part, owner, name in (
        ("rows", Recorder, "write"),
        ("rows", Training, "_training_columns"),
        ("evaluations", Evaluator, "__call__"),
        ("checkpoints", Saver, "is_due"),
        ("checkpoints", Training, "_save"),
        ("the end", Recorder, "end"),
    ):
        setattr(owner, name, _timed(getattr(owner, name), spent, part))
    result = train("dqn", "cartpole", 10, budget, **settings)
    children = os.times()
    spent[_THREADS] = time.process_time() - time.thread_time()
    spent[_SERVICE] = children.children_user + children.children_system
    return result | spent


def _timed(
    function: Callable[..., Any], spent: defaultdict[str, float], part: str
) -> Callable[..., Any]:
    """Add the calling thread's CPU seconds in ``function`` to ``spent[part]``."""

    @functools.wraps(function)
    def timed(*args: Any, **kwargs: Any) -> Any:
        began = time.thread_time()
        try:
            return function(*args, **kwargs)
        finally:
            spent[part] += time.thread_time() - began

    return timed


def _report(results: dict[str, list[Result]]) -> None:
    job, once = results["job"][0], results["start-up"][0]
    parts = {part: seconds for part, seconds in job.items() if part not in _USUAL}
    records = sum(parts.values())
    training = job["cpu"] - records
    print(f"  training {training:.1f} CPU seconds; records {records / training:.1%} of that:")
    for part, seconds in parts.items():
        print(f"    {part:14} {seconds:6.2f} CPU seconds, {seconds / training:.2%}")
    bare = results["job without"][0]["cpu"]
    change = job["cpu"] / bare - 1
    print(f"  the job without took {bare:.1f} CPU seconds, the one with {change:+.1%} of it")
    fixed = sum(seconds for part, seconds in once.items() if part not in _USUAL)
    print(f"  start-up, whatever the length: {fixed:.2f} CPU seconds of the records")


GROUPS = {
    "overhead": Group(
        {
            "job": lambda: counted(500_000, _EVERYTHING),
            "job without": lambda: train("dqn", "cartpole", 10, 500_000),
            "start-up": lambda: counted(1_000, _ONCE),
        },
        repeats=1,
        report=_report,
    ),
}
