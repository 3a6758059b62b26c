"""What a faulty W&B server costs a job, by the clock; for an idle machine."""

import threading
import time
from pathlib import Path

import pytest

from benchmark import store
from benchmark.runner import run_job
from benchmark.tracking.files import read_rows
from tests.runs import job
from tests.tracking.runs import own_service
from tests.wandb_server import WandbServer

BUDGET = 150_000
FAULTS = ("none", "down at start", "down in the middle", "slow", "429", "500")


def fail(server: WandbServer, fault: str) -> None:
    if fault == "down at start":
        server.stop()
    elif fault == "down in the middle":
        threading.Timer(8.0, server.stop).start()
    elif fault == "slow":
        server.delay = 1.0
    elif fault in ("429", "500"):
        threading.Timer(8.0, setattr, (server, "refuse", lambda _: int(fault))).start()


def trained(folder: Path, mode: str) -> tuple[float, float]:
    """Return the seconds up to the last row, and those behind it."""
    work = job(
        folder, env="cartpole", seeds=tuple(range(10)), tracking__wandb=mode, budget=BUDGET,
        log_every=BUDGET // 200, evaluation__every=BUDGET // 20, algo__hidden=[120, 84],
        algo__batch_size=128, algo__train_every=10, algo__buffer_size=10_000,
    )  # fmt: skip
    began = time.monotonic()
    with own_service():
        run_job(work)
        total = time.monotonic() - began
    rows = read_rows(store.run_dir(work, work.run_ids[0]) / "timing.jsonl")
    return rows[-1]["wall"], total - rows[-1]["wall"]


@pytest.mark.slow
def test_no_fault_costs_five_percent(wandb_server, tmp_path):
    plain = [trained(tmp_path / f"plain{i}", "disabled")[0] for i in range(2)]
    spread = max(plain) / min(plain)
    if spread > 1.05:
        pytest.skip(f"two equal jobs differ by {spread:.0%}: this machine is not idle")
    for fault in FAULTS:
        if wandb_server._http is None:
            wandb_server.start()
        wandb_server.delay, wandb_server.refuse = 0.0, lambda _: None
        fail(wandb_server, fault)
        training, behind = trained(tmp_path / fault, "online")
        print(f"{fault:20} {training / min(plain) - 1:+.1%} of training, {behind:.1f} s behind it")
        assert training < 1.05 * max(plain)
        assert behind < max(5.0, 0.03 * training) + 4.0  # and the teardown
