"""What is asked of Slurm, Ray and GPUs for a job, seen by stand-ins; test_cluster.py is real."""

import re
import sys
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from prism.benchmark.launch.core import launch
from prism.benchmark.launch.ray import Ray
from prism.benchmark.launch.slurm import Slurm
from prism.benchmark.plan.executors import LocalOptions, RayOptions, SlurmOptions
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store import leases
from prism.benchmark.store.job import Job
from prism.benchmark.util.errors import ConfigError
from tests.launch import fakes
from tests.launch.test_core import plan


@pytest.fixture
def jobs(tmp_path: Path) -> list[Job]:
    """Return three leased jobs, of which the last is of an agent with two processes."""
    words = ("env=cartpole", "tracking=disabled", "threads=3", "seed=0", f"results={tmp_path}")
    found = [*sweep(("algo=dqn,c51", *words)).jobs, *sweep(("algo=a3c", *words)).jobs]
    leased = [leases.Watch().take(job) for job in found]
    assert [job and job.spec.cores for job in leased] == [3, 3, 6]
    return [job for job in leased if job is not None]


def test_slurm_is_asked_for_the_cores_that_a_job_keeps_busy(jobs, tmp_path, monkeypatch):
    told = tmp_path / "told.txt"
    for name, does in {"sbatch": f'echo "$@" >> {told}; wc -l < {told}', "squeue": "true"}.items():
        command = tmp_path / "bin" / name
        command.parent.mkdir(exist_ok=True)
        command.write_text(f"#!/bin/bash\ncat > /dev/null < /dev/stdin\n{does}\n")
        command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    slurm = Slurm(fakes.play, jobs, SlurmOptions(arguments=["--partition=big"], period=1000))
    for job in jobs:
        slurm.start(job)
    slurm.poll(0)
    asked = told.read_text().splitlines()
    sizes = [re.findall(r"--array=0-(\d+) .*--cpus-per-task=(\d+) ", line) for line in asked]
    assert sizes == [[("1", "3")], [("0", "6")]]
    assert all(line.endswith("--partition=big") for line in asked)
    assert list(slurm.names.values()) == ["1_0", "1_1", "2_0"]
    lists = sorted((tmp_path / "adhoc" / "slurm").glob("*.txt"))
    assert sorted(len(path.read_text().splitlines()) for path in lists) == [1, 2]


def test_gpus_are_shared_out_and_given_back(tmp_path, monkeypatch, capfd):
    monkeypatch.delenv(fakes.GPU_VARIABLE, raising=False)
    rates = [n / 1000 for n in range(20, 27)]
    planned = plan(tmp_path, [fakes.KILL, *rates])
    assert launch(
        planned, LocalOptions(**{"devices": [0, "GPU-1f"], "jobs_per_device": 2}), fakes.on_a_gpu
    )
    lines = [line.split() for line in (tmp_path / "adhoc" / "gpus.txt").read_text().splitlines()]
    assert lines[:4] and sorted(gpu for _, gpu in lines[:4]) == ["0", "0", "GPU-1f", "GPU-1f"]
    busy, most = Counter[str](), Counter[str]()
    for word, gpu in lines:
        busy[gpu] += 1 if word == "begin" else -1
        most[gpu] = max(most[gpu], busy[gpu])
    assert most == {"0": 2, "GPU-1f": 2}  # the place of the job that was killed was free again
    assert len(lines) == 2 * (1 + len(planned.jobs))  # a job was begun twice


@pytest.mark.parametrize(
    ("told", "slots"),
    [
        ({}, 6),
        ({"n_jobs": 9}, 9),
        ({"devices": [0, 1], "jobs_per_device": 2}, 4),
        ({"devices": [0, 1], "n_jobs": 9}, 2),
        ({"devices": [0, 1], "n_jobs": 1}, 1),
    ],
)
def test_no_more_jobs_than_places(told, slots):
    assert LocalOptions(**told).slots(threads=2, cores=12) == slots


def test_a_gpu_by_its_number_and_shared_out_is_a_contradiction(tmp_path):
    planned = plan(tmp_path, [fakes.FINISH])
    planned.jobs[0].spec = planned.jobs[0].spec.changed({"device": "cuda:1"})
    with pytest.raises(ConfigError, match=r"device=cuda:1: .*say device=cuda"):
        launch(planned, LocalOptions(**{"devices": [0, 1]}), fakes.play)


class Remote:
    """Ray's side of a function: notes what it was asked for."""

    def __init__(self, asked: list[dict[str, Any]], **options: Any) -> None:
        self.asked, self.given = asked, options

    def __call__(self, function: Any) -> "Remote":
        return self

    def options(self, **options: Any) -> "Remote":
        return Remote(self.asked, **{**self.given, **options})

    def remote(self, *arguments: Any) -> object:
        self.asked.append(self.given)
        return object()


@pytest.mark.parametrize(
    ("resources", "cores"), [({"num_gpus": 0.5}, [3, 3, 6]), ({"num_cpus": 1}, [1, 1, 1])]
)
def test_ray_is_asked_for_the_cores_that_a_job_keeps_busy(jobs, monkeypatch, resources, cores):
    asked: list[dict[str, Any]] = []
    stand_in = SimpleNamespace(
        init=lambda **_: None,
        remote=lambda **options: Remote(asked, **options),
        cluster_resources=lambda: {"CPU": 12.0},
    )
    monkeypatch.setitem(sys.modules, "ray", stand_in)
    ray = Ray(fakes.play, jobs, RayOptions(resources=resources))
    assert ray.slots == 4 + 2
    for job in jobs:
        ray.start(job)
    assert [options["num_cpus"] for options in asked] == cores
    assert all(options.get("num_gpus") == resources.get("num_gpus") for options in asked)
    assert {options["max_retries"] for options in asked} == {0}
