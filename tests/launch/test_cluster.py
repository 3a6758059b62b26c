"""Sweeps on real engines: a whole Slurm and a Ray of several nodes, on this machine."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from prism.benchmark.launch.core import launch
from prism.benchmark.plan.executors import InlineOptions, RayOptions, SlurmOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store.job import Sweep
from tests.launch.test_real import QUICK, found, metrics

pytestmark = pytest.mark.cluster

WORDS = (*QUICK, "env=cartpole", "tracking=disabled", "seeds_per_job=1", "checkpoint_every=0.5")


def planned(results: Path, *more: str) -> Sweep:
    return sweep((*WORDS, "seed=range(0,4)", f"results={results}", *more))


def until(condition, seconds: float = 300.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.1)


def port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Cluster:
    """A Slurm of two nodes of one core each."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, dict[str, subprocess.Popen]()
        text = (Path(__file__).parent / "slurm.conf").read_text()
        facts = {"host": socket.gethostname().partition(".")[0], "folder": folder}
        ports = {name: port() for name in ("port", "port1", "port2")}
        (folder / "slurm.conf").write_text(text.format(**facts, **ports))
        (folder / "state").mkdir()
        self.start("slurmctld", "-D", "-c")
        for node in ("n1", "n2"):
            self.start("slurmd", "-D", "-N", node)
        try:
            until(lambda: self.told("sinfo", "-h", "-o", "%T %D").startswith("idle 2"), 30)
        except AssertionError:
            self.close()
            raise

    def start(self, *command: str) -> None:
        (self.folder / f"spool.{command[-1]}").mkdir(exist_ok=True)
        out = (self.folder / f"{command[0]}.{command[-1]}.out").open("w")
        path = shutil.which(command[0], path=f"{os.environ['PATH']}:/usr/sbin")
        assert path is not None
        self.processes[command[-1]] = subprocess.Popen(
            [path, *command[1:]], stdout=out, stderr=out, start_new_session=True
        )

    def told(self, *command: str) -> str:
        return subprocess.run(command, capture_output=True, text=True).stdout

    def lose(self, node: str) -> None:
        """Kill a node with all that runs on it."""
        for folder in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                if f"SLURMD_NODENAME={node}".encode() in (folder / "environ").read_bytes().split(
                    b"\0"
                ):
                    os.kill(int(folder.name), signal.SIGKILL)
        self.processes[node].kill()
        for pid in self.told("pgrep", "-f", f"slurmstepd.*{self.folder}").split():
            os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        subprocess.run(["scancel", "--user=root"], capture_output=True)
        for process in reversed(self.processes.values()):
            process.kill()
            process.wait()


@pytest.fixture
def slurm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    if shutil.which("sbatch") is None:
        pytest.skip("there is no Slurm here: apt-get install slurm-wlm")
    if os.geteuid() != 0:
        pytest.skip("a Slurm of one's own needs root")
    folder = tmp_path / "slurm"
    folder.mkdir()
    monkeypatch.setenv("SLURM_CONF", str(folder / "slurm.conf"))
    cluster = Cluster(folder)
    yield cluster
    cluster.close()


LONG = ("budget=12_000", "evaluation.every=0")


def calm(tmp_path: Path, *more: str) -> list[bytes]:
    whole = planned(tmp_path / "calm", *more)
    assert launch(whole, InlineOptions())
    return metrics(whole)


def test_slurm_resumes_what_it_preempts(slurm, tmp_path, capfd):
    command = [sys.executable, "-m", "benchmark", "-m", *WORDS, *LONG, "seed=range(0,4)"]
    command += [f"results={tmp_path / 'out'}", "hydra/launcher=slurm", "hydra.launcher.period=0.5"]
    driver = subprocess.Popen(command)
    runs = tmp_path / "out" / "adhoc" / "runs"
    until(lambda: len(list(runs.glob("*/metrics.jsonl"))) >= 2)
    time.sleep(2)  # some checkpoints
    high = ["sbatch", "--partition=high", "--nodes=2", f"--output={tmp_path}/high", "--wrap"]
    subprocess.run([*high, "sleep 2"], check=True, capture_output=True)
    assert driver.wait(600) == 0
    ended = planned(tmp_path / "out", *LONG)
    assert max(status["attempts"] for status in found(ended).values()) >= 2
    assert metrics(ended) == calm(tmp_path, *LONG)


def when_two_run(results: Path, act: Callable[[], object]) -> threading.Thread:
    """Do something as soon as two runs of a sweep have rows."""
    runs = results / "adhoc" / "runs"

    def wait() -> None:
        until(lambda: len(list(runs.glob("*/metrics.jsonl"))) >= 2)
        time.sleep(1)  # and a checkpoint
        act()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def test_slurm_goes_on_without_a_node(slurm, tmp_path, capfd):
    whole = planned(tmp_path / "out", *LONG)
    thread = when_two_run(tmp_path / "out", lambda: slurm.lose("n2"))
    assert launch(whole, SlurmOptions(**{"period": 0.5}))
    thread.join()
    assert max(status["attempts"] for status in found(whole).values()) >= 2
    assert metrics(whole) == calm(tmp_path, *LONG)


@pytest.fixture
def ray_cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'prism-rl[ray]'")
    from ray.cluster_utils import Cluster as Nodes

    for name, value in {"RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"}.items():
        monkeypatch.setenv(name, value)
    head = {"num_cpus": 0, "node_ip_address": "127.0.0.2", "object_store_memory": 100_000_000}
    nodes = Nodes(initialize_head=True, head_node_args=head)
    yield nodes
    nodes.shutdown()


def add_node(nodes: Any, number: int) -> Any:
    address = f"127.0.0.{number}"
    return nodes.add_node(num_cpus=1, node_ip_address=address, object_store_memory=100_000_000)


def test_ray_goes_on_without_a_node(ray_cluster, tmp_path, capfd):
    first, _ = add_node(ray_cluster, 3), add_node(ray_cluster, 4)
    whole = planned(tmp_path / "out", *LONG)
    thread = when_two_run(
        tmp_path / "out", lambda: ray_cluster.remove_node(first, allow_graceful=False)
    )
    assert launch(whole, RayOptions(**{"address": ray_cluster.address}))
    thread.join()
    assert max(status["attempts"] for status in found(whole).values()) >= 2
    expected = calm(tmp_path, *LONG)
    assert metrics(whole) == expected
    apart = planned(tmp_path / "apart", *LONG)
    assert launch(apart, RayOptions(**{"address": ray_cluster.address, "shared": False}))
    assert metrics(apart) == expected
    assert {status["attempts"] for status in found(apart).values()} == {1}
