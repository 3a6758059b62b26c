"""Scores of runs: what has no area says so."""

import numpy as np

from prism.analysis.load.data import load
from prism.analysis.questions.scores import AUC, FINAL, score_runs
from prism.benchmark.store import schema


def test_a_curve_that_spans_too_little_has_no_area(writer):
    study = writer("late")
    path = study.run(study.variant("DQN"), "lake", 0, 50, parquet=False)
    *early, _, _ = lines = (path / "metrics.jsonl").read_text().splitlines()
    for k in range(len(early) // 2):
        lines[k] = lines[k].replace("eval/return", "eval/other")
    (path / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    data = load(study.plan())
    scores = score_runs(data, schema.EVAL_RETURN)
    assert np.isnan(scores[AUC]).all()
    assert np.isfinite(scores[FINAL]).all()
    assert any("no AUC for 1 run" in note for note in data.notes)
