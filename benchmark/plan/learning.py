"""How much an agent can learn within its budget: what is refused, and what is noted.

An agent is known here by its settings alone. One that learns from replay has ``learning_starts``
and ``train_every``, one that learns from rollouts has ``rollout``. Of others, such as those that
learn from whole episodes, nothing is known before they run.
"""

from collections.abc import Iterable, Iterator

from ..store.job import Job
from ..store.spec import RunSpec

_FEW = 10  # updates


def never(spec: RunSpec) -> str | None:
    """Say in one clause why a run would end without an update, or None if it would not."""
    if updates(spec) != 0:
        return None
    starts = getattr(spec.algo, "learning_starts", 0)
    if starts >= spec.budget:
        return f"it would never learn: algo.learning_starts={starts} must be below {_budget(spec)}"
    for key in ("rollout", "train_every"):
        if value := getattr(spec.algo, key, 0):
            lanes = f", with algo.lanes={spec.algo.lanes}," if spec.algo.lanes > 1 else ""
            longer = f"algo.{key}={value}{lanes} is longer than {_budget(spec)}"
            return f"it would never learn: {longer}"
    return None


def notes(jobs: Iterable[Job]) -> list[str]:
    """Return a line for each setting with which a cell would hardly learn, or not be evaluated."""
    lines = (f"{j.variant['label']} on {j.env}: {x}" for j in jobs for x in _doubts(j.spec))
    return list(dict.fromkeys(lines))


def updates(spec: RunSpec) -> int | None:
    """Return how many updates a run makes; None if its settings do not tell."""
    algo, lanes = spec.algo, spec.algo.lanes
    ticks = -(-spec.budget // lanes)
    starts, every = (getattr(algo, key, None) for key in ("learning_starts", "train_every"))
    if starts is not None and every is not None:
        if starts >= spec.budget:
            return 0
        interval, first = max(1, every // lanes), max(1, -(-starts // lanes))
        return int(ticks // interval - (first - 1) // interval)
    rollout = getattr(algo, "rollout", None)
    return None if rollout is None else int(ticks // rollout)


def _doubts(spec: RunSpec) -> Iterator[str]:
    algo, made = spec.algo, updates(spec)
    if made is not None and 0 < made < _FEW:
        yield f"{_budget(spec)} makes {made} update{'s' * (made > 1)}"
    batch, buffer = (getattr(algo, key, None) for key in ("batch_size", "buffer_size"))
    if batch and buffer and getattr(algo, "replay", True) and batch > buffer:
        yield f"algo.batch_size={batch} is above algo.buffer_size={buffer}: batches repeat"
    if (warmup := getattr(algo, "warmup", 0)) >= spec.budget:
        yield f"algo.warmup={warmup} is not below {_budget(spec)}: it only acts at random"
    if spec.evaluate_every > spec.budget:
        yield (
            f"evaluation.every={spec.evaluate_every} is above {_budget(spec)}: it is evaluated at "
            "the end alone"
        )


def _budget(spec: RunSpec) -> str:
    return f"budget={spec.budget}"
