"""The local executor on two cores: what a job costs beside its work, and a sweep beside its ideal.

These cases are measured by the clock, since what is told of is how long a user waits.
"""

import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing import get_context
from multiprocessing.queues import SimpleQueue
from multiprocessing.synchronize import Barrier

from benchmark.bench.measure import Group, Result
from benchmark.job import Job, Sweep

WORKERS = 2
BAR = 0.25  # seconds a trivial job
# 8 jobs of two agents, with the evaluations, rows and checkpoints that a user's sweep has.
REAL = ("algo=dqn,rainbow", "seed=range(0,8)", "seeds_per_job=2", "budget=20_000", "tuned=false")


@contextmanager
def _planned(*words: str) -> Iterator[Sweep]:
    """Plan a sweep on CartPole in a folder that is thrown away."""
    from benchmark.grid import sweep

    with tempfile.TemporaryDirectory() as folder:
        yield sweep(("env=cartpole", "tracking=disabled", *words, f"results={folder}"))


def trivial(job: Job) -> None:
    """Use torch for a moment and leave a finished run."""
    import torch

    from benchmark import ledger, schema, store

    torch.linalg.inv(torch.eye(64) * 2)
    for run in job.run_ids:
        folder = store.run_dir(job, run)
        done = {"state": schema.FINISHED, "global_step": job.config["budget"]}
        store.write_json(folder / "run.json", store.run_record(job, 0))
        store.write_json(folder / "status.json", {**ledger.status_of(job, None), **done})


def jobs(count: int) -> Result:
    """Launch so many trivial jobs, a process each."""
    from benchmark.launch.core import launch

    with _planned("algo=dqn", f"seed=range(0,{count})", "seeds_per_job=1") as plan:
        began = time.monotonic()
        assert launch(plan, "local", {"n_jobs": WORKERS}, trivial)
        return {"jobs": count, "wall": time.monotonic() - began}


def executor(*words: str) -> Result:
    """Launch a sweep of real jobs, from the plan to the last line."""
    from benchmark.launch.core import launch

    with _planned(*words) as plan:
        began = time.monotonic()
        assert launch(plan, "local", {"n_jobs": WORKERS})
        return {"jobs": len(plan.jobs), "wall": time.monotonic() - began}


def perfect(*words: str) -> Result:
    """Train the jobs of a sweep in two processes that have all imports done and nothing else to do.

    Returns:
        As ``wall`` the mean of what the two took: as if the work could be shared out evenly.
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
    """Run jobs one after another from the moment when the other worker is ready too."""
    from benchmark import ledger, store
    from benchmark.agents import agent_class
    from benchmark.launch.worker import limit_threads
    from benchmark.runner import run_job

    limit_threads(1)
    for job in share:
        agent_class(job.config["algo"]["agent"])
    ready.wait()
    began = time.monotonic()
    for job in share:
        ledger.prepare(job)
        run_job(job)
    walls.put(time.monotonic() - began)
    assert all(ledger.is_finished(store.run_dir(job, run)) for job in share for run in job.run_ids)


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
}
