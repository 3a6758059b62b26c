"""Training to published scores; the numbers are in algos/README.md. Run by ``make learn``.

The studies stay in ``results/learn_*``: a repeated test takes what the same code has finished.
"""

import json
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest
from scipy.stats import ttest_ind

ROOT = Path(__file__).resolve().parents[1]
Scores = dict[tuple[str, str | None], list[float]]  # (algo, component) -> score at the end per seed

pytestmark = pytest.mark.learn


def train(name: str, *arguments: str) -> Scores:
    """Run a grid of five seeds to its end and return its final evaluation returns."""
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


@pytest.mark.parametrize(
    ("env", "budget", "bar"), [("cartpole", 200_000, 450.0), ("acrobot", 100_000, -100.0)]
)
def test_classic_control(env: str, budget: int, bar: float) -> None:
    scores = train(f"learn_{env}", "algo=dqn,c51,qrdqn", f"env={env}", f"budget={budget}")
    assert len(scores) == 3
    for key, returns in scores.items():
        assert len(returns) == 5
        assert sum(returns) / 5 >= bar, (key, returns)


def test_breakout_needs_replay() -> None:
    scores = train(
        "learn_minatar",
        *("algo=dqn", "env=minatar_breakout", "budget=200000", "components=preset,-replay"),
        *("algo.exploration.fraction=0.5", "evaluation.every=0"),
    )
    replay, without = scores["dqn", None], scores["dqn", "replay"]
    assert len(replay) == len(without) == 5
    assert sum(replay) / 5 > 1.5 * sum(without) / 5
    assert ttest_ind(replay, without, equal_var=False, alternative="greater").pvalue < 0.01
