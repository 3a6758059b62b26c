"""Jobs that train nothing; which one a job plays is told by its learning rate."""

import ctypes
import os
import signal
import sys
import time
from multiprocessing import parent_process
from pathlib import Path

from prism.benchmark.launch.executor import Exit
from prism.benchmark.store import ledger, records, schema
from prism.benchmark.store.job import Job
from prism.benchmark.train import watchdog

FINISH, RAISE, EXIT, KILL, SEGFAULT, RETURN, ASK_TO_STOP = (n / 1000 for n in range(1, 8))
HANG, GROW, FLAKY = (n / 1000 for n in range(8, 11))


def _end(job: Job, state: str) -> None:
    for run in job.run_ids:
        folder = records.run_dir(job, run)
        status = records.read_status(folder)
        assert status is not None
        records.write_json(folder / "run.json", records.run_record(job, 0))
        records.write_json(folder / "status.json", {**status, "state": state})


def finish(job: Job) -> None:
    """Leave what another launch leaves that finishes a job at its seventh attempt."""
    for run in job.run_ids:
        folder = records.run_dir(job, run)
        records.write_json(folder / "status.json", {**ledger.status_of(job, None), "attempts": 7})
    _end(job, schema.FINISHED)


def play(job: Job) -> None:
    match job.spec.algo.lr:
        case n if n == FINISH:
            beat = {"global_step": 5, "budget": 10, "wall": 1.0, "seeds": len(job.seeds)}
            records.write_json(
                records.job_dir(job) / "heartbeat.json", beat | {"train_return": -3.0}
            )
            _end(job, schema.FINISHED)
        case n if n == RAISE:
            raise ValueError("the fake raises")
        case n if n == EXIT:
            sys.exit(3)
        case n if n == KILL:
            os.kill(os.getpid(), signal.SIGKILL)
        case n if n == SEGFAULT:
            ctypes.string_at(0)
        case n if n == ASK_TO_STOP:
            stop_the_driver(job)
        case n if n in (HANG, GROW):
            filled = []
            while True:
                if n == GROW:
                    filled.append(b"x" * 40_000_000)
                    watchdog.tick()
                time.sleep(0.01)
        case n if n == FLAKY:
            mark = records.job_dir(job) / "tried"
            if mark.exists():
                return _end(job, schema.FINISHED)
            mark.touch()
            os.kill(os.getpid(), signal.SIGSEGV)


def stop_the_driver(job: Job) -> None:
    """Send Ctrl-C to the driver, wait for what it asks, and leave as the runner would."""
    asked = []
    signal.signal(signal.SIGTERM, lambda *_: asked.append(1))
    driver = parent_process()
    assert driver is not None and driver.pid is not None
    os.kill(driver.pid, signal.SIGINT)
    while not asked:
        time.sleep(0.01)
    _end(job, schema.INTERRUPTED)


def interrupted_inline(job: Job) -> None:
    """Leave as the runner does after Ctrl-C."""
    _end(job, schema.INTERRUPTED)


def wait_for_ever(job: Job) -> None:
    """Tell the process id, then outlive the driver unless something stops this."""
    Path(job.study_dir, "pid").write_text(str(os.getpid()))
    signal.pause()


def deaf(job: Job) -> None:
    """Hear no polite request to stop."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    wait_for_ever(job)


class Together:
    """An executor whose jobs end all at once, when no other may begin beside them."""

    def __init__(self, slots: int) -> None:
        self.slots, self.blocking = slots, False
        self.running: dict[str, Job] = {}
        self.batches: list[list[int]] = []  # the cpus of the jobs that ran at the same time

    def start(self, job: Job) -> None:
        self.running[job.job_id] = job

    def poll(self, seconds: float) -> list[Exit]:
        jobs = list(self.running.values())
        self.running.clear()
        self.batches.append([job.spec.cpus for job in jobs])
        for job in jobs:
            _end(job, schema.FINISHED)
        return [Exit(job, 0, "") for job in jobs]

    def stop(self) -> None: ...

    def kill(self, job_id: str) -> None: ...

    def close(self) -> None: ...


GPU_VARIABLE = "CUDA_VISIBLE_DEVICES"
TOGETHER = 4  # jobs that on_a_gpu waits for before one of them ends


def on_a_gpu(job: Job) -> None:
    """Tell which GPU this process sees, and when; one of the first jobs dies there."""
    note = Path(job.study_dir, "gpus.txt")

    def say(word: str) -> None:
        with note.open("a") as file:  # one write: lines of several processes stay whole
            file.write(f"{word} {os.environ.get(GPU_VARIABLE)}\n")

    say("begin")
    while note.read_text().count("begin") < TOGETHER:
        time.sleep(0.01)
    say("end")
    if job.spec.algo.lr == KILL and not (mark := records.job_dir(job) / "tried").exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    _end(job, schema.FINISHED)


def rows(job: Job) -> None:
    """Finish at once and leave a row that tells the study's folder."""
    for run in job.run_ids:
        (records.run_dir(job, run) / "metrics.jsonl").write_text(
            f'{{"folder": "{job.study_dir}"}}\n'
        )
    _end(job, schema.FINISHED)


def orphaned(job: Job) -> None:
    """Kill the server that forked this process, and work on."""
    os.kill(os.getppid(), signal.SIGKILL)
    time.sleep(1.0)
    _end(job, schema.FINISHED)


def killed_with_its_server(job: Job) -> None:
    """Die together with the server that forked this process; the second attempt finishes."""
    mark = records.job_dir(job) / "tried"
    if not mark.exists():
        mark.touch()
        for pid in (os.getppid(), os.getpid()):
            os.kill(pid, signal.SIGKILL)
    _end(job, schema.FINISHED)
