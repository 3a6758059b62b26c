"""Build the archives of a release from the last commit and check them: ``python -m tools.dist``.

The wheel is built from the source archive, which shows that both are complete. It must hold every
module and data file of the packages, and nothing else.
"""

import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).resolve().parents[1]
BELOW_PRISM = ("algos", "analysis", "benchmark", "conf")
_SDIST = "import sys; from setuptools import build_meta as b; print(b.build_sdist(sys.argv[1]))"


def wanted(tracked: Iterable[str]) -> set[str]:
    """Return the names, inside the wheel, of the tracked files that belong in it."""
    names = set()
    for path in tracked:
        top, _, rest = path.partition("/")
        if path.endswith(".md") or (top == "prism" and rest in BELOW_PRISM):
            continue
        if top in BELOW_PRISM:
            names.add(f"prism/{path}")
        elif top == "prism":
            names.add(path)
    return names


def wrong(names: Iterable[str], tracked: Iterable[str]) -> Iterator[str]:
    """Yield each file that a wheel lacks or should not hold; ``.dist-info`` is not checked."""
    own = {name for name in names if ".dist-info/" not in name and not name.endswith("/")}
    files = wanted(tracked)
    yield from (f"the wheel lacks {name}" for name in sorted(files - own))
    yield from (f"the wheel should not hold {name}" for name in sorted(own - files))


def _output(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, check=True, text=True, stdout=subprocess.PIPE)
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Build both archives of the last commit into a folder, and return their paths."""
    with TemporaryDirectory() as scratch:
        copy = Path(scratch, "copy")
        archive = Path(scratch, "copy.tar")
        subprocess.run(["git", "archive", "-o", archive, "HEAD"], cwd=ROOT, check=True)
        with tarfile.open(archive) as tar:
            tar.extractall(copy, filter="tar")
        output = _output([sys.executable, "-c", _SDIST, str(folder)], copy)
        sdist = folder / output.split()[-1]
        pip = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
        subprocess.run([*pip, "-w", str(folder), str(sdist)], cwd=scratch, check=True)
    (wheel,) = folder.glob("*.whl")
    return sdist, wheel


def main(folder: Path) -> int:
    """Build into an empty folder, print any faults, and return the exit code."""
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        print(f"error: {folder} is not empty", file=sys.stderr)
        return 2
    sdist, wheel = build(folder)
    tracked = _output(["git", "ls-tree", "-r", "--name-only", "HEAD"], ROOT).splitlines()
    faults = list(wrong(zipfile.ZipFile(wheel).namelist(), tracked))
    print(*faults, sdist, wheel, sep="\n")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1] if sys.argv[1:] else "dist").resolve()))
