"""Real jobs in real processes: what users do to sweeps, and machines to users."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from prism.benchmark.launch.core import launch
from prism.benchmark.plan.executors import InlineOptions, LocalOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import leases, records, schema
from prism.benchmark.store.job import Sweep
from prism.benchmark.train.runner import run_job
from tests.tracking.test_wandb import recorded

QUICK = (
    *("algo=dqn", "algo.learning_starts=40", "algo.hidden=[16]", "algo.batch_size=16"),
    *("evaluation.episodes=2", "evaluation.periodic_episodes=1", "budget=300", "tuned=false"),
)
PARALLEL = {"n_jobs": 2}


def found(planned: Sweep) -> dict[int, schema.Status]:
    """Return the status of every run by its seed."""
    out = {}
    for job in planned.jobs:
        for seed, run in zip(job.seeds, job.run_ids, strict=True):
            status = records.read_status(records.run_dir(job, run))
            assert status is not None
            out[seed] = status
    return out


def metrics(planned: Sweep) -> list[bytes]:
    folders = [records.run_dir(job, run) for job in planned.jobs for run in job.run_ids]
    return [(folder / "metrics.jsonl").read_bytes() for folder in folders]


def test_four_jobs_are_four_runs_of_wandb_and_one_has_failed(tmp_path, capfd):
    breaks = ("env=gym", "env.id=Prism/Raises-v0", "env.ends=true", "env.kwargs={n:3,every:384}")
    more = ("seed=3,11,42,5", "seeds_per_job=1", "tracking=offline", f"results={tmp_path}")
    planned = sweep((*QUICK, *breaks, *more))
    assert len(planned.jobs) == 4
    assert not launch(planned, LocalOptions(**PARALLEL))
    ends = {seed: status["state"] for seed, status in found(planned).items()}
    assert ends == {seed: "failed" if seed == 11 else "finished" for seed in (3, 11, 42, 5)}
    ids = set()
    for job in planned.jobs:
        folder = records.run_dir(job, job.run_ids[0])
        (run,) = recorded(folder)
        ids.add(run["runId"] if "runId" in run else run["run_id"])
        assert run["exit"] == [1 if job.seeds == [11] else 0]
        lines = (folder / "metrics.jsonl").read_bytes().splitlines()
        steps = [int(row["global_step"]) for row in run["rows"]]
        assert len(steps) == len(lines) and steps == sorted(set(steps))
        for row, line in zip(run["rows"], lines, strict=True):  # its own values, no other's
            assert f'"train/episodes":{row["train/episodes"]}' in line.decode()
    assert len(ids) == 4


@pytest.mark.slow
def test_two_launches_at_once_share_the_work(tmp_path, capfd):
    words = [*QUICK, "env=cartpole", "seed=range(0,4)", "seeds_per_job=1", "tracking=disabled"]
    command = [sys.executable, "-m", "benchmark", "-m", *words, f"results={tmp_path}"]
    other = subprocess.Popen([*command, "hydra.launcher.n_jobs=1"], stdout=subprocess.DEVNULL)
    wait((tmp_path / "adhoc" / "plan.json").exists)
    planned = sweep((*words, f"results={tmp_path}"))
    assert launch(planned, LocalOptions(**{"n_jobs": 1}))
    assert other.wait(120) == 0
    assert {s["attempts"] for s in found(planned).values()} == {1}
    assert len(records.read_json(tmp_path / "adhoc" / "plan.json")["runs"]) == 4
    assert leases.of(tmp_path / "adhoc") == []


@pytest.mark.slow
def test_a_second_ctrl_c_ends_what_does_not_stop(tmp_path):
    code = (
        "from prism.benchmark.plan.grid import sweep\n"
        "from prism.benchmark.launch.core import launch\n"
        "from prism.benchmark.plan.executors import LocalOptions\n"
        "from tests.launch import fakes\n"
        "if __name__ == '__main__':\n"
        f"    planned = sweep(('algo=dqn', 'env=cartpole', 'results={tmp_path}'))\n"
        "    raise SystemExit(not launch(planned, LocalOptions(), fakes.deaf))\n"
    )
    driver = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    pid = tmp_path / "adhoc" / "pid"
    wait(pid.exists)
    driver.send_signal(signal.SIGINT)
    assert driver.stdout is not None
    said = iter(driver.stdout.readline, "")
    assert any("Ctrl-C again" in line for line in said)
    driver.send_signal(signal.SIGINT)
    assert driver.wait(120) == 1
    assert not Path(f"/proc/{pid.read_text()}").exists()
    (job,) = sweep(("algo=dqn", "env=cartpole", f"results={tmp_path}")).jobs
    status = records.read_status(records.run_dir(job, job.run_ids[0]))
    assert status is not None and status["state"] == schema.INTERRUPTED


def wait(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def small_disk(tmp_path: Path):
    """Return a function that mounts a disk of so many kB, or makes it larger."""
    folder = tmp_path / "disk"
    folder.mkdir()

    def mount(size: int) -> Path:
        again = ["remount,"] if os.path.ismount(folder) else [""]
        options = f"{again[0]}size={size}k"
        made = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        )
        if made.returncode:
            pytest.skip("this machine lets us mount no small disk")
        return folder

    yield mount
    subprocess.run(["umount", folder], capture_output=True)


def test_a_full_disk_costs_what_does_not_fit_and_the_rest_is_resumed(small_disk, tmp_path, capfd):
    words = (*QUICK, "env=cartpole", "tracking=disabled", "seed=range(0,6)", "seeds_per_job=2")
    disk = small_disk(160)
    planned = sweep((*words, f"results={disk}"))
    assert not launch(planned, LocalOptions(**PARALLEL))
    out = capfd.readouterr().out
    assert "No space left on device" in out and "NOT complete" in out
    small_disk(10_000)
    assert launch(planned, LocalOptions(**PARALLEL))
    calm = sweep((*words, f"results={tmp_path / 'calm'}"))
    assert launch(calm, LocalOptions(**PARALLEL))
    assert metrics(planned) == metrics(calm)


def test_a_disk_that_is_full_from_the_start_is_one_line(small_disk):
    disk = small_disk(4)
    (disk / "filled").write_bytes(b"x" * 4096)
    with pytest.raises(OSError, match=r"No space left on device"):
        launch(sweep((*QUICK, "env=cartpole", f"results={disk}")), InlineOptions(), run_job)
