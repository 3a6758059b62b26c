"""Scores of runs: what has no area says so."""

import io

import numpy as np
import pandas as pd

from prism import analysis
from prism.analysis.cli import main
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


def test_no_interval_leaves_the_bounds_of_the_score(tmp_path, capsys):
    rows = [
        {"label": label, "env": "pole", "seed": s, "final": x, "lowest": 1.0, "highest": 500.0}
        for label, scores in (("A", (500, 500, 20)), ("B", (9, 10, 200)), ("C", (10, 20, np.nan)))
        for s, x in enumerate(scores)
        if x == x
    ]
    data = pd.DataFrame(rows).assign(random=0.0, reference=500.0)
    found = analysis.load(data).ablation()
    final = found[found.metric == "final"].set_index("label")
    assert final.high["A"] == 500
    assert final.low["B"] == 1
    assert np.isnan(final.low["C"])  # two runs
    data.to_csv(tmp_path / "runs.csv", index=False)
    for words, most in (((), 500.0), (("--normalise", "reference"), 1.0)):
        assert main(["table", str(tmp_path / "runs.csv"), "--format", "csv", *words]) == 0
        table = pd.read_csv(io.StringIO(capsys.readouterr().out))
        assert table.high.max() == most
        assert table.low.min() >= 0
