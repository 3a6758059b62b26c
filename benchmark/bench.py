"""Speed and memory, measured: ``python -m benchmark.bench [case ...]``.

Every measurement is a process of its own with one thread; its CPU seconds count, not the clock's,
from the first environment step to the last. Cases that are compared take turns, and the ratio of
their medians is printed, so that a machine whose speed drifts still compares fairly.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Result = dict[str, float]  # "steps" of all seeds, "cpu" seconds, "rss" MB

QUIET = {
    "tracking.wandb": "disabled",
    "evaluation.every": 0,
    "evaluation.episodes": 1,
    "checkpoint_every": 0,
}


def _job(folder: Path, algo: str, env: str, seeds: int, settings: dict[str, Any]) -> Any:
    """Return the job of one untuned cell."""
    from benchmark import store
    from benchmark.config import assign, composed, resolved, session
    from benchmark.job import Job
    from benchmark.schema import PRESET, Variant

    with session():
        config = composed(f"algo={algo}", f"env={env}")
        for key, value in settings.items():
            assign(config, key, value)
        plain = resolved(config)
    numbers = list(range(seeds))
    variant = Variant(
        label=algo, kind=PRESET, base=algo, full=algo, on=[], off=[], component=None, overrides={}
    )
    runs = [store.run_id(plain, algo, env, seed) for seed in numbers]
    name = store.job_id(plain, algo, env, numbers)
    return Job("bench", str(folder), name, algo, env, variant, plain, None, numbers, runs)


def train(algo: str, env: str, seeds: int, budget: int, **settings: Any) -> Result:
    """Train ``seeds`` seeds for ``budget`` steps each; returns what it cost."""
    import torch

    from benchmark.runner import Training, keep_freed_memory

    keep_freed_memory()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        given = {key.replace("__", "."): value for key, value in settings.items()}
        job = _job(Path(folder), algo, env, seeds, QUIET | {"log_every": budget} | given)
        job.config["budget"] = budget
        began = _cpu()
        training = Training(job)
        ready = _cpu()
        training.run(lambda: False)
        training.close()
    spent = _cpu() - ready
    return {"steps": seeds * budget, "cpu": spent, "start": ready - began, "rss": _peak_mb()}


def peer_dqn(budget: int) -> Result:
    """Train Stable-Baselines3's DQN on CartPole with the settings of our ``dqn`` preset."""
    import torch
    from stable_baselines3 import DQN

    torch.set_num_threads(1)
    model = DQN(
        "MlpPolicy",
        "CartPole-v1",
        learning_rate=2.5e-4,
        buffer_size=10_000,
        learning_starts=10_000,
        batch_size=128,
        gamma=0.99,
        train_freq=10,
        gradient_steps=1,
        target_update_interval=500,
        exploration_fraction=0.5,
        exploration_final_eps=0.05,
        policy_kwargs={"net_arch": [120, 84]},
        device="cpu",
        seed=0,
    )
    began = _cpu()
    model.learn(budget)
    return {"steps": budget, "cpu": _cpu() - began, "rss": _peak_mb()}


