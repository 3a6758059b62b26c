import tomllib
from pathlib import Path

import pytest

from tools.dist import ROOT, main, wrong

TRACKED = ["algos/dqn/dqn.py", "algos/README.md", "conf/algo/dqn.yaml", "prism/__init__.py"]
TRACKED += ["prism/algos", "prism/py.typed", "tests/x.py", "pyproject.toml"]
WHEEL = ["prism/algos/dqn/dqn.py", "prism/conf/algo/dqn.yaml", "prism/__init__.py"]
WHEEL += ["prism/py.typed", "prism_rl-0.2.0.dist-info/RECORD"]


def test_a_complete_wheel_has_no_fault():
    assert list(wrong(WHEEL, TRACKED)) == []


def test_what_is_missing_and_what_is_too_much_is_named():
    names = [*(set(WHEEL) - {"prism/conf/algo/dqn.yaml"}), "tests/x.py"]
    assert list(wrong(names, TRACKED)) == [
        "the wheel lacks prism/conf/algo/dqn.yaml",
        "the wheel should not hold tests/x.py",
    ]


def test_the_citation_has_the_version():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert f"\nversion: {project['version']}\n" in (ROOT / "CITATION.cff").read_text()


@pytest.mark.slow
def test_this_commit_builds(tmp_path: Path):
    assert main(tmp_path) == 0
    assert main(tmp_path) == 2  # built over, a folder would hold two versions
