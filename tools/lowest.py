"""Print the lowest version of each dependency that pyproject.toml allows, as requirements.

``python -m tools.lowest`` prints Prism's own dependencies, ``python -m tools.lowest dev ray`` also
those of the named extras. For pip: ``pip install -r <(python -m tools.lowest)``.
"""

import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

_BOUND = re.compile(r"^([\w.-]+(?:\[[\w,-]+\])?)>=([\w.]+)")


def lowest(requirements: Iterable[str]) -> Iterator[str]:
    """Yield ``name==bound`` for every ``name>=bound``; skip requirements without a lower bound."""
    for requirement in requirements:
        if match := _BOUND.match(requirement):
            yield "{}=={}".format(*match.groups())


def main(extras: Sequence[str]) -> None:
    """Print the requirements of this checkout."""
    text = Path(__file__).parents[1].joinpath("pyproject.toml").read_text()
    project = tomllib.loads(text)["project"]
    groups = [project["optional-dependencies"][extra] for extra in extras]
    for line in lowest([*project["dependencies"], *(line for group in groups for line in group)]):
        print(line)


if __name__ == "__main__":
    main(sys.argv[1:])
