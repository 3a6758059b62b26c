"""Finds trackers by registered name ("wandb") or "module:Class", and checks their contract."""

from collections.abc import Iterable
from functools import cache
from importlib.util import find_spec
from typing import Any

from ..util import registry
from ..util.errors import ConfigError

# Built in; each needs the package of its name. Installed packages add theirs in the entry-point
# group "prism.trackers".
_OURS = {
    "wandb": "prism.benchmark.tracking.wandb:WandbMirror",
    "tensorboard": "prism.benchmark.tracking.tensorboard:TensorBoard",
    "trackio": "prism.benchmark.tracking.trackio:Trackio",
}
_KEY = "tracking.sinks"
_MEMBERS = ("begin", "log", "finish")  # status may be an attribute of the object alone


@cache
def registered() -> dict[str, str]:
    """Return the class, as "module:Class", of every registered tracker."""
    return registry.registered("prism.trackers", _OURS)


def check(sinks: Iterable[str]) -> None:
    """Check the names of trackers before anything runs.

    Raises:
        ConfigError: an unknown name, a class that is no tracker, or a package that is missing.
    """
    for name in sinks:
        if name not in _OURS:
            tracker_class(name)
        elif find_spec(name) is None:
            raise ConfigError(f"{_KEY}: {name} is not installed: pip install 'prism-rl[{name}]'")


def tracker_class(name: str) -> type[Any]:
    """Return the class of a tracker.

    Raises:
        ConfigError: the string names nothing that can be imported, or the class lacks a part of the
            contract.
    """
    cls: type[Any] = registry.find(_KEY, name, registered())
    if lacks := [member for member in _MEMBERS if not hasattr(cls, member)]:
        raise ConfigError(
            f"{_KEY}={name} lacks {', '.join(lacks)}; the whole contract is Tracker in"
            " benchmark/tracking/tracker.py"
        )
    return cls
