"""A sweep that is killed again and again ends in the bytes of one that never was."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from prism.analysis.cli import main as report
from prism.benchmark.cli.main import main
from prism.benchmark.store import leases, records

SMALL = (
    *("algo.learning_starts=100", "algo.hidden=[32]", "algo.batch_size=32", "tracking=disabled"),
    *("evaluation.episodes=5", "evaluation.periodic_episodes=2", "tuned=false", "name=chaos"),
    *("checkpoint_every=0.2", "retry.lost=20", "seed=range(0,4)", "seeds_per_job=2"),
)
THREE = ("algo=dqn,rainbow", "env=cartpole", "budget=3000")  # 4 jobs
TWENTY = (  # 24 cells of 4 seeds each, 48 jobs
    *("algo=dqn,double_dqn,dueling_dqn,nstep_dqn,c51,rainbow",),
    *("env=cartpole,acrobot,mountaincar,frozenlake", "budget=4000"),
)


def command(results: Path, words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "benchmark", "-m", *words, *SMALL, f"results={results}"]


class Chaos:
    """A sweep, and somebody who kills its parts."""

    def __init__(self, results: Path, words: tuple[str, ...]) -> None:
        self.command, self.study = command(results, words), results / "chaos"
        self.rng = np.random.default_rng(7)
        self.driver = self._start()
        self.done: list[str] = []  # what was killed

    def _start(self) -> subprocess.Popen:
        return subprocess.Popen(self.command, start_new_session=True, stdout=subprocess.DEVNULL)

    def owners(self) -> list[int]:
        """Return the worker processes that live; the driver leases a job before its worker does."""
        pids = {c["pid"] for c in leases.of(self.study) if leases.born(c["pid"]) == c["born"]}
        return sorted(pids - {self.driver.pid})

    def rows(self) -> int:
        return sum(p.stat().st_size for p in self.study.glob("runs/*/metrics.jsonl"))

    def kill(self, kinds: tuple[str, ...]) -> None:
        """Kill something in the middle of the work, and start the sweep again if that ended it."""
        before, end = self.rows(), time.monotonic() + 600
        while not (self.owners() and self.rows() > before):
            assert self.driver.poll() is None, "the sweep was over before its last kill"
            assert time.monotonic() < end, "the sweep does not go on"
            time.sleep(0.01)
        time.sleep(self.rng.uniform(0, 1.0))
        kind = str(self.rng.choice(kinds))
        victims = {"job": self.owners()[:1], "parent": [self.driver.pid]}
        for pid in victims.get(kind, [self.driver.pid, *self.owners()]):
            with suppress(ProcessLookupError):
                (os.killpg if kind == "group" else os.kill)(pid, signal.SIGKILL)
        self.done.append(kind)
        if kind != "job":
            self.driver.wait()
            self.driver = self._start()

    def finish(self) -> None:
        assert self.driver.wait(timeout=900) == 0

    def close(self) -> None:
        """Leave no process behind, whatever happened."""
        with suppress(ProcessLookupError):
            os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()
        for pid in self.owners():
            os.kill(pid, signal.SIGKILL)


def outcome(results: Path) -> dict[str, bytes]:
    """Return the rows of every run, and the tables of the report."""
    study = results / "chaos"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "prism.analysis.report.figures.figures", lambda *_: []
        )  # seconds, and no bytes of ours
        assert report(["report", str(study)]) == 0
    files = [*study.glob("runs/*/metrics.*"), *study.glob("report/tables/*")]
    assert files
    return {str(path.relative_to(study)): path.read_bytes() for path in files}


def survive(
    tmp_path: Path, words: tuple[str, ...], kinds: list[tuple[str, ...]], launcher: str
) -> Chaos:
    calm = command(tmp_path / "calm", (*words, f"hydra/launcher={launcher}"))
    assert main(calm[3:]) == 0
    chaos = Chaos(tmp_path / "chaos", words)
    try:
        for each in kinds:
            chaos.kill(each)
        chaos.finish()
    finally:
        chaos.close()
    assert outcome(tmp_path / "chaos") == outcome(tmp_path / "calm")
    return chaos


def test_three_kills_change_no_byte(tmp_path):
    chaos = survive(tmp_path, THREE, [("job",), ("parent",), ("group",)], "inline")
    runs = [records.read_status(p) for p in sorted(chaos.study.glob("runs/*"))]
    assert len(runs) == 8 and max(status["attempts"] for status in runs) > 1


@pytest.mark.chaos
def test_twenty_random_kills_of_a_real_sweep_change_no_byte(tmp_path):
    chaos = survive(tmp_path, TWENTY, [("job", "parent", "group")] * 20, "local")
    assert len(list(chaos.study.glob("runs/*"))) == 96
    print({kind: chaos.done.count(kind) for kind in sorted(set(chaos.done))})
