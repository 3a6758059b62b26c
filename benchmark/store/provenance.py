"""Provenance of a run: the hash of its code, the commit, and the diff of the checkout."""

import hashlib
import os
import re
import subprocess
from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from ..envs import outside
from ..util import atomic
from ..util.secrets import clean_text
from .agents import agent_path
from .spec import RunSpec

_ROOT = Path(__file__).resolve().parents[2]
_PACKAGES = ("prism.algos", "prism.benchmark")  # the code that computes a run


def code_hash(spec: RunSpec | None = None) -> str:
    """Return the hash of the code behind a run: every Python file of algos/ and benchmark/.

    If the agent, ``env.imports`` or a wrapper comes from another package, the hash of that package
    follows.
    """
    others = {re.split("[.:]", name)[0] for name in _named(spec) if name} - {"prism"}
    ours = _hash_of(*_PACKAGES)[:12]
    return f"{ours}-{_hash_of(*sorted(others))[:8]}" if others else ours


def _named(spec: RunSpec | None) -> list[str]:
    """Return the classes and modules that a run names."""
    if spec is None:
        return []
    wrappers = outside.paths(spec.env.wrappers.extra)
    return [agent_path(spec.algo.agent), spec.env.imports or "", *wrappers]


@cache
def _hash_of(*packages: str) -> str:
    """Return the hash of every Python file of packages, wherever they are installed."""
    sha = hashlib.sha256()
    for package in packages:
        for root in _roots(package):
            for path in _python_files(root):
                sha.update(str(path.relative_to(root.parent)).encode())
                sha.update(path.read_bytes())
    return sha.hexdigest()


def _roots(package: str) -> list[Path]:
    """Return the folders of a package, or the file of a single module; nothing is imported."""
    try:
        spec = find_spec(package)
    except ValueError:  # __main__ has no module spec
        spec = None
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.has_location and spec.origin else []


def _python_files(root: Path) -> Iterator[Path]:
    """Yield the modules at and below a path, in order; skip folders that are no packages."""
    if root.suffix == ".py":
        yield root
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(filter(str.isidentifier, folders))  # .venv and the like hold no modules
        yield from (Path(folder) / name for name in sorted(files) if name.endswith(".py"))


@cache
def git_sha() -> str | None:
    """Return the checkout's commit, with ``+`` appended if files differ; None outside git."""
    try:
        head, dirty = (
            subprocess.run(
                ["git", "-C", str(_ROOT), *args], capture_output=True, text=True, check=True
            ).stdout.strip()
            for args in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if dirty else "")


def keep_diff(study_dir: Path) -> None:
    """Write the diff between the checkout and its commit, once per version of the code."""
    path = study_dir / "code" / f"{code_hash()}.diff"
    if path.exists() or not (git_sha() or "").endswith("+"):
        return
    command = ["git", "-C", str(_ROOT), "diff", "HEAD"]
    diff = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if diff.returncode == 0:
        atomic.write(path, clean_text(f"# git {git_sha()}\n{diff.stdout}").encode())
