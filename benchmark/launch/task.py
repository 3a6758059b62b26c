"""A job on a cluster: ``python -m prism.benchmark.launch.task <job.json>`` or ``<list of them>``.

The process supervises a child that trains. It forwards signals, and records how the child ended,
because the driver may be gone by then. In a Slurm array, the task number selects the job from the
list. A preempted job is requeued.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import FrameType

from ..store import leases, ledger, records, schema
from ..store.job import Job
from ..util.secrets import notice
from ..util.text import tail
from . import faults, worker
from .executor import Exit


def write(job: Job, run: worker.Run) -> Path:
    """Write the job and the name of its function to ``job.json``; return the path."""
    folder = records.job_dir(job)
    for name in ("exit.json", "stop"):
        (folder / name).unlink(missing_ok=True)
    function = f"{run.__module__}:{run.__name__}"
    records.write_json(folder / "job.json", {"run": function, "job": job.to_dict()})
    return folder / "job.json"


def supervise(spec: Path) -> int:
    """Run a job in a child process and return its exit code; a signal is a negative number."""
    read = json.loads(spec.read_text())
    job, kills = Job.from_dict(read["job"]), faults.oom_kills()
    before = leases.stop_token(Path(job.study_dir))
    log = spec.parent / "log.txt"
    child = os.fork()
    if child == 0:
        worker.die_with_parent()
        notice(job.spec.record)
        worker.take_output(log)
        module, _, name = read["run"].partition(":")
        worker.run_contained(getattr(importlib.import_module(module), name), job)
        sys.stdout.flush()
        os._exit(0)

    def forward(number: int, frame: FrameType | None) -> None:
        os.kill(child, number)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, forward)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if job.mark and not leases.beat(job):
        return code  # another process has taken over the runs and writes their status
    failure, reason = faults.classify(Exit(job, code, tail(log)), faults.oom_kills() > kills)
    ledger.end(job, schema.FAILED, reason, tail(log), failure, code)
    records.write_json(spec.parent / "exit.json", {"code": code})
    stop = (spec.parent / "stop").exists() or before != leases.stop_token(Path(job.study_dir))
    preempted = any(s["state"] == schema.INTERRUPTED for s in ledger.statuses(job)) and not stop
    if not (preempted and _requeued(job)):
        leases.release(job)
    return code


def _requeued(job: Job) -> bool:
    """Requeue this task if it belongs to a Slurm array; return whether it does."""
    name = array_name()
    if name is None:
        return False
    leases.queued_as(job, name)
    subprocess.run(["scontrol", "requeue", name], capture_output=True)
    return True


def array_name() -> str | None:
    """Return ``<array job>_<task>``, this process's name in Slurm's queue; None outside Slurm."""
    array, task = (os.environ.get(f"SLURM_ARRAY_{part}_ID") for part in ("JOB", "TASK"))
    return f"{array}_{task}" if array and task else None


def main() -> int:
    """Run the job in the file named on the command line."""
    path = Path(sys.argv[1])
    if path.suffix != ".json":
        path = Path(path.read_text().splitlines()[int(os.environ["SLURM_ARRAY_TASK_ID"])])
    return abs(supervise(path))


if __name__ == "__main__":
    sys.exit(main())
