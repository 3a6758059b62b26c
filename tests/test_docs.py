"""Pages for people: their links lead somewhere, and the commands they name exist."""

import re
from pathlib import Path

import pytest

from prism.benchmark.cli import complete, texts

ROOT = Path(__file__).resolve().parents[1]
PAGES = [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), ROOT / "algos" / "README.md"]
CHECKED = [page for page in PAGES if page.name != "CHANGELOG.md"]


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", page.read_text())
    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", CHECKED, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_exist(page):
    """A word behind ``prism`` at the start of a line of code is a command, or a key."""
    blocks = "\n".join(
        re.findall(r"^```\w*\n(.*?)^```", page.read_text(), re.DOTALL | re.MULTILINE)
    )
    words = re.findall(r"^\$? *prism +([^\s=]+)(=?)", blocks, re.MULTILINE)
    known = {*complete.COMMANDS, *texts.READERS}
    assert [word for word, key in words if not key and word not in known] == []


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 120
