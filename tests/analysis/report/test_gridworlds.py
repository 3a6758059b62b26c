"""Pictures of tabular studies: drawn from what the runs left, and only where there is a grid."""

import json

import matplotlib.pyplot as plt
import numpy as np
import pytest

from prism.analysis.load.data import load
from prism.analysis.report import gridworlds
from prism.analysis.report.style import styles
from prism.benchmark.store import schema

MOVES = np.array([[-1, 0], [0, 1], [1, 0], [0, -1]])


@pytest.fixture
def study(writer):
    """Two agents on a grid of 2 x 3, and one on an environment without."""
    study = writer("grid")
    for label, best in (("Sarsa", 1), ("Q-learning", 2)):
        for seed in range(3):
            path = study.run(study.variant(label, base=label, full=label), "lake", seed, 1.0)
            q = np.zeros((6, 4))
            q[:, best] = np.arange(6) + seed
            (path / "arrays").mkdir()
            facts = {"grid": [2, 3], "moves": MOVES, "reachable": [1, 1, 1, 1, 1, 0]}
            np.savez(path / schema.ARRAYS, q=q, **facts)
            rows = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
            rows = [row | {schema.ERROR: 1 / (1 + i)} for i, row in enumerate(rows)]
            text = "".join(json.dumps(row) + "\n" for row in rows)
            (path / "metrics.jsonl").write_text(text)
            (path / "metrics.parquet").unlink()
    study.run(study.variant("Sarsa", base="Sarsa", full="Sarsa"), "bandit", 0, 1.0)
    return study.plan()


def test_values_and_moves_are_the_means_of_the_runs(study):
    data = load(study)
    plots = {plot.name: plot for plot in gridworlds.figures(data, styles(data))}
    assert set(plots) == {"values-lake", "error-over-time"}
    axes = [axis for axis in plots["values-lake"].figure.axes if axis.images]
    assert {axis.get_title(loc="left") for axis in axes} == {"Sarsa", "Q-learning"}
    for axis in axes:
        shown = axis.images[0].get_array()
        assert shown.filled(np.nan)[0].tolist() == [1.0, 2.0, 3.0]  # over seeds 0, 1, 2
        assert shown.mask[1, 2]  # nothing can be done there
        arrows = axis.collections[0]
        wanted = MOVES[1] if axis.get_title(loc="left") == "Sarsa" else MOVES[2]
        assert len(arrows.U) == 5
        assert (wanted[0] == arrows.V).all() and (wanted[1] == arrows.U).all()
    assert "n = 3" in plots["values-lake"].caption
    plt.close("all")


def test_error_falls_on_a_logarithmic_axis(study):
    data = load(study)
    plot = next(p for p in gridworlds.figures(data, styles(data)) if p.name == "error-over-time")
    axis = plot.figure.axes[0]
    assert axis.get_yscale() == "log" and len(axis.lines) == 2
    assert axis.lines[0].get_ydata()[0] == pytest.approx(1.0)
    assert np.all(np.diff(axis.lines[0].get_ydata()) <= 0)
    plt.close("all")


def test_a_study_without_arrays_has_no_such_figure(rainbow):
    data = load(rainbow)
    assert list(gridworlds.figures(data, styles(data))) == []
