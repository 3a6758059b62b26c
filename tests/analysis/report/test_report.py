"""The report: everything is there, escaped, and the same twice."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from prism.analysis.cli import main
from prism.analysis.load.data import load
from prism.analysis.report import tables
from prism.analysis.report.style import FORMATS
from prism.benchmark.store import schema


@pytest.fixture(scope="module")
def report(rainbow, tmp_path_factory):
    out = tmp_path_factory.mktemp("report")
    assert main(["report", str(rainbow), "--out", str(out)]) == 0
    return out


def test_rainbows_figures_are_all_there(report):
    names = {path.stem for path in (report / "figures").iterdir()}
    assert names == {
        "aggregate-agents", "aggregate-ablations", "curves-per-environment", "environments-above",
        "contributions", "contributions-normalised", "runs", "aggregate-intervals", "profiles",
        "improvement", "forest-leave-one-out-dqn-rainbow-final",
    }  # fmt: skip
    for name in names:
        assert all((report / "figures" / f"{name}.{ending}").stat().st_size for ending in FORMATS)


def test_page_is_self_contained_and_complete(report):
    page = (report / "index.html").read_text()
    assert not re.search(r"(src|href)=[\"']?(https?:)?//", page)
    assert page.count("data:image/svg+xml;base64,") == 11
    assert "160 of 160 runs scored" in page
    for word in ("c0de", "p1", "Every planned run finished", "prism report"):
        assert word in page
    assert "of the gap from DQN to Rainbow over 2 environments (Holm p &lt; 0.001)" in page
    assert re.search(r"Removing <b>multi-step</b> costs [^.]*, the largest estimate\. ", page)
    assert "<b>Noisy</b> costs too." in page
    markdown = (report / "report.md").read_text()
    assert "160 runs planned: 160 scored" in markdown
    assert len(list((report / "tables").glob("*.tex"))) == 10


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
    assert "n = 6 runs per agent. p: Holm correction over the effects of one kind" in text
    assert "factorial of components" in (tmp_path / "out" / "index.html").read_text()


def test_broken_study_is_told_run_by_run(broken, capsys):
    assert main(["report", str(broken), "--include", "unfinished"]) == 0
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
    assert "Unfinished runs are included up to where they stopped" in page
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
            for seed in range(5):
                study.run(one, env, seed, 10 * place + (90 if place == 7 else 0))
    folder = study.plan()
    assert main(["report", str(folder)]) == 0
    printed = capsys.readouterr().out
    assert printed.count(" is behind agent 7 by ") == 7
    assert printed.count(" below agent 7 (") == 3
    assert "- agent 7 has the highest mean on pond, shown above 7 of 7 others." in printed
    assert "- and 11 more sentences in the report" in printed
    page = (folder / "report" / "index.html").read_text()
    assert page.count(" below agent 7 (") == 14
    for env in ("lake", "pond"):
        assert f'<summary>{env}: <span class="count worse">7 lower</span></summary>' in page


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["{0}/rainbo"],
            "error: {0}/rainbo: no such file or folder; nearest: rainbow",
        ),
        (["{0}/rainbow", "{0}/rainbow"], "error: report: several places need --out DIR"),
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
    assert "no run can be scored: 1 planned, 1 failed" in printed
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
    root = Path(__file__).parents[3]
    command = [sys.executable, "-c", "import json; " + code]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []


ODD = ["# a `b` | [c](javascript:d) <e>", "$\\frac$ $", "a_b*c*", "ä", "ö"]


def test_odd_names_are_text_in_markdown_latex_figures_and_file_names(writer):
    study = writer("odd")
    for label in ODD:
        for env in ODD[2:]:
            for seed in range(2):
                path = study.run(study.variant(label, base=label, full=label), env, seed, 50)
                grid = {"grid": [1, 2], "q": np.ones((2, 1)), "moves": [[0, 1]]}
                (path / "arrays").mkdir()
                np.savez(path / "arrays" / "result.npz", reachable=[1, 1], **grid)
    folder = study.plan()
    assert main(["report", str(folder)]) == 0
    page = (folder / "report" / "report.md").read_text()
    for text in ("](javascript:", "<e>", "`b`", "*c*"):
        assert re.search(rf"(?<!\\){re.escape(text)}", page) is None
    assert not re.search(r"^# a", page, re.M)
    names = [path.name for path in folder.glob("report/*/*")]
    assert all(re.fullmatch(r"[a-z0-9-]+\.\w+", name) for name in names)
    assert sum(name.startswith("values-") for name in names) == 9  # three files an environment
    assert "\\frac" not in (folder / "report" / "tables" / "scores.tex").read_text()
