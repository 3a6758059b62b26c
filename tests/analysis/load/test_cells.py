"""Text cells of CSV files: no formula for a spreadsheet, and the same text when read again."""

import pandas as pd
import pytest

from prism.analysis.cli import main
from prism.analysis.load.cells import read_csv, to_csv

FORMULAS = ["=cmd|' /C calc'!A0", "+1", "-1+1", "@SUM(1)", "\tx", "\rx", "'quoted", "'=x", "=", ""]


@pytest.mark.parametrize("text", FORMULAS)
def test_a_text_is_no_formula_and_comes_back(tmp_path, text):
    frame = pd.DataFrame({"label": [text, "DQN"], text or "x": [-1.5, 2.0], "n": [-3, 4]})
    path = tmp_path / "a.csv"
    with path.open("w", newline="") as file:
        file.write(to_csv(frame))
    cells = pd.read_csv(path, keep_default_na=False)
    assert not str(cells.label[0]).startswith(("=", "+", "-", "@", "\t", "\r"))
    assert not str(cells.columns[1]).startswith(("=", "+", "-", "@", "\t", "\r"))
    again, _ = read_csv(path)
    assert list(again.columns) == list(frame.columns)
    assert again.label.fillna("").tolist() == frame.label.tolist()
    assert again.iloc[:, 1:].equals(frame.iloc[:, 1:])


def test_numbers_are_written_as_ever():
    frame = pd.DataFrame({"a": [-0.1, 1e-300, float("nan")], "b": [-1, 2, 3], "c": [True] * 3})
    assert to_csv(frame) == frame.to_csv(index=False, lineterminator="\n")


def test_an_exported_study_reads_as_the_study(writer, tmp_path, capsys):
    study = writer("formulas")
    for label in ("=1+1", "-x", "plain"):
        for seed in range(3):
            study.run(study.variant(label, base=label, full=label), "+lake", seed, 50)
    folder = str(study.plan())
    assert main(["export", folder, "--out", str(tmp_path / "out")]) == 0
    lines = (tmp_path / "out" / "runs.csv").read_text().splitlines()[1:]
    assert len(lines) == 9 and not any(",=" in line or ",+" in line for line in lines)
    capsys.readouterr()
    exported, _ = read_csv(tmp_path / "out" / "runs.csv")
    plain = tmp_path / "scores.csv"
    plain.write_text(to_csv(exported[["label", "env", "seed", "final"]]))
    tables = []
    for where in (folder, str(plain)):
        assert main(["table", where, "--format", "csv"]) == 0
        tables.append(capsys.readouterr().out)
    assert tables[0] == tables[1] and "'=1+1,'+lake," in tables[0]
