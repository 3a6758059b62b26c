"""The local executor on two cores: overhead per job, and parallel efficiency of a sweep.

These cases measure wall-clock time, because that is how long a user waits.
"""

import json
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier
from pathlib import Path

from prism.benchmark.plan.executors import LocalOptions
from prism.benchmark.store.job import Job, Sweep
from tools.bench.measure import Group, Result

WORKERS = 2
BAR = 0.25  # target, in seconds per trivial job
# 6 jobs of 5 seeds, long enough to learn.
PRICED = ("algo=dqn,c51,ppo", "env=cartpole,acrobot", "budget=30_000", "tracking=disabled")
# 8 jobs of two agents with evaluations, rows and checkpoints; long: their start counts little.
REAL = ("algo=dqn,rainbow", "seed=range(0,8)", "seeds_per_job=2", "budget=45_000", "tuned=false")


@contextmanager
def _planned(*words: str) -> Iterator[Sweep]:
    """Plan a sweep on CartPole in a temporary folder."""
    from prism.benchmark.plan.grid import sweep

    with tempfile.TemporaryDirectory() as folder:
        yield sweep(("env=cartpole", "tracking=disabled", *words, f"results={folder}"))


def trivial(job: Job) -> None:
    """Use torch for a moment and leave a finished run."""
    import torch

    from prism.benchmark.store import ledger, records, schema

    torch.linalg.inv(torch.eye(64) * 2)
    for run in job.run_ids:
        folder = records.run_dir(job, run)
        done = {"state": schema.FINISHED, "global_step": job.spec.budget}
        records.write_json(folder / "run.json", records.run_record(job, 0))
        records.write_json(folder / "status.json", {**ledger.status_of(job, None), **done})


def jobs(count: int) -> Result:
    """Launch ``count`` trivial jobs, one process each."""
    from prism.benchmark.launch.core import launch

    with _planned("algo=dqn", f"seed=range(0,{count})", "seeds_per_job=1") as plan:
        began = time.monotonic()
        assert launch(plan, LocalOptions(**{"n_jobs": WORKERS}), trivial)
        return {"jobs": count, "wall": time.monotonic() - began}


def executor(*words: str) -> Result:
    """Launch a sweep of real jobs, from the plan to the last line."""
    from prism.benchmark.launch.core import launch

    with _planned(*words) as plan:
        began = time.monotonic()
        assert launch(plan, LocalOptions(**{"n_jobs": WORKERS}))
        return {"jobs": len(plan.jobs), "wall": time.monotonic() - began}


def perfect(*words: str) -> Result:
    """Train the jobs of a sweep in two processes that have all imports done.

    Returns:
        ``wall`` is the mean of the two durations: that of a perfectly even division of the work.
    """
    context = get_context("spawn")
    with _planned(*words) as plan:
        ready, walls = context.Barrier(WORKERS), context.SimpleQueue()
        shares = [plan.jobs[first::WORKERS] for first in range(WORKERS)]
        workers = [context.Process(target=_work, args=(s, ready, walls)) for s in shares]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
            assert worker.exitcode == 0
        return {"jobs": len(plan.jobs), "wall": statistics.mean(walls.get() for _ in workers)}


def _work(share: list[Job], ready: Barrier, walls: "SimpleQueue[float]") -> None:
    """Run jobs one after another, starting when both workers are ready."""
    from prism.benchmark.launch.worker import limit_threads
    from prism.benchmark.store import ledger, records
    from prism.benchmark.store.agents import agent_class
    from prism.benchmark.train.runner import run_job

    limit_threads(1)
    for job in share:
        agent_class(job.spec.algo.agent)
    ready.wait()
    began = time.monotonic()
    for job in share:
        ledger.prepare(job)
        run_job(job)
    walls.put(time.monotonic() - began)
    assert all(
        ledger.is_finished(records.run_dir(job, run)) for job in share for run in job.run_ids
    )


def priced() -> Result:
    """Price a sweep from trials and run it; then price it with other seeds from those past runs.

    Returns:
        For "trials" and "past": predicted and actual seconds, CPU seconds and bytes.
    """
    from prism.benchmark.launch import price
    from prism.benchmark.launch.core import launch
    from prism.benchmark.plan.grid import sweep

    result: Result = {}
    with tempfile.TemporaryDirectory() as folder:
        for source, seeds in (("trials", "range(0,5)"), ("past", "range(5,10)")):
            words = (*PRICED, f"seed={seeds}", f"name={source}", f"results={folder}")
            plan = sweep(words)
            said = price.of(plan.jobs, Path(folder), WORKERS)
            began = time.monotonic()
            assert launch(plan, LocalOptions(**{"n_jobs": WORKERS}))
            result |= {f"{source} said wall": said.wall, f"{source} said cpu": said.cpu}
            result |= {f"{source} said disk": said.disk}
            result[f"{source} was wall"] = time.monotonic() - began
            result |= {f"{source} was {key}": value for key, value in _spent(plan).items()}
    return result


def _spent(plan: Sweep) -> Result:
    """Return the CPU seconds recorded by the jobs of a sweep, and the bytes of its runs."""
    from prism.benchmark.launch.cost import START
    from prism.benchmark.store import records

    cpu, disk = 0.0, 0
    for job in plan.jobs:
        folders = [records.run_dir(job, run) for run in job.run_ids]
        cpu += (
            START + json.loads((folders[0] / "timing.jsonl").read_bytes().splitlines()[-1])["cpu"]
        )
        disk += sum(p.stat().st_size for f in folders for p in f.rglob("*") if p.is_file())
    return {"cpu": cpu, "disk": disk}


def _report_price(results: dict[str, list[Result]]) -> None:
    for run in results["price"]:
        for source in ("trials", "past"):
            print(f"  from {source}:", end="")
            for key, unit in (("wall", "s"), ("cpu", "CPU s"), ("disk", "B")):
                said, was = run[f"{source} said {key}"], run[f"{source} was {key}"]
                print(f"  {said:,.0f} of {was:,.0f} {unit} ({said / was - 1:+.0%})", end="")
            print()


def _report(results: dict[str, list[Result]]) -> None:
    walls = {case: [run["wall"] for run in runs] for case, runs in results.items()}
    for case, runs in results.items():
        low, high = min(walls[case]), max(walls[case])
        print(
            f"{case:18} {runs[0]['jobs']:.0f} jobs in {statistics.median(walls[case]):.1f} s "
            f"({low:.1f} to {high:.1f}, n = {len(runs)})"
        )
    middle = {case: statistics.median(of) for case, of in walls.items()}
    each = middle["trivial jobs"] / results["trivial jobs"][0]["jobs"]
    print(f"  a trivial job: {each:.3f} s (bar: {BAR})")
    print(f"  parallel efficiency: {middle['perfect workers'] / middle['local executor']:.2f}")


GROUPS = {
    "launch": Group(
        {
            "trivial jobs": lambda: jobs(200),
            "local executor": lambda: executor(*REAL),
            "perfect workers": lambda: perfect(*REAL),
        },
        by_clock=True,
        report=_report,
    ),
    "price": Group({"price": priced}, repeats=1, by_clock=True, report=_report_price),
}
