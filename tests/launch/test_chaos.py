"""A sweep that is killed again and again ends in the bytes of one that never was."""

import fcntl
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from prism.analysis.cli import main as report
from prism.benchmark.cli.main import main
from prism.benchmark.store import leases, ledger, records, studies
from tests import crash

SMALL = (
    *("algo.learning_starts=100", "algo.hidden=[32]", "algo.batch_size=32", "tracking=disabled"),
    *("evaluation.episodes=5", "evaluation.periodic_episodes=2", "tuned=false", "name=chaos"),
    *("checkpoint_every=0.2", "retry.lost=20", "seed=range(0,4)", "seeds_per_job=2"),
)
TWO = ("algo=rainbow", "env=cartpole", "budget=3000")  # 2 jobs
FOUR = ("algo=dqn,rainbow", "env=cartpole", "budget=3000")  # 4 jobs
MANY = (  # 24 cells of 4 seeds each, 48 jobs
    *("algo=dqn,double_dqn,dueling_dqn,nstep_dqn,c51,rainbow",),
    *("env=cartpole,acrobot,mountaincar,frozenlake", "budget=4000"),
)
# Another machine, as far as leases can tell, that waits less long.
ELSEWHERE = """
import socket, sys
socket.gethostname = lambda: "elsewhere"
from prism.benchmark.store import leases
leases.EXPIRY = 4.0
from prism.benchmark.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def command(results: Path, words: tuple[str, ...]) -> list[str]:
    return [sys.executable, "-m", "benchmark", "-m", *words, *SMALL, f"results={results}"]


class Chaos:
    """A sweep, and somebody who kills its parts."""

    def __init__(self, results: Path, words: tuple[str, ...]) -> None:
        self.command, self.study = command(results, words), results / "chaos"
        self.rng = np.random.default_rng(7)
        self.driver = self._start()
        self.done = Counter[str]()  # what was killed

    def _start(self) -> subprocess.Popen:
        return subprocess.Popen(self.command, start_new_session=True, stdout=subprocess.DEVNULL)

    def _count(self, kind: str) -> None:
        self.done[kind] += 1
        print(f"kill {self.done.total()}: {kind}", flush=True)

    def owners(self) -> list[int]:
        """Return the worker processes that live; the driver leases a job before its worker does."""
        return sorted({lease["pid"] for lease in self.leases()})

    def leases(self) -> list[leases.Lease]:
        """Return the leases of the workers that live."""
        living = (c for c in leases.of(self.study) if leases.born(c["pid"]) == c["born"])
        return [c for c in living if c["runs"] and c["pid"] != self.driver.pid]

    def server(self) -> list[int]:
        """Return the fork server."""
        return [pid for pid in children(self.driver.pid) if "forkserver" in words(pid)]

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
        if kind == "sleep":
            self.sleep()
            return
        victims = {
            "job": self.owners()[:1],
            "parent": [self.driver.pid],
            "server": self.server(),
        }
        for pid in victims.get(kind, [self.driver.pid, *self.owners()]):
            with suppress(ProcessLookupError):
                (os.killpg if kind == "group" else os.kill)(pid, signal.SIGKILL)
        self._count(kind)
        if kind not in ("job", "server"):
            self.driver.wait()
            if kind == "group":
                self.change()
            self.driver = self._start()

    def sleep(self) -> None:
        """Let the launcher and its jobs sleep till another machine has one of them, then wake."""
        asleep = [self.driver.pid, *self.server(), *self.owners()]
        lease = self.leases()[0]
        signal_all(asleep, signal.SIGSTOP)
        if not is_free(self.study):  # it sleeps where nobody can take over from it
            signal_all(asleep, signal.SIGCONT)
            return
        record = records.read_json(self.study / "runs" / lease["runs"][0] / "run.json")
        seeds = ",".join(map(str, record["pack"]["seeds"]))
        own = (f"algo={record['algo']}", f"env={record['env']}", f"budget={record['budget']}")
        more = command(self.study.parent, (*own, "hydra/launcher=inline"))[3:]
        other = subprocess.Popen(
            [sys.executable, "-c", ELSEWHERE, *more, f"seed={seeds}"], stdout=subprocess.DEVNULL
        )
        rows = self.study / "runs" / lease["runs"][0] / "metrics.jsonl"
        before, end = rows.stat().st_ino, time.monotonic() + 300
        while rows.stat().st_ino == before and other.poll() is None:
            assert time.monotonic() < end, "nobody takes over"
            time.sleep(0.01)
        signal_all(asleep, signal.SIGCONT)
        if self.rng.random() < 0.5:
            other.kill()
            for path in self.study.glob("leases/*.json"):  # its machine is silent for long
                if (records.read_passing(path) or {}).get("host") == "elsewhere":
                    os.utime(path, (0, 0))
        assert other.wait(300) in (0, -signal.SIGKILL)
        self._count("sleep")

    def change(self) -> None:
        """Kill commands on the whole study, and complete them by the same command."""
        time.sleep(1)  # a worker that was just forked finds that its launcher is gone
        study, other = self.study, self.study.with_name("other")
        kind = ("rename", "merge", "delete")[self.done["group"] % 3]
        if kind == "rename":
            for a, b in ((study, other), (other, study)):
                self.until_done("rename", lambda a=a, b=b: main(["rename", str(a), b.name]), 300)
                assert b.exists() and not a.exists()
            return
        shutil.copytree(study, other)
        if kind == "merge":
            names = sorted(path.name for path in study.glob("runs/*") if ledger.is_finished(path))
            for name in names[:3]:
                shutil.rmtree(study / "runs" / name)
            self.until_done("merge", lambda: main(["merge", str(study), str(other)]), 60)
            assert all(ledger.is_finished(study / "runs" / name) for name in names)
        self.until_done("delete", lambda: main(["delete", str(other), "--yes"]), 300)
        assert not other.exists() and not list(study.parent.glob(".*"))

    def until_done(self, kind: str, change: Callable[[], object], points: int) -> None:
        """Kill a command twice at random, and then let it be."""
        for _ in range(2):
            point = int(self.rng.integers(1, points))
            if not crash.killed(self.study.parent, point, change):
                return
            self._count(kind)
        with suppress(SystemExit):
            change()

    def extend(self) -> None:
        """Plan one more seed, killed until it is planned, and run it."""
        planned = len(ledger.read_plan(self.study)["runs"])
        for point in range(1, 30):
            killed = crash.killed(self.study, point, lambda: studies.extend(self.study, 1))
            if killed:
                self._count("extend")
            if len(ledger.read_plan(self.study)["runs"]) > planned:
                break
        assert main(["resume", str(self.study), "hydra/launcher=local"]) == 0

    def finish(self) -> None:
        assert self.driver.wait(timeout=1800) == 0

    def close(self) -> None:
        """Leave no process behind, whatever happened."""
        with suppress(ProcessLookupError):
            os.killpg(self.driver.pid, signal.SIGKILL)
        self.driver.wait()
        for pid in self.owners():
            os.kill(pid, signal.SIGKILL)


def children(pid: int) -> list[int]:
    """Return the processes that a process has started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


