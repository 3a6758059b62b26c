"""Cost of the analysis: ``python -m tools.bench.analysis_cases CASE``, called by ``make bench``.

Prints one JSON line. ``reference`` reimplements rliable 1.2's algorithm: one fancy index and one
call of scipy's trimmed mean per repetition.
"""

import json
import os
import resource
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats as scipy_stats

from prism.analysis import stats
from prism.analysis.api import load
from prism.benchmark.store import schema

REPETITIONS = 50_000
_SHORT = 2_000  # repetitions of the reference; its cost is proportional


def _scores() -> stats.Array:
    return np.random.default_rng(0).lognormal(size=(5, 26))


def iqm() -> int:
    """Bootstrap the IQM of 5 x 26 scores; return the number of repetitions."""
    stats.bootstrap(stats.iqm, stats.tasks(_scores()), repetitions=REPETITIONS)
    return REPETITIONS


def reference() -> int:
    """Do the same with rliable's algorithm and fewer repetitions; return their number."""
    matrix, rng = _scores(), np.random.RandomState(0)
    runs, tasks = matrix.shape
    draws = [
        scipy_stats.trim_mean(
            matrix[rng.choice(runs, (runs, tasks), replace=True), np.arange(tasks)], 0.25, axis=None
        )
        for _ in range(_SHORT)
    ]
    np.quantile(draws, [0.025, 0.975])
    return _SHORT


def write_study(folder: Path, labels: int, envs: int, seeds: int, rows: int, metrics: int) -> None:
    """Write a finished study in the run store's schema, one file at a time."""
    rng, planned = np.random.default_rng(0), []
    steps = np.arange(1, rows + 1) * 100
    for label in range(labels):
        off = [f"part{label - 1}"] if label > 1 else []
        kind = schema.PRESET if label < 2 else schema.LEAVE_ONE_OUT
        name = ("Base", "Full")[label] if label < 2 else f"Full - {off[0]}"
        variant: dict[str, Any] = {
            "label": name,
            "kind": kind,
            "base": "Base",
            "full": "Full",
            "on": [],
        }
        variant |= {"off": off, "component": off[0] if off else None, "overrides": {}}
        for env in range(envs):
            for seed in range(seeds):
                run_id = f"l{label}-e{env}-s{seed}"
                run: dict[str, Any] = {"run_id": run_id, "job_id": "j", "variant": variant}
                run |= {"algo": "full", "env": f"env{env}", "seed": seed, "protocol": "p"}
                run["budget"] = int(steps[-1])
                planned.append(run)
                path = folder / "runs" / run_id
                path.mkdir(parents=True)
                curve = 50 * (label != 0) + np.linspace(0, 50, rows) + rng.normal(size=rows)
                frame = pd.DataFrame({schema.STEP: steps, schema.EVAL_RETURN: curve})
                losses = [f"loss/{k}" for k in range(metrics - 1)]
                frame[losses] = np.tile(curve[:, None], metrics - 1)
                frame[schema.FINAL_RETURN] = np.where(steps == steps[-1], curve, np.nan)
                frame.to_parquet(path / "metrics.parquet")
                frame.to_json(path / "metrics.jsonl", orient="records", lines=True)
                scores = {"random": 0.0, "reference": 100.0}
                record = {
                    "schema": schema.SCHEMA_VERSION,
                    **run,
                    "config": {},
                    "scores": scores,
                    "code": "c",
                    "pack": {},
                }
                times = [{schema.STEP: int(k), "wall": k / 1e3, "cpu": k / 1e3} for k in steps]
                lines = [json.dumps(time) + "\n" for time in times]
                (path / "timing.jsonl").write_text("".join(lines))
                (path / "run.json").write_text(json.dumps(record))
                (path / "status.json").write_text(json.dumps({"state": schema.FINISHED}))
    plan = {"schema": schema.SCHEMA_VERSION, "study": folder.name, "runs": planned, "skipped": []}
    (folder / "plan.json").write_text(json.dumps(plan))


def _on_study(work: Callable[[Path], object], **sizes: int) -> Callable[[], int]:
    """Return a case that works on a study; the cost of the child that writes it is not counted."""

    def run() -> int:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / "study"
            writer = os.fork()
            if writer == 0:
                write_study(folder, **sizes)
                os._exit(0)
            os.waitpid(writer, 0)
            work(folder)
        return sizes["labels"] * sizes["envs"] * sizes["seeds"]

    return run


CASES: dict[str, Callable[[], int]] = {
    "iqm": iqm,
    "reference": reference,
    "load": _on_study(load, labels=10, envs=10, seeds=10, rows=1_000, metrics=10),
    "report": _on_study(
        lambda folder: load(folder).report(folder / "report"),
        labels=14, envs=5, seeds=10, rows=200, metrics=5,
    ),
}  # fmt: skip


def main(case: str) -> None:
    """Run one case; the CPU seconds exclude the process that writes the study."""
    began = resource.getrusage(resource.RUSAGE_SELF)
    done = CASES[case]()
    ended = resource.getrusage(resource.RUSAGE_SELF)
    cpu = ended.ru_utime + ended.ru_stime - began.ru_utime - began.ru_stime
    print(json.dumps({"steps": done, "cpu": cpu, "rss": ended.ru_maxrss / 1024}))


if __name__ == "__main__":
    main(sys.argv[1])
