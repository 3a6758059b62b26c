"""Enumerates the points of a grid, with ``zip`` and ``exclude``.

``grid.py`` describes the syntax of a grid.
"""

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..util.errors import ConfigError, unknown
from . import config as cfg

Axes = dict[str, list[Any]]  # key -> its values
NAMES = ("algo", "env", "tuned", "components")  # axes whose values are names, never lists


@dataclass
class Grid:
    """A product of axes, some of them zipped, minus the excluded points."""

    axes: Axes
    zipped: list[str]
    excluded: list[dict[str, Any]]  # axis, or "label", -> value or values
    replaced: Axes  # the axes before the command line overrode them

    def points(self) -> Iterator[dict[str, Any]]:
        """Yield every point: a value for each axis; the first axis varies slowest."""
        axes, factors = self.axes, []
        for key, values in axes.items():
            if key not in self.zipped:
                factors.append([{key: value} for value in values])
            elif key == next(k for k in axes if k in self.zipped):
                rows = zip(*(axes[k] for k in self.zipped), strict=True)
                factors.append([dict(zip(self.zipped, row, strict=True)) for row in rows])
        for parts in itertools.product(*factors):
            point = {key: value for part in parts for key, value in part.items()}
            if not self.excludes(point):
                yield point

    def excludes(self, point: Mapping[str, Any]) -> bool:
        """Return whether a point matches every entry of some exclusion."""
        return any(
            all(key in point and point[key] in several(value) for key, value in rule.items())
            for rule in self.excluded
        )

    def check(self) -> None:
        """Raise ConfigError if an axis is missing or empty, or ``zip`` names an unknown one."""
        for group in ("algo", "env"):
            if any(name in (None, "") for name in self.axes.get(group) or [None]):
                names = ", ".join(cfg.options(group))
                raise ConfigError(f"{group} is missing; choose from: {names}")
        for key, values in self.axes.items():
            if not values:
                raise ConfigError(f"{key} has no value: give it one, or several with commas")
        zippable = self.axes.keys() - {"seed"}  # the seeds of a cell stay together
        for key in self.zipped:
            if key not in zippable:
                raise unknown("zip", key, zippable)
        lengths = {key: len(self.axes[key]) for key in self.zipped}
        if len(set(lengths.values())) > 1:
            counts = ", ".join(f"{key} has {n}" for key, n in lengths.items())
            raise ConfigError(f"zip: these axes need the same number of values: {counts}")
        for rule in self.excluded:
            for key in rule:
                if key not in zippable | {"label"}:
                    raise unknown("exclude", key, zippable | {"label"})


def check_excluded(grids: Sequence[Grid]) -> None:
    """Raise ConfigError if an exclusion names a value that no grid of a study has.

    The old values of an axis that the command line replaces are valid too.
    """
    values_of: dict[str, list[Any]] = {}
    for grid in grids:
        for key, values in [*grid.axes.items(), *grid.replaced.items()]:
            values_of.setdefault(key, []).extend(values)
    for key, value in _exclusions(grids):
        if key != "label" and value not in values_of[key]:
            raise unknown(f"exclude.{key}", value, {str(each) for each in values_of[key]})


def check_excluded_labels(grids: Sequence[Grid], labels: Iterable[str]) -> None:
    """Raise ConfigError if an exclusion names a label that no variant has."""
    names = set(labels)
    for key, value in _exclusions(grids):
        if key == "label" and value not in names:
            raise unknown("exclude.label", value, names)


def _exclusions(grids: Iterable[Grid]) -> Iterator[tuple[str, Any]]:
    for grid in grids:
        for rule in grid.excluded:
            for key, values in rule.items():
                yield from ((key, value) for value in several(values))


def several(value: Any) -> list[Any]:
    """Return a list as it is, and anything else as a list of one."""
    return value if isinstance(value, list) else [value]


def flat(values: Iterable[Any]) -> list[Any]:
    """Return the values of an axis with nested lists flattened: ``[a,b]`` is ``a,b``."""
    return [x for value in values for x in (flat(value) if isinstance(value, list) else [value])]


def listed(value: Any, key: str, kind: type) -> list[Any]:
    """Return ``value`` as a list of ``kind``; a single item or None is accepted."""
    values = [] if value is None else several(value)
    for each in values:
        if not isinstance(each, kind):
            what = "names of axes" if kind is str else "mappings such as {algo: dqn, env: taxi}"
            raise ConfigError(f"{key}={each} must be a list of {what}")
    return list(values)


def seeds(values: Iterable[Any]) -> list[int]:
    """Return the distinct seeds that a ``seed`` axis names, in order."""
    numbers = flat(values)
    for value in numbers:
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**31:
            raise ConfigError(f"seed={value} must be a whole number from 0 to 2147483647")
    if not numbers:
        raise ConfigError("seed has no value: seed=3, seed=0,1,2 or seed='range(0,10)'")
    return list(dict.fromkeys(numbers))
