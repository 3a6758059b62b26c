"""Tables, figures and the page: everything is there, escaped, and the same twice."""

import csv
import io
import json
import re
import subprocess
import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

from prism.analysis.cli import main
from prism.analysis.load.data import load
from prism.analysis.questions import curves
from prism.analysis.questions.ablation import ablate
from prism.analysis.report import figures, table, tables
from prism.analysis.report.style import FORMATS, WIDTHS, styles
from prism.analysis.report.write import MANIFEST
from prism.benchmark.store import schema

COMPONENTS = ("double", "prioritized", "dueling", "multi-step", "distributional", "noisy")


@pytest.fixture(scope="module")
def parts(rainbow):
    data = load(rainbow)
    scores = curves.scores(data, schema.EVAL_RETURN)
    return data, scores, ablate(data, scores)


@pytest.fixture(scope="module")
def report(rainbow, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    assert main(["report", str(rainbow), "--out", str(out)]) == 0
    return out


def test_tables_in_every_format(parts):
    _, _, ablation = parts
    table = tables.ablation_tables(ablation)[0]
    assert table.name == "leave-one-out-dqn-rainbow-lake-final"
    assert [row[0] for row in table.rows][:3] == ["Rainbow", "DQN", "Rainbow - double"]
    latex = table.latex()
    for word in (r"\toprule", r"\midrule", r"\bottomrule", r"Rainbow - multi-step", r"\dag", r"\%"):
        assert word in latex
    assert latex.count(r"\\") >= len(table.rows) + 1
    markdown = [line for line in table.markdown().splitlines() if line.startswith("|")]
    assert len(markdown) == len(table.rows) + 2
    assert {line.count("|") for line in markdown} == {len(table.header) + 1}
    rows = list(csv.DictReader(io.StringIO(table.csv())))
    assert [row["label"] for row in rows] == [row[0] for row in table.rows]
    assert float(rows[0]["mean"]) == ablation["mean"].iloc[0]  # unrounded
    text = table.text().splitlines()
    assert len({len(line.rstrip("†")) for line in text[2:4]}) == 1
    assert all(len(line) < 120 for line in text[:11])


def test_numbers_of_a_column_line_up():
    cells = table.spans([1.5, -20.25, float("nan")], [1, -30, 0], [2, float("nan"), 0])
    assert cells[:2] == ["  1.50 [  1.00, 2.00]", f"-20.25 [-30.00,    {table.DASH}]"]
    assert cells[2].strip() == table.DASH
    assert len(set(map(len, cells))) == 1
    assert table.spans([-0.001, 100.0], [0, 0], [0, 0])[0].strip().startswith("0.0 ")


def test_bold_only_where_a_test_supports_it(writer):
    study = writer("lead")
    for seed in range(5):
        study.run(study.variant("A", base="A", full="A"), "lake", seed, 90, noise=2)
        study.run(study.variant("B", base="B", full="B"), "lake", seed, 20, noise=2)
        for label in "AB":
            study.run(study.variant(label, base=label, full=label), "pond", seed, 50, noise=9)
    data = load(study.plan())
    found = {
        t.name: t for t in tables.ablation_tables(ablate(data, curves.scores(data, "eval/return")))
    }
    assert found["comparison-lake-final"].bold == {(0, 3)}
    assert r"\textbf{" in found["comparison-lake-final"].latex()
    assert not found["comparison-pond-final"].bold


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
    scores = curves.scores(data, schema.EVAL_RETURN)
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


def test_rainbows_figures_are_all_there(report):
    names = {path.stem for path in (report / "figures").iterdir()}
    assert names == {
        "aggregate-agents", "aggregate-ablations", "curves-per-environment", "environments-above",
        "contributions", "contributions-normalised", "runs",
    }  # fmt: skip
    for name in names:
        assert all((report / "figures" / f"{name}.{ending}").stat().st_size for ending in FORMATS)


def test_page_is_self_contained_and_complete(report):
    page = (report / "index.html").read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("data:image/svg+xml;base64,") == 7
    assert "<dd>160</dd>" in page
    for word in ("c0de", "p1", "Every planned run finished", "python -m analysis report"):
        assert word in page
    assert "multi-step hurts on 2 of 2 environments" in page
    markdown = (report / "report.md").read_text()
    assert "160 runs planned: 160 scored" in markdown
    assert len(list((report / "tables").glob("*.tex"))) == 8


def test_a_report_replaces_its_own_files_and_no_others(writer, tmp_path, capsys):
    study = writer("mine")
    for label in ("A", "B"):
        for seed in range(3):
            study.run(study.variant(label, base=label, full=label), "lake", seed, 50)
    words = ["report", str(study.plan()), "--out", str(tmp_path / "paper")]
    for name in ("figures/my_own.pdf", "tables/hand.tex", "notes.md"):
        path = tmp_path / "paper" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("mine")
    assert main(words) == 0
    old = tmp_path / "paper" / "tables" / "comparison-lake-final.csv"
    assert old.is_file()
    assert main([*words, "--rename", "A=C"]) == 0
    assert "C" in old.read_text()
    made = json.loads((tmp_path / "paper" / MANIFEST).read_text())
    (tmp_path / "paper" / "tables" / "gone.csv").write_text("of an older report")
    (tmp_path / "paper" / MANIFEST).write_text(json.dumps([*made, "tables/gone.csv", "notes.md"]))
    assert main(words) == 0
    assert not (tmp_path / "paper" / "tables" / "gone.csv").exists()
    for name in ("figures/my_own.pdf", "tables/hand.tex", "notes.md"):
        assert (tmp_path / "paper" / name).read_text() == "mine"
    assert "my_own" not in (tmp_path / "paper" / MANIFEST).read_text()
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("my site")
    capsys.readouterr()
    assert main([*words[:-1], str(site)]) == 2
    assert "index.html is there, and not from a report" in capsys.readouterr().err
    assert [path.name for path in site.iterdir()] == ["index.html"]


def test_a_factorial_has_files_and_says_what_its_intervals_are(tmp_path):
    rng = np.random.default_rng(0)
    rows = [
        {
            "label": label,
            "env": "e",
            "seed": s,
            "base": "none",
            "full": "both",
            "on": json.dumps(on),
        }
        | {"final": 12_000 * len(on) + 900 * rng.normal()}
        for label, on in (("none", []), ("a", ["a"]), ("b", ["b"]), ("both", ["a", "b"]))
        for s in range(6)
    ]
    path = tmp_path / "factors.csv"
    pd.DataFrame(rows).to_csv(path, index=False)
    assert main(["report", str(path), "--out", str(tmp_path / "out")]) == 0
    folder = tmp_path / "out" / "tables"
    for ending in ("md", "csv", "tex", "html"):
        text = (folder / f"factorial-e-final.{ending}").read_text()
        assert "main effect" in text
        assert "e+0" not in text
    text = (folder / "factorial-e-final.md").read_text()
    assert "95% Welch-Satterthwaite t interval, not corrected" in text
    assert "n = 6 runs per agent. Holm correction over the effects of one kind" in text
    assert "factorial of components" in (tmp_path / "out" / "index.html").read_text()


def test_broken_study_is_told_run_by_run(broken, capsys):
    assert main(["report", str(broken), "--take", "unfinished"]) == 0
    printed = capsys.readouterr().out
    first = (
        "runs: 20 planned, 15 finished, 1 failed, 2 interrupted, 1 running, 1 missing, 15 scored"
    )
    assert first in printed
    page = (broken / "report" / "index.html").read_text()
    for seed in range(5, 10):
        assert f"rainbow-lake-s{seed}" in page
    for word in (
        "ValueError: loss is NaN",
        "no run folder",
        "stale-of-another-grid",
        "not complete",
    ):
        assert word in page
    assert "Unfinished runs enter up to where they got" in page
    table = tables.completeness_table(load(broken))
    assert ["Rainbow", "5/10"] in table.rows


def test_hostile_names_are_shown_as_text_and_the_same_twice(writer):
    study = writer("hostile")
    bad = "<script>alert(1)</script>"
    for label in (bad, "B & C_1"):
        one = study.variant(label, base=label, full=label)
        for seed in range(3):
            study.run(one, "lake", seed, 50)
    folder = study.plan()
    assert main(["report", str(folder)]) == 0
    for name in ("index.html", "tables/scores.html"):
        assert "<script>alert" not in (folder / "report" / name).read_text()
    assert r"B \& C\_1" in (folder / "report" / "tables" / "scores.tex").read_text()
    assert r"\<script\>" in (folder / "report" / "tables" / "scores.md").read_text()
    first = {path: path.read_bytes() for path in (folder / "report").rglob("*.*")}
    assert main(["report", str(folder)]) == 0
    assert {path: path.read_bytes() for path in (folder / "report").rglob("*.*")} == first


def test_many_sentences_fold_and_the_terminal_prints_a_dozen(writer, capsys):
    study = writer("many")
    for place in range(8):  # the last against each of seven others, on two environments
        one = study.variant(f"agent {place}", base=f"agent {place}", full=f"agent {place}")
        for env in ("lake", "pond"):
            for seed in range(4):
                study.run(one, env, seed, 10 * place + (90 if place == 7 else 0))
    folder = study.plan()
    assert main(["report", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" below agent 7 (") == 10
    assert "- agent 7 ends highest on pond, detectably above 7 of 7 others." in printed
    assert "- and 4 more sentences in the report" in printed
    page = (folder / "report" / "index.html").read_text()
    assert page.count(" below agent 7 (") == 14
    for env in ("lake", "pond"):
        assert f'<summary>{env}: <span class="count worse">7 lower</span></summary>' in page


def test_a_sweep_has_a_sensitivity_figure(writer):
    study = writer("sweep")
    for rate in (1e-4, 1e-3, 1e-2):
        label = f"DQN, lr={rate:g}"
        one = study.variant(label, schema.SWEEP, base=label, full=label, overrides={"lr": rate})
        for seed in range(3):
            study.run(one, "lake", seed, 50)
    data = load(study.plan())
    scores = curves.scores(data, schema.EVAL_RETURN)
    drawn = {p.name: p for p in figures.figures(data, scores, ablate(data, scores), "eval/return")}
    final, area = drawn["sensitivity-lr"].figure.axes
    means = scores.groupby("label", sort=False)
    for axis, metric in ((final, curves.FINAL), (area, curves.AUC)):
        line = axis.get_lines()[0]
        assert list(line.get_xdata()) == [1e-4, 1e-3, 1e-2]
        assert list(line.get_ydata()) == pytest.approx(list(means[metric].mean()))
        assert axis.get_xscale() == "log"
    plt.close("all")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{0}/rainbo"], "analysis: {0}/rainbo: no such study folder; studies there: rainbow"),
        (["{0}/rainbow", "{0}/rainbow"], "analysis: a report of several studies needs --out DIR"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(rainbow, capsys, words, message):
    assert main(["report", *(word.format(rainbow.parent) for word in words)]) == 2
    assert capsys.readouterr().err.strip() == message.format(rainbow.parent)


def test_a_study_without_a_finished_run_is_refused(writer, capsys):
    study = writer("nothing")
    study.run(study.variant("DQN"), "lake", 0, 50, state=schema.FAILED, until=0.5)
    folder = study.plan()
    assert main(["report", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert "no run to score: 1 planned, 1 failed" in printed
    assert "ValueError: loss is NaN" in printed
    assert not (folder / "report").exists()


def test_the_analysis_loads_no_agent_and_no_torch(rainbow):
    code = (
        "import sys; from prism.analysis.load.data import load; "
        "import prism.analysis.report.write; "
        f"load({str(rainbow)!r}); "
        "print(json.dumps(sorted(m for m in sys.modules if m.split('.')[0] in "
        "('torch', 'algos', 'hydra', 'gymnasium', 'wandb'))))"
    )
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", "import json; " + code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