def _cpu() -> float:
    """Return CPU seconds of this process, its threads and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


# What a job pays for its rows, the offline mirror, the periodic evaluations and its checkpoints.
_FULL: dict[str, Any] = {"tracking__wandb": "offline", "log_every": 250, "checkpoint_every": 10}
_MINATAR: dict[str, Any] = {
    "algo__hidden": [128],
    "algo__batch_size": 32,
    "algo__train_every": 1,
    "algo__learning_starts": 5_000,
    "algo__buffer_size": 100_000,
}
_MEMORY = _MINATAR | {"algo__train_every": 100, "checkpoint_every": 20}
CASES: dict[str, Callable[[], Result]] = {
    "dqn k=1": lambda: train("dqn", "cartpole", 1, 50_000),
    "dqn k=10": lambda: train("dqn", "cartpole", 10, 50_000),
    "sb3 dqn": lambda: peer_dqn(50_000),
    "rainbow k=1": lambda: train("rainbow", "cartpole", 1, 20_000),
    "rainbow k=10": lambda: train("rainbow", "cartpole", 10, 20_000),
    "dqn minatar k=1": lambda: train("dqn", "minatar_breakout", 1, 20_000, **_MINATAR),
    "dqn minatar k=10": lambda: train("dqn", "minatar_breakout", 10, 20_000, **_MINATAR),
    "bare job": lambda: train("dqn", "cartpole", 10, 50_000),
    "full job": lambda: train("dqn", "cartpole", 10, 50_000, **_FULL),
    "bare start": lambda: train("dqn", "cartpole", 10, 1_000),
    "full start": lambda: train("dqn", "cartpole", 10, 1_000, **_FULL),
    "memory": lambda: train("dqn", "minatar_seaquest", 10, 100_000, **_MEMORY),
}
GROUPS = {
    "speed": ("dqn k=1", "dqn k=10", "sb3 dqn"),
    "rainbow": ("rainbow k=1", "rainbow k=10"),
    "minatar": ("dqn minatar k=1", "dqn minatar k=10"),
    "overhead": ("bare job", "full job", "bare start", "full start"),
    "memory": ("memory",),
}


def _in_process(case: str) -> Result:
    """Run one case in a fresh process with one thread."""
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    command = [sys.executable, "-W", "ignore", "-m", "benchmark.bench", "--case", case]
    done = subprocess.run(command, env=os.environ | one, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{case}: {done.stderr.strip().splitlines()[-1]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    return result


def measure(group: str, repeats: int) -> dict[str, list[Result]]:
    """Run the cases of a group in turn, ``repeats`` times."""
    results: dict[str, list[Result]] = {case: [] for case in GROUPS[group]}
    for _ in range(repeats):
        for case in GROUPS[group]:
            results[case].append(_in_process(case))
    return results


def _speed(results: list[Result]) -> float:
    return statistics.median(r["steps"] / r["cpu"] for r in results)


def _report(group: str, results: dict[str, list[Result]]) -> None:
    for case, runs in results.items():
        speeds = sorted(r["steps"] / r["cpu"] for r in runs)
        print(
            f"{case:18} {_speed(runs):9,.0f} steps per CPU second "
            f"({speeds[0]:,.0f} to {speeds[-1]:,.0f}, n = {len(runs)}), "
            f"peak {max(r['rss'] for r in runs):,.0f} MB"
        )
    if group == "overhead":
        _report_overhead(**{case.replace(" ", "_"): runs for case, runs in results.items()})
    elif len(results) > 1:
        first, *others = results
        for case in others if group != "speed" else ("dqn k=1", "dqn k=10"):
            other = first if group != "speed" else "sb3 dqn"
            print(f"  {case} / {other}: {_speed(results[case]) / _speed(results[other]):.2f}")


def _report_overhead(
    bare_job: list[Result],
    full_job: list[Result],
    bare_start: list[Result],
    full_start: list[Result],
) -> None:
    """Tell what a job pays for its records, apart from what it pays once, whatever its length."""
    bare, full, fixed_bare, fixed_full = (
        statistics.median(run["cpu"] for run in runs)
        for runs in (bare_job, full_job, bare_start, full_start)
    )
    fixed = fixed_full - fixed_bare
    print(f"  rows, mirror, checkpoints: {(full - bare - fixed) / bare:+.1%} of the job's CPU time")
    print(f"  fixed start-up, W&B's import above all: {fixed:+.2f} CPU seconds")


def main() -> None:
    """Measure the groups that are named, or all."""
    parser = argparse.ArgumentParser(prog="python -m benchmark.bench", description=__doc__)
    parser.add_argument("groups", nargs="*", choices=[*GROUPS, []], metavar="group")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--case", choices=CASES, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.case:
        print(json.dumps(CASES[arguments.case]()))
        return
    print(f"one thread, CPU seconds; {time.strftime('%Y-%m-%d')}, {os.cpu_count()} cores")
    for group in arguments.groups or GROUPS:
        print(f"\n{group}")
        _report(group, measure(group, arguments.repeats if group != "memory" else 1))


if __name__ == "__main__":
    main()
