"""The Ray executor: one task per job; nodes may join and leave."""

import importlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..plan.executors import RayOptions
from ..store import leases, records
from ..store.job import Job
from ..util.text import tail
from . import task, worker
from .executor import Exit

_NOT_SHARED = "this node does not see the results folder: set hydra.launcher.shared=false"


class Ray:
    """Runs each job as a task of a Ray cluster.

    Args:
        run: the job's function, importable by name on every node.
        jobs: all jobs that may be started; their threads determine the number of slots.
        options: the executor's options; ``resources.num_cpus`` overrides the cores of a job.
    """

    blocking = False

    def __init__(self, run: worker.Run, jobs: list[Job], options: RayOptions) -> None:
        threads = max((job.spec.threads for job in jobs), default=1)
        ray: Any = importlib.import_module("ray")
        self.ray, self.run, self.shared = ray, run, options.shared
        ray.init(address=options.address, log_to_driver=False)
        always: dict[str, Any] = {"max_retries": 0, "scheduling_strategy": "SPREAD"}
        self.resources = dict(options.resources)
        self.perform = ray.remote(**always)(perform)
        cores = ray.cluster_resources().get("CPU", 1)
        self.slots = options.n_jobs or max(1, int(cores // threads)) + 2
        self.running: dict[str, Job] = {}
        self.tasks: dict[Any, str] = {}  # Ray's reference -> job_id

    def start(self, job: Job) -> None:
        """Submit a job."""
        spec = task.write(job, self.run)
        arguments = (str(spec), None if self.shared else _pack(job))
        needs = {"num_cpus": job.spec.cores, **self.resources}
        self.tasks[self.perform.options(**needs).remote(*arguments)] = job.job_id
        self.running[job.job_id] = job

    def poll(self, seconds: float) -> list[Exit]:
        """Wait for tasks; without a shared folder, unpack the files that they return."""
        if not self.tasks:
            return []
        ended, waiting = self.ray.wait(list(self.tasks), timeout=seconds)
        exits = []
        for reference in ended:
            job = self.running.pop(self.tasks.pop(reference))
            try:
                code, files = self.ray.get(reference)
            except self.ray.exceptions.RayError as error:
                exits.append(
                    Exit(job, 1, f"{type(error).__name__}: {error}".splitlines()[0], lost=True)
                )
                continue
            if files is not None:
                with suppress(leases.Lost), leases.held(job):
                    _unpack(files, Path(job.study_dir))
            missing = _NOT_SHARED if code is None else ""
            exits.append(Exit(job, code or int(code is None), missing or _last_words(job)))
        for reference in waiting:  # Ray reports dead nodes, so a waiting task is alive
            leases.beat(self.running[self.tasks[reference]])
        return exits

    def stop(self) -> None:
        """Ask every task to save and exit."""
        for reference, job_id in self.tasks.items():
            mark = records.job_dir(self.running[job_id]) / "stop"
            if not mark.exists():
                mark.touch()
                self.ray.cancel(reference, force=False)

    def kill(self, job_id: str) -> None:
        """End a task."""
        for reference, name in self.tasks.items():
            if name == job_id:
                self.ray.cancel(reference, force=True)

    def close(self) -> None:
        """Leave the cluster."""
        self.ray.shutdown()


def perform(spec: str, files: bytes | None) -> tuple[int | None, bytes | None]:
    """Run a job on a node.

    Args:
        spec: path of the job's file.
        files: archive of the job's folders if they are not shared, else None.

    Returns:
        The exit code, None if ``spec`` does not exist on this node; and the archive afterwards.
    """
    if files is None:
        return (_run(Path(spec)) if Path(spec).exists() else None), None
    with tempfile.TemporaryDirectory() as folder:
        _unpack(files, Path(folder))
        here = Path(folder) / "jobs" / Path(spec).parent.name / "job.json"
        read = records.read_json(here)
        read["job"] |= {"study_dir": folder, "mark": ""}  # the lease is the driver's
        records.write_json(here, read)
        return _run(here), _pack(Job.from_dict(read["job"]))


def _run(spec: Path) -> int:
    """Run a job in a separate process, so that a segfault does not kill Ray's worker."""
    process = subprocess.Popen(
        [sys.executable, "-m", "prism.benchmark.launch.task", str(spec)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},  # Ray has added the driver's
        preexec_fn=worker.die_with_parent,
    )
    try:
        return process.wait()
    except KeyboardInterrupt:  # Ray's way to cancel
        process.terminate()
        return process.wait()


def _last_words(job: Job) -> str:
    return tail(records.job_dir(job) / "log.txt")


def _folders(job: Job) -> Iterable[Path]:
    return [records.job_dir(job), *(records.run_dir(job, run) for run in job.run_ids)]


def _pack(job: Job) -> bytes:
    """Return the files of a job and its runs as one archive."""
    buffer, root = io.BytesIO(), Path(job.study_dir)
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for folder in _folders(job):
            with suppress(FileNotFoundError):
                archive.add(folder, str(folder.relative_to(root)))
    return buffer.getvalue()


def _unpack(files: bytes, root: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(files)) as archive:
        archive.extractall(root, filter="data")
