"""What a faulty W&B server costs a job, in CPU and by the clock; for an idle machine.

Every job is a process of its own with W&B imported, as the launcher's are; the server stays in the
test's. A job with a fault runs beside one without W&B, a core each, and then with the cores
swapped, so that a machine whose speed drifts still compares fairly. PRISM_DELAY_STEPS makes the
jobs shorter, to see whether the test works.
"""

import multiprocessing
import os
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from benchmark import store
from benchmark.runner import run_job
from benchmark.tracking import service
from benchmark.tracking.files import read_rows
from tests.runs import job
from tests.tracking.runs import own_service
from tests.wandb_server import WandbServer

BUDGET = int(os.environ.get("PRISM_DELAY_STEPS", "150000"))
ROWS = 200
LIMIT = 0.05
Strike = Callable[[WandbServer], object]


def refuse(status: int) -> Strike:
    return lambda server: setattr(server, "refuse", lambda _: status)


FAULTS: dict[str, tuple[float, Strike]] = {  # the share of the job behind it, and what happens then
    "none": (0.0, lambda server: None),
    "down at start": (0.0, WandbServer.stop),
    "down in the middle": (0.5, WandbServer.stop),
    "down at the end": (0.95, WandbServer.stop),
    "hanging at start": (0.0, lambda server: server.gate.clear()),
    "slow": (0.0, lambda server: setattr(server, "delay", 1.0)),
    "429 at start": (0.0, refuse(429)),
    "429 in the middle": (0.5, refuse(429)),
    "500 at start": (0.0, refuse(500)),
    "500 in the middle": (0.5, refuse(500)),
}


class Cost(NamedTuple):
    wall: float  # seconds up to the last row
    cpu: float  # of the training process up to the last row, all its threads
    service: float  # CPU seconds of W&B's service process
    behind: float  # seconds behind the last row


def mend(server: WandbServer) -> None:
    server.delay, server.refuse = 0.0, lambda _: None
    server.gate.set()
    if server._http is None:
        server.start()


def trained(folder: Path, mode: str, core: int) -> Cost:
    """Run the job; called in a process of its own."""
    os.sched_setaffinity(0, {core})
    import wandb  # noqa: F401

    work = job(
        folder, env="cartpole", seeds=tuple(range(10)), tracking__wandb=mode, budget=BUDGET,
        log_every=BUDGET // ROWS, evaluation__every=BUDGET // 20, algo__hidden=[120, 84],
        algo__batch_size=128, algo__train_every=10, algo__buffer_size=10_000,
    )  # fmt: skip
    began = time.monotonic()
    with own_service():
        run_job(work)
        total = time.monotonic() - began
    last = read_rows(store.run_dir(work, work.run_ids[0]) / "timing.jsonl")[-1]
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    service = children.ru_utime + children.ru_stime
    return Cost(last["wall"], last["cpu"], service, total - last["wall"])


def when(folder: Path, share: float, strike: Callable[[], object], over: threading.Event) -> None:
    """Strike when a job has written so much of its rows."""
    while not over.wait(0.2):
        files = list(folder.glob("runs/*/metrics.jsonl"))
        if len(files) == 10 and files[0].read_bytes().count(b"\n") >= share * ROWS:
            strike()
            return


def abreast(
    server: WandbServer, folder: Path, fault: str | None, cores: tuple[int, int]
) -> tuple[Cost, Cost]:
    """Train with a fault, or without W&B where that is None, and beside it without W&B."""
    mode, over = "online" if fault else "disabled", threading.Event()
    share, strike = FAULTS[fault or "none"]
    watch = threading.Thread(
        target=when, args=(folder / "with", share, lambda: strike(server), over)
    )
    if share:
        watch.start()
    else:
        strike(server)
    with multiprocessing.get_context("spawn").Pool(2, maxtasksperchild=1) as pool:
        jobs = (folder / "with", mode, cores[0]), (folder / "without", "disabled", cores[1])
        costs = pool.starmap(trained, jobs, chunksize=1)
    over.set()
    if share:
        watch.join()
    mend(server)
    return costs[0], costs[1]


def compared(server: WandbServer, folder: Path, fault: str | None) -> tuple[float, float]:
    """Return the shares of the clock and of CPU time that a fault adds, and print them."""
    first, second, *_ = sorted(os.sched_getaffinity(0))
    pairs = [
        abreast(server, folder / str(turn), fault, cores)
        for turn, cores in enumerate(((first, second), (second, first)))
    ]
    walls = [a.wall / b.wall - 1 for a, b in pairs]
    cpus = [a.cpu / b.cpu - 1 for a, b in pairs]
    worst = max((cost for cost, _ in pairs), key=lambda cost: cost.behind)
    wall, cpu = sum(walls) / len(walls), sum(cpus) / len(cpus)
    print(
        f"{fault or 'disabled twice':20} {wall:+.1%} by the clock, {cpu:+.1%} of CPU time "
        f"(clock {', '.join(f'{x:+.1%}' for x in walls)}), {worst.service:.1f} CPU seconds of "
        f"W&B's service, {worst.behind:.1f} s behind the end of {worst.wall:.0f} s"
    )
    ending = 2 * service._TEARDOWN + 1.0  # to end a process that will not
    assert worst.behind < max(5.0, 0.03 * worst.wall) + ending
    return wall, cpu


@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_no_fault_costs_five_percent(wandb_server, tmp_path):
    print()
    noise = max(map(abs, compared(wandb_server, tmp_path / "equal", None)))
    added = {fault: compared(wandb_server, tmp_path / fault, fault) for fault in FAULTS}
    if noise > LIMIT:
        pytest.skip("equal jobs differ by more than 5 %: this machine is not idle")
    assert {fault: shares for fault, shares in added.items() if max(shares) > LIMIT} == {}
