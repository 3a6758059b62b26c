"""What another package brings, used from the command line; nothing of Prism is touched."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

OUTSIDE = Path(__file__).parent / "outside"
ROOT = Path(__file__).resolve().parents[1]
QUICK = ["budget=300", "log_every=100", "evaluation.episodes=2", "evaluation.periodic_episodes=1"]


def prism(folder: Path, *words: str, code: int = 0) -> str:
    paths = os.pathsep.join(map(str, (OUTSIDE, ROOT)))
    done = subprocess.run(
        [sys.executable, "-m", "prism", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": paths, "WANDB_MODE": "disabled"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def record(folder: Path, study: str) -> Any:
    runs = [json.loads(p.read_text()) for p in folder.glob(f"results/{study}/runs/*s1-*/run.json")]
    return next(run for run in runs if run["variant"]["kind"] == "preset")


@pytest.fixture(scope="module")
def ran(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("outside")
    for name in ("benchmark", "analysis", "algos", "conf"):  # as in other people's projects
        (folder / name).mkdir()
        (folder / name / "__init__.py").write_text("raise RuntimeError('not of Prism')\n")
    words = ["algo=coin", "env=cartpole", "seed=0,1", "components=preset,leave_one_out", *QUICK]
    prism(folder, *words, "name=lab", "hydra/launcher=lab", "hydra.launcher.book=jobs.txt")
    prism(folder, *words, "name=local")
    return folder


def test_an_agent_and_an_executor_of_another_package(ran):
    assert record(ran, "lab")["config"]["algo"]["agent"] == "coin"
    assert record(ran, "lab")["variant"]["on"] == ["cycle"]
    jobs = (ran / "jobs.txt").read_text().split()
    assert len(jobs) == 2 and all(name.startswith("coin-cartpole-k2-") for name in jobs)
    one, other = (sorted(ran.glob(f"results/{s}/runs/*/metrics.jsonl")) for s in ("lab", "local"))
    assert [path.read_bytes() for path in one] == [path.read_bytes() for path in other]


def test_the_code_of_the_other_package_counts(ran):
    ours, _, theirs = record(ran, "lab")["code"].partition("-")
    assert len(ours) == 12 and len(theirs) == 8


def test_it_is_listed_and_read_like_any_other(ran):
    assert "coin " in prism(ran, "list", "algos")
    assert "lab " in prism(ran, "list", "executors")
    assert "Coin - cycle" in prism(ran, "table", "results/lab")


def test_a_wrapper_and_a_tracker_of_another_package(ran):
    words = ["algo=coin", "env=cartpole", "seed=1", *QUICK, "name=more"]
    words += ["env.wrappers.extra=[{class:short,steps:5}]", "env.record=[lasted]"]
    prism(ran, *words, "tracking.sinks=[notebook]")
    (folder,) = (ran / "results" / "more" / "runs").iterdir()
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["final/length"] == 5 and rows[-1]["final/lasted"] == 1
    notes = (folder / "notebook.txt").read_text().splitlines()
    assert notes == ["begin coin 1", *(f"row {row['global_step']}" for row in rows), "finished"]
    assert json.loads((folder / "status.json").read_text())["trackers"] == {"notebook": "closed"}


def test_its_mistakes_are_one_line(ran):
    words = ["algo=coin", "env=cartpole", *QUICK]
    line = prism(ran, *words, "hydra/launcher=lab", "hydra.launcher.bok=x", code=2)
    assert line.startswith("error: hydra.launcher.bok: no such key; nearest: hydra.launcher.book")
    assert line.count("\n") == 1
    assert "needs discrete actions" in prism(ran, "algo=coin", "env=pendulum", code=2)
