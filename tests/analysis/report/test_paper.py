"""Figures for papers: the numbers that they draw, their labels, and what they leave out."""

from itertools import combinations

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.report import figures, paper
from prism.analysis.report.style import WIDTHS
from prism.benchmark.store.schema import EVAL_RETURN, LEAVE_ONE_OUT, PRESET

ODD = ("cost $5 or \\frac $6", "a_b", "50% & #1", "x^2 {y}")


def runs(means, envs=("lake", "pond"), n=5, curve=(0.5, 1.0), **columns):
    """Return rows of runs that rise to their label's mean."""
    rng = np.random.default_rng(0)
    rows = []
    for label, mean in means.items():
        for env in envs:
            for seed in range(n):
                end = mean + rng.normal()
                rows += [
                    {"label": label, "env": env, "seed": seed, "global_step": 100 * share}
                    | {EVAL_RETURN: end * share, "final": end, "random": 0, "reference": 10}
                    for share in curve
                ]
    return pd.DataFrame(rows).assign(**columns)


def drawn(frame, width="text"):
    """Return the paper's figures of a frame by name, and the study."""
    study = analysis.load(frame)
    plots = paper.figures(study.data, study.scores, study.headlines(), study.standing(), width)
    return {plot.name: plot for plot in plots}, study


@pytest.fixture(autouse=True)
def closed():
    yield
    plt.close("all")


def spans(axis):
    """Return the intervals that a panel draws: row -> (low, high)."""
    lines = [line for line in axis.get_lines() if len(set(line.get_ydata())) == 1]
    return {
        line.get_ydata()[0]: tuple(line.get_xdata()) for line in lines if len(line.get_xdata()) == 2
    }


def test_the_figures_draw_the_numbers_of_the_tables():
    plots, study = drawn(runs({"A": 2.0, "B": 4.0, "C": 8.0}))
    assert set(plots) == {
        "forest-comparison-final", "aggregate-intervals", "profiles", "improvement"
    }  # fmt: skip
    (headline,) = study.headlines()
    forest = plots["forest-comparison-final"].figure.axes[0]
    found = spans(forest)
    assert [text.get_text() for text in forest.get_yticklabels()] == ["A", "B"]
    for y, effect in enumerate(headline.effects):
        assert found[y] == pytest.approx((effect.low, effect.high))
    table = study.aggregate().set_index(["statistic", "label"])
    for axis in plots["aggregate-intervals"].figure.axes:
        name = axis.get_title(loc="left").removesuffix(" (lower is better)")
        for y, label in enumerate("ABC"):
            low, high = table.loc[(name, label), ["low", "high"]]
            assert spans(axis)[y] == pytest.approx((low, high))
    profile = plots["profiles"].figure.axes[0]
    shares = study.scores.final / 10
    for line in profile.get_lines():
        mine = shares[study.scores.label == line.get_label()].to_numpy()
        expected = [(mine > x).mean() for x in line.get_xdata()]
        assert list(line.get_ydata()) == pytest.approx(expected)
    standing = study.standing().set_index("label")
    better = plots["improvement"].figure.axes[1]
    for y, label in enumerate(standing.index[1:], 1):
        row = standing.loc[label]
        assert spans(better)[y] == pytest.approx((row.improvement_low, row.improvement_high))


def test_the_classes_of_a_forest_have_the_marks_of_the_page():
    frame = runs({"full": 9.0, "full - a": 2.0, "full - b": 9.0}, base="base", full="full")
    parts = {"full - a": "a", "full - b": "b"}
    frame["component"] = frame.label.map(parts)
    frame["kind"] = np.where(frame.component.isna(), PRESET, LEAVE_ONE_OUT)
    plots, study = drawn(frame)
    (headline,) = study.headlines()
    assert [e.verdict for e in headline.effects] == ["shown", "cannot tell"]
    axis = plots["forest-leave-one-out-base-full-final"].figure.axes[0]
    marks = [x for x in axis.get_lines() if x.get_marker() == "o" and len(x.get_xdata()) == 1]
    assert [mark.get_markerfacecolor() for mark in marks] == [paper.SHOWN, "white"]
    assert [mark.get_color() for mark in marks] == [paper.SHOWN, paper.FAINT]


