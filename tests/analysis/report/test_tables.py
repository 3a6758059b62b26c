"""Tables in every format."""

import csv
import io

from prism.analysis.load.data import load
from prism.analysis.questions.ablation import ablate
from prism.analysis.questions.scores import score_runs
from prism.analysis.report import table, tables


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
        t.name: t for t in tables.ablation_tables(ablate(data, score_runs(data, "eval/return")))
    }
    assert found["comparison-lake-final"].bold == {(0, 3)}
    assert r"\textbf{" in found["comparison-lake-final"].latex()
    assert not found["comparison-pond-final"].bold


def test_numbers_have_no_exponent():
    cells = table.numbers([12071.3, 0.5, 1e-7, float("nan")])
    assert cells == ["12071", "0.5000", "0.0000001000", table.DASH]
    assert table.numbers([3.0, 12.0]) == ["3", "12"]
