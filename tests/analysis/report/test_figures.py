"""Figures: one style for all, legends that fit, captions with n."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from prism.analysis.load.data import load
from prism.analysis.questions.ablation import ablate
from prism.analysis.questions.scores import AUC, FINAL, score_runs
from prism.analysis.report import figures
from prism.analysis.report.style import WIDTHS, styles
from prism.benchmark.store import schema

COMPONENTS = ("double", "prioritized", "dueling", "multi-step", "distributional", "noisy")


def test_styles_and_order_are_one_for_all_figures(parts):
    data, scores, ablation = parts
    look = styles(data)
    assert list(look) == data.labels
    assert len({(str(s.color), str(s.dash)) for s in look.values()}) == len(look)
    drawn = 0
    for plot in figures.figures(data, scores, ablation, schema.EVAL_RETURN):
        for axis in plot.figure.axes:
            for line in axis.get_lines():
                label = str(line.get_label()).split(" (n")[0]
                if label in look:
                    drawn += 1
                    assert line.get_color() == look[label].color
        for legend in plot.figure.legends:
            names = [text.get_text().split(" (n")[0] for text in legend.get_texts()]
            assert names == [label for label in data.labels if label in names]
        assert "n = " in plot.caption or "n:" in plot.caption or "Number of" in plot.caption
        plt.close(plot.figure)
    assert drawn > 30


@pytest.mark.parametrize("width", WIDTHS)
def test_legends_and_titles_fit_the_figure(width):
    rng = np.random.default_rng(0)
    rows = [
        {"label": f"some rather long name of an agent {i}", "env": env, "seed": s}
        | {"global_step": step, "eval/return": i * step + rng.normal()}
        for i in range(9)
        for env in ("a_very_long_name_of_an_environment_of_somebody-v3", "lake", "pond", "dale")
        for s in range(3)
        for step in (0, 50, 100)
    ]
    data = load(pd.DataFrame(rows).assign(random=0, reference=900))
    scores = score_runs(data, schema.EVAL_RETURN)
    for plot in figures.figures(data, scores, ablate(data, scores), schema.EVAL_RETURN, width):
        plot.lay_out()
        titles = [x.set_title(x.get_title(loc="left"), loc="left") for x in plot.figure.axes]
        for text in [*titles, *(x for one in plot.figure.legends for x in one.get_texts())]:
            box, inside = text.get_window_extent(), plot.figure.bbox
            assert box.x0 >= inside.x0 - 1, text
            assert box.x1 <= inside.x1 + 1, text
        plt.close(plot.figure)


def test_a_column_of_contributions_names_the_components_in_every_panel(parts):
    data, scores, ablation = parts
    drawn = figures.figures(data, scores, ablation, schema.EVAL_RETURN, "column")
    figure = next(plot.figure for plot in drawn if plot.name == "contributions")
    for axis in figure.axes:
        names = [text.get_text() for text in axis.get_yticklabels()]
        assert names == [f"Rainbow - {x}" for x in COMPONENTS]
    plt.close("all")


def test_a_line_that_hides_another_says_so():
    rows = [
        {"label": label, "env": "lake", "seed": s, "global_step": t, "eval/return": t * s + shift}
        for label, shift in (("A", 0), ("B", 1), ("C", 0))
        for s in range(3)
        for t in (0, 50, 100)
    ]
    data = load(pd.DataFrame(rows))
    (legend,) = figures.learning_curves(data, schema.EVAL_RETURN).figure.legends
    names = [text.get_text() for text in legend.get_texts()]
    assert names == ["A (n = 3)", "B (n = 3)", "C (n = 3) = A"]
    plt.close("all")


def test_a_sweep_has_a_sensitivity_figure(writer):
    study = writer("sweep")
    for rate in (1e-4, 1e-3, 1e-2):
        label = f"DQN, lr={rate:g}"
        one = study.variant(label, schema.SWEEP, base=label, full=label, overrides={"lr": rate})
        for seed in range(3):
            study.run(one, "lake", seed, 50)
    data = load(study.plan())
    scores = score_runs(data, schema.EVAL_RETURN)
    drawn = {p.name: p for p in figures.figures(data, scores, ablate(data, scores), "eval/return")}
    final, area = drawn["sensitivity-lr"].figure.axes
    means = scores.groupby("label", sort=False)
    for axis, metric in ((final, FINAL), (area, AUC)):
        line = axis.get_lines()[0]
        assert list(line.get_xdata()) == [1e-4, 1e-3, 1e-2]
        assert list(line.get_ydata()) == pytest.approx(list(means[metric].mean()))
        assert axis.get_xscale() == "log"
    plt.close("all")
