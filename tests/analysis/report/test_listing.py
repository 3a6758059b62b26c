"""Lists of studies, what a study shows of itself, and comparisons of nothing."""

import shutil

import pytest

from prism.analysis import load
from prism.analysis.cli import main as read
from prism.benchmark.store import records, schema
from prism.cli import main


def test_the_studies_of_a_folder_are_listed_with_their_best(writer, tmp_path, monkeypatch, capsys):
    first = writer("first")
    first.rainbow(seeds=3, envs=("lake", "pond"), parts=1)
    first.run(first.variant("Rainbow"), "lake", 9, 100, state=schema.FAILED, until=0.5)
    folder = first.plan()
    other = writer("other")
    other.run(other.variant("DQN"), "lake", 0, 40)
    other.plan()
    (folder.parent / "broken").mkdir()
    records.write_json(folder.parent / "broken" / "plan.json", {"schema": 1})
    monkeypatch.chdir(folder.parent)
    assert read(["list", str(folder.parent), "--format", "csv"]) == 0
    rows = capsys.readouterr().out.strip().splitlines()
    assert len(rows) == 1 + 2 + 1 + 1 and "has schema 1" in rows[1]
    scored = load(folder).scores
    lake = scored[scored.env == "lake"].groupby("label").final.mean()
    (line,) = (row for row in rows if row.startswith("first,lake,"))
    assert f"9/10,{lake.idxmax()},{lake.max()}"[:18] in line
    assert main(["list", "results", str(folder.parent)]) == 0
    out = capsys.readouterr().out
    assert "first" in out and "1/1" in out and "has schema 1" in out
    assert read(["list", str(tmp_path / "nowhere")]) == 2


def test_a_list_without_a_word_says_what_can_be_listed(capsys):
    assert main(["list"]) == 0
    out = capsys.readouterr().out
    for what in ("algos", "envs", "studies", "executors", "results"):
        assert f"prism list {what}" in out


def test_a_study_shows_its_scores_and_changes_nothing_by_it(rainbow):
    study = load(rainbow)
    notes = list(study.data.notes)
    text, page = repr(study), study._repr_html_()
    mean = study.data.scored.query("label == 'DQN' and env == 'lake'").final.mean()
    assert text.startswith("rainbow: 160 planned, 160 finished, 160 scored")
    assert f"{mean:.2f}" in text and f"{mean:.2f}" in page and "<table>" in page
    assert study.data.notes == notes


def test_a_comparison_of_nothing_is_refused(rainbow, tmp_path, capsys):
    other = shutil.copytree(rainbow, tmp_path / "other")
    for path in other.glob("runs/*/run.json"):
        record = records.read_json(path)
        records.write_json(path, record | {"protocol": "another-greedy"})
    assert read(["compare", str(rainbow), "--against", str(other)]) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: compare: nothing to compare; ") and err.count("\n") == 1
    assert "protocol" in err


@pytest.mark.parametrize("value", ["1", "9"])
def test_published_numbers_of_nothing_are_refused(writer, tmp_path, capsys, value):
    study = writer("one")
    study.run(study.variant("DQN"), "lake", 0, 40)
    (tmp_path / "numbers.csv").write_text(f"label,env,score,source\nDQN,lake,{value},x\n")
    words = ["compare", str(study.plan()), "--published", str(tmp_path / "numbers.csv")]
    assert read(words) == 2
    assert "nothing to compare; DQN on lake: only 1 run of ours" in capsys.readouterr().err
