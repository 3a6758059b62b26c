"""Every table of a report is LaTeX that a real TeX sets, whatever the names are."""

import re
import shutil
import subprocess

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.report import tables
from prism.analysis.report.headline import headline_table
from prism.analysis.report.table import DASH, MARK, Table, from_frame
from prism.benchmark.store.schema import LEAVE_ONE_OUT, PRESET

BASE, FULL = "a_b & 100% #1", r"cost $5 or \frac{1} $6 ~x^2 <é>"
needs_tex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="there is no pdflatex")


def compiled(folder, found):
    """Set tables with pdfLaTeX and return its log; it stops at the first error."""
    inputs = []
    for i, table in enumerate(found):
        (folder / f"{i}.tex").write_text(table.latex())
        inputs.append(rf"\input{{{i}}}\clearpage")
    body = "\n".join(inputs)
    (folder / "all.tex").write_text(
        r"\documentclass{article}\usepackage{booktabs,graphicx}\begin{document}"
        f"\n{body}\n" + r"\end{document}"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-draftmode", "all.tex"]
    run = subprocess.run(command, cwd=folder, capture_output=True, timeout=120)
    log = run.stdout.decode("latin-1")
    assert run.returncode == 0, log[-2000:]
    return log


@pytest.fixture(scope="module")
def study():
    rng, rows = np.random.default_rng(0), []
    for label, part, mean in ((BASE, None, 1), (FULL, None, 9), (f"{FULL} - p_$", "p_$", 2)):
        for env in ("l_k", "p$d", "50%"):
            for seed in range(6 if part is None else 5):
                rows.append(
                    {"label": label, "kind": LEAVE_ONE_OUT if part else PRESET, "component": part}
                    | {"base": BASE, "full": FULL, "env": env, "seed": seed}
                    | {"final": mean + rng.normal(), "random": 0, "reference": 10}
                )
    return analysis.load(pd.DataFrame(rows))


@needs_tex
def test_all_tables_of_a_report_are_set(study, tmp_path):
    data, scores = study.data, study.scores
    found = [
        *map(headline_table, study.headlines()),
        *tables.ablation_tables(study.ablation()),
        *tables.score_tables(data, scores),
        *tables.score_tables(data, scores, "reference"),
        tables.profile_table(data, scores, "reference"),
        tables.standing_table(study.standing()),
        tables.completeness_table(data),
        from_frame(study.power(), "Power"),
    ]
    log = compiled(tmp_path, found)
    assert f"{len(found) - 1}.tex" in log
    wide = [float(x) for x in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\)", log)]
    assert max(wide, default=0) < 20, wide  # the tables fit; a long name in a note may not break


@needs_tex
def test_every_character_that_is_special_to_tex_is_set(tmp_path):
    odd = "".join(map(chr, range(32, 127))) + f"{DASH}{MARK}²é"
    table = Table("odd", odd, [odd, odd], [[odd, "-5"]], pd.DataFrame(), notes=[odd])
    assert "0.tex" in compiled(tmp_path, [table])


def test_letters_that_pdflatex_does_not_know_are_told():
    table = Table("greek", "TD(λ)", ["a"], [["b"]], pd.DataFrame())
    assert table.latex().splitlines()[0].endswith("graphicx}, and XeLaTeX or LuaLaTeX")
