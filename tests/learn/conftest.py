"""What the learning runs share: a grid trained to its end, and its scores."""

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
Scores = dict[tuple[str, str | None], list[float]]  # (algo, component) -> score at the end per seed


def _train(name: str, *arguments: str) -> Scores:
    command = [sys.executable, "-m", "benchmark", "-m", f"name={name}", "seed=range(0,5)"]
    command += ["tracking=disabled", "stale=rerun", "evaluation.episodes=100", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    study = ROOT / "results" / name
    scores: Scores = defaultdict(list)
    for run in json.loads((study / "plan.json").read_text())["runs"]:
        rows = (study / "runs" / run["run_id"] / "metrics.jsonl").read_text().splitlines()
        key = run["algo"], run["variant"]["component"]
        scores[key].append(json.loads(rows[-1])["final/return"])
    return scores


@pytest.fixture
def train() -> Callable[..., Scores]:
    """Return a function ``(name, *overrides)`` that runs a grid and returns its final scores.

    Five seeds and 100 final episodes unless an override says otherwise. The studies stay in
    ``results/<name>``: a repeated test takes what the same code has finished.
    """
    return _train


def _evaluations(name: str, last: int) -> list[float]:
    found = []
    for run in json.loads((ROOT / "results" / name / "plan.json").read_text())["runs"]:
        path = ROOT / "results" / name / "runs" / run["run_id"] / "metrics.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        returns = [row["eval/return"] for row in rows if "eval/return" in row]
        found.append(sum(returns[-last:]) / last)
    return found


@pytest.fixture
def evaluations() -> Callable[..., list[float]]:
    """Return a function ``(name, last)``: each run's mean of its last evaluations."""
    return _evaluations


def _training_returns(name: str, episodes: int) -> list[float]:
    found = []
    for run in json.loads((ROOT / "results" / name / "plan.json").read_text())["runs"]:
        path = ROOT / "results" / name / "runs" / run["run_id"] / "metrics.jsonl"
        left, total = float(episodes), 0.0
        for row in reversed([json.loads(line) for line in path.read_text().splitlines()]):
            taken = min(left, row.get("train/episodes", 0.0))
            if taken:  # the mean of a row stands for each of its episodes
                total, left = total + taken * row["train/return"], left - taken
        assert left == 0
        found.append(total / episodes)
    return found


@pytest.fixture
def training_returns() -> Callable[..., list[float]]:
    """Return a function ``(name, episodes)``: each run's mean of its last training episodes."""
    return _training_returns