def test_intervals_do_not_stretch_a_forest_beyond_the_bounds_of_the_score():
    frame = runs({"A": 1.0, "B": 9.0}, envs=("lake",), n=3)
    wild = frame.label == "B"
    frame.loc[wild, "final"] = frame.seed.map({0: 0.0, 1: 10.0, 2: 10.0})[wild]
    free = drawn(frame)[0]["forest-comparison-final"]
    kept = drawn(frame.assign(lowest=0, highest=10))[0]["forest-comparison-final"]
    assert max(map(abs, spans(free.figure.axes[0])[0])) > 10
    assert max(map(abs, spans(kept.figure.axes[0])[0])) == 10
    assert "bounds" in kept.caption
    assert "bounds" not in free.caption
    texts = [[x.get_text() for x in plot.figure.axes[0].texts] for plot in (free, kept)]
    assert texts[0] == texts[1]  # the numbers are those of the table


@pytest.mark.parametrize("width", WIDTHS)
def test_labels_are_drawn_as_they_are_and_do_not_overlap(width):
    frame = runs(dict(zip(ODD, (2.0, 4.0, 6.0, 8000.0), strict=True)), envs=("l_$k", "p$d", "s"))
    plots, study = drawn(frame, width)
    more = figures.figures(study.data, study.scores, study.ablation(), study.metric, width)
    seen = set()
    for plot in [*plots.values(), *more]:
        plot.lay_out()
        texts = [
            x
            for axis in plot.figure.axes
            if axis.get_visible()
            for x in (*axis.get_xticklabels(), *axis.get_yticklabels(), axis._left_title)
            if x.get_text() and (x is axis._left_title or _inside(axis, x))
        ]
        seen |= {x.get_text() for x in texts}
        boxes = [(x.get_text(), x.get_window_extent()) for x in texts]
        for axis in plot.figure.axes:
            box = axis.xaxis.label.get_window_extent()
            assert plot.figure.bbox.x0 <= box.x0 <= box.x1 <= plot.figure.bbox.x1, plot.name
        for (one, a), (other, b) in combinations(boxes, 2):
            across = min(a.x1, b.x1) - max(a.x0, b.x0)
            along = min(a.y1, b.y1) - max(a.y0, b.y0)
            assert across <= 0.5 or along <= 0.5, (plot.name, one, other)
    assert set(ODD) <= seen
    assert {"l_$k", "p$d"} <= seen


def _inside(axis, label):
    """Return whether a tick is within the limits of its axis, so that its label is drawn."""
    x, y = label.get_position()
    horizontal = label in axis.get_xticklabels()
    low, high = sorted(axis.get_xlim() if horizontal else axis.get_ylim())
    return low <= (x if horizontal else y) <= high


def test_a_share_that_no_agent_reaches_has_no_panel():
    study = analysis.load(runs({"A": 4.0, "B": 7.0}, curve=(0.0, 0.5, 1.0)))
    drawn = figures.figures(study.data, study.scores, study.ablation(), study.metric)
    (plot,) = [x for x in drawn if x.name == "environments-above"]
    titles = [axis.get_title(loc="left") for axis in plot.figure.axes if axis.get_visible()]
    assert titles == ["above 20% of the reference", "above 50% of the reference"]
    assert plot.caption.endswith("Left out: 100% and 200%, which no agent exceeds on any.")


def test_one_environment_has_a_forest_alone():
    assert set(drawn(runs({"A": 1.0, "B": 9.0}, envs=("lake",)))[0]) == {"forest-comparison-final"}
