"""What a report writes, and what it leaves alone."""

import json

from prism.analysis.cli import main
from prism.analysis.report.write import MANIFEST


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
    assert "index.html exists and is not part of a report" in capsys.readouterr().err
    assert [path.name for path in site.iterdir()] == ["index.html"]