def words(pid: int) -> str:
    """Return a process's command line."""
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()


def signal_all(pids: list[int], number: int) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def is_free(study: Path) -> bool:
    """Return whether nobody holds a study's lock for long."""
    with (study / ".mutex").open("ab") as file:
        for _ in range(20):
            with suppress(BlockingIOError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return True
            time.sleep(0.05)
    return False


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
    tmp_path: Path,
    words: tuple[str, ...],
    kinds: list[tuple[str, ...]],
    launcher: str,
    extended: bool = False,
) -> Chaos:
    calm = command(tmp_path / "calm", (*words, f"hydra/launcher={launcher}"))
    assert main(calm[3:]) == 0
    if extended:
        studies.extend(tmp_path / "calm" / "chaos", 1)
        assert main(["resume", str(tmp_path / "calm" / "chaos"), "hydra/launcher=local"]) == 0
    chaos = Chaos(tmp_path / "chaos", words)
    try:
        for each in kinds:
            chaos.kill(each)
        chaos.finish()
        if extended:
            chaos.extend()
    finally:
        chaos.close()
    assert outcome(tmp_path / "chaos") == outcome(tmp_path / "calm")
    return chaos


@pytest.mark.slow
def test_three_kills_change_no_byte(tmp_path):
    chaos = survive(tmp_path, TWO, [("job",), ("parent",), ("group",)], "inline")
    runs = [records.read_status(p) for p in sorted(chaos.study.glob("runs/*"))]
    assert len(runs) == 4 and max(status["attempts"] for status in runs) > 1


@pytest.mark.slow
def test_a_machine_that_wakes_after_its_lease_changes_no_byte(tmp_path):
    survive(tmp_path, FOUR, [("sleep",), ("server",), ("sleep",)], "inline")


KINDS = ["job"] * 30 + ["server"] * 12 + ["parent"] * 10 + ["group"] * 12 + ["sleep"] * 8


@pytest.mark.chaos
def test_a_hundred_random_kills_of_a_real_sweep_change_no_byte(tmp_path):
    began = time.monotonic()
    kinds = [(str(kind),) for kind in np.random.default_rng(8).permutation(KINDS)]
    chaos = survive(tmp_path, MANY, kinds, "local", extended=True)
    assert len(list(chaos.study.glob("runs/*"))) == 120
    print(f"{chaos.done.total()} kills in {(time.monotonic() - began) / 60:.0f} minutes:")
    print(dict(sorted(chaos.done.items())))
    assert chaos.done.total() >= 100
