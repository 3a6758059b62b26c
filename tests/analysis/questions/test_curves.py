"""Curves are aligned without stretching."""

import numpy as np
import pandas as pd
import pytest

from prism.analysis.load.data import load
from prism.analysis.questions import curves
from prism.analysis.questions.scores import AUC, aggregates, score_runs
from prism.benchmark.store import schema


def test_alignment_is_nan_outside_a_runs_rows():
    grid = np.array([0.0, 1, 2, 3, 4])
    found = curves.align([(np.array([1.0, 3.0]), np.array([10.0, 30.0]))], grid)
    assert list(found[0][1:4]) == [10, 20, 30]
    assert np.isnan(found[0][[0, 4]]).all()


def test_training_returns_serve_where_there_are_no_evaluations(writer):
    study = writer("train")
    for seed in range(2):
        path = study.run(study.variant("DQN"), "lake", seed, 50, parquet=False)
        file = path / "metrics.jsonl"
        file.write_text(file.read_text().replace("eval/return", "eval/other"))
    data = load(study.plan())
    assert curves.curve_metric(data) == schema.TRAIN_RETURN
    assert curves.points(data, schema.EVAL_RETURN) == {}


def table(*metrics, runs=9):
    """Runs of one agent, the first of them without the first metric."""
    rows = [
        {"label": "A", "env": "e", "seed": k, schema.STEP: t, "final": 1.0}
        | {metric: np.nan if k == 0 and metric == metrics[0] else t + k for metric in metrics}
        for k in range(runs)
        for t in (0, 50, 100)
    ]
    return load(pd.DataFrame(rows))


@pytest.mark.parametrize("more", [(), (schema.TRAIN_RETURN,)])
def test_a_run_without_evaluations_takes_them_from_nobody_else(more):
    data = table(schema.EVAL_RETURN, *more)
    metric = curves.curve_metric(data)
    assert metric == schema.EVAL_RETURN
    scores = score_runs(data, metric)
    assert list(scores[AUC].isna()) == [True] + [False] * 8
    assert "no AUC for 1 run without a curve of eval/return: A/e/0" in data.notes
    assert set(curves.learning_curves(data, metric).n) == {8}


@pytest.mark.parametrize("only", [schema.EVAL_RETURN, schema.TRAIN_RETURN])
def test_a_metric_that_nobody_has_is_no_refuge(only):
    assert curves.curve_metric(table(only, runs=2)) == only


def test_no_band_for_two_runs(writer):
    study = writer("two")
    for seed in range(2):
        study.run(study.variant("DQN"), "lake", seed, 50)
    frame = curves.learning_curves(load(study.plan()), schema.EVAL_RETURN)
    assert np.isfinite(frame["mean"]).all()
    assert frame.low.isna().all()


def test_aggregate_over_environments(rainbow):
    data = load(rainbow)
    frame = curves.aggregate_curves(data, schema.EVAL_RETURN)
    last = frame[frame["share"] == 1].set_index(["label", "statistic"])
    # Rainbow scores 100 and 50 of a reference of 100
    assert last.value["Rainbow", "median"] == pytest.approx(0.75, abs=0.03)
    assert (last.low <= last.value).all()
    assert (last.value <= last.high).all()
    assert frame.equals(curves.aggregate_curves(data, schema.EVAL_RETURN))
    counts = curves.above_reference(data, schema.EVAL_RETURN)
    end = counts[(counts.label == "Rainbow") & (counts["share"] == 1)].set_index("threshold")
    assert end["count"][0.2] == 2
    assert end["count"][2.0] == 0
    assert (counts.of == 2).all()


def test_a_label_without_runs_on_some_environment_is_not_aggregated(writer):
    study = writer("gap")
    for env in ("lake", "pond"):
        for seed in range(3):
            study.run(study.variant("A"), env, seed, 50)
            state = schema.FAILED if env == "pond" else schema.FINISHED
            study.run(study.variant("B"), env, seed, 50, state=state)
    data = load(study.plan())
    assert set(curves.aggregate_curves(data, schema.EVAL_RETURN).label) == {"A"}
    assert any("B is not in the aggregate" in note for note in data.notes)


def test_scores_without_curves_have_no_aggregate_over_time():
    scores = {label: np.random.default_rng(0).normal(size=(5, 3)) for label in "AB"}
    data = load(scores, random=[0, 0, 0], reference=[1, 1, 1])
    metric = curves.curve_metric(data)
    assert curves.points(data, metric) == {}
    assert curves.aggregate_curves(data, metric).empty
    assert curves.above_reference(data, metric).empty
    frame = aggregates(data, score_runs(data, metric))
    assert set(frame.environments) == {3}


def test_curves_that_do_not_overlap_have_no_aggregate_over_time():
    rows = [
        {"label": "A", "env": env, "seed": k, schema.STEP: t, "random": 0, "reference": 1}
        | {schema.EVAL_RETURN: t if k == (t > 50) else np.nan, "final": 1.0}
        for env in "ab"
        for k in (0, 1)
        for t in range(0, 101, 10)
    ]
    data = load(pd.DataFrame(rows))
    assert curves.aggregate_curves(data, schema.EVAL_RETURN).empty
    assert any("no share of the budget" in note for note in data.notes)
