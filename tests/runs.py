"""Small jobs that train for real, and ways to stop them, for the tests of the runner."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from itertools import count
from pathlib import Path
from typing import Any

from prism.benchmark.plan import config as cfg
from prism.benchmark.store import checkpoint, identity, records, schema
from prism.benchmark.store.checkpoint import Checkpoints
from prism.benchmark.store.job import Job
from prism.benchmark.train.runner import Training, run_job
from tests.helpers import equal

SMALL: dict[str, Any] = {
    **{"algo.hidden": [16, 16], "algo.batch_size": 16, "algo.buffer_size": 150},
    **{"algo.learning_starts": 40, "algo.train_every": 4, "algo.target_every": 30},
    **{"algo.atoms": 11, "evaluation.episodes": 3, "evaluation.periodic_episodes": 2},
    **{"evaluation.every": 90, "log_every": 40, "checkpoint_every": 0, "budget": 320},
    **{"tracking.wandb": "disabled"},
}


def job(
    folder: Path,
    algo: str = "dqn",
    env: str = "CartPole-v1",
    seeds: tuple[int, ...] = (3, 11, 42),
    **changes: Any,
) -> Job:
    """Return a small job; ``env`` is a Gymnasium id, or the name of a file in conf/env.

    What ``SMALL`` says of agents holds for those that have such a setting.
    """
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    known = env == env.lower()
    with cfg.session():
        config = deepcopy(cfg.composed(f"algo={algo}", f"env={env if known else 'gym'}"))
        small = {
            key: value
            for key, value in SMALL.items()
            if not key.startswith("algo.") or key.removeprefix("algo.") in config.algo
        }
        for key, value in {
            **small,
            **({} if known else {"env.id": env, "env.ends": True}),
            **dotted,
        }.items():
            cfg.assign(config, key, value)
        spec = cfg.resolved(config)
    variant = schema.Variant(
        label=algo, kind=schema.PRESET, base=algo, full=algo, on=[], off=[], component=None,
        overrides={},
    )  # fmt: skip
    run_ids = [identity.run_id(spec, algo, env, seed) for seed in seeds]
    job_id = identity.job_id(spec, algo, env, seeds)
    return Job(
        "test", str(folder), job_id, algo, env, variant, spec, None, list(seeds), run_ids
    )  # fmt: skip


def folders(work: Job) -> Iterator[Path]:
    for run in work.run_ids:
        yield records.run_dir(work, run)


def metrics(work: Job) -> list[bytes]:
    return [(folder / "metrics.jsonl").read_bytes() for folder in folders(work)]


def weights(work: Job) -> list[Any]:
    return [checkpoint.load(folder / "weights.pt") for folder in folders(work)]


def status(work: Job, k: int) -> schema.Status:
    found = records.read_status(records.run_dir(work, work.run_ids[k]))
    assert found is not None
    return found


def same_results(a: Job, b: Job) -> None:
    assert metrics(a) == metrics(b)
    for ours, theirs in zip(weights(a), weights(b), strict=True):
        equal(ours, theirs)


def states(work: Job) -> list[str]:
    return [status(work, k)["state"] for k in range(len(work.seeds))]


def finished(work: Job) -> Job:
    run_job(work)
    assert set(states(work)) == {schema.FINISHED}
    return work


def saved(work: Job) -> Checkpoints:
    return Checkpoints(records.job_dir(work) / "checkpoint")


class Killed(BaseException):
    """What a killed process looks like from inside: nothing is written behind it."""


def stop(work: Job, tick: int, by: Callable[[Training], bool] = lambda training: True) -> Training:
    """Train for ``tick`` ticks, then let ``by`` answer whether a stop is asked for."""
    training = Training(work)
    begin, asked = training.steps[0], count()

    def stopped() -> bool:
        there = training.steps[0] == begin + tick * training.lanes and next(asked) == 0
        return there and by(training)

    try:
        training.run(stopped)
    finally:
        training.close()
    return training


def kill(training: Training) -> bool:
    raise Killed


RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dqn": ("dqn", "CartPole-v1", {}),
    "rainbow, truncated": ("rainbow", "CartPole-v1", {"env__horizon": 15, "algo__lanes": 2}),
    "coin, norm": ("double_q", "Acrobot-v1", {"env__horizon": 90, "algo__norm": "batch"}),
    "recurrent dqn, truncated": (
        "recurrent_dqn",
        "CartPole-v1",
        {"env__horizon": 15, "algo__lanes": 2, "algo__sequence": 4, "algo__burn_in": 3},
    ),
    "rainbow, minatar": (
        "rainbow",
        "minatar_breakout",
        {"budget": 160, "env__horizon": 30, "algo__train_every": 8, "evaluation__every": 100},
    ),
}


def like(name: str, folder: Path, **more: Any) -> Job:
    algo, env, changes = RUNS[name]
    return job(folder, algo, env, **changes, **more)


BREAKS: dict[str, Any] = {"env__kwargs": {"n": 3, "every": 384}}  # seed 11 alone, at step 218
