"""Prism takes reinforcement-learning agents apart.

Two calls do most: ``prism.run(algo="dqn", env="cartpole", seeds=range(5))`` trains and returns a
study, ``prism.load("results/mine")`` reads one.

The packages ``algos``, ``analysis``, ``benchmark`` and ``conf`` are at the top of the repository,
with links to them in this folder. An installed Prism has the folders themselves in ``prism``, so
that it occupies no other name in ``site-packages``.
"""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prism.api import choice, load, run
    from prism.benchmark.util.errors import ConfigError

__all__ = ["ConfigError", "choice", "load", "run"]

_here = Path(__file__).resolve().parent
if not (_here / "algos").is_dir():  # a checkout whose Git writes no links, on Windows
    __path__.append(str(_here.parent))

_PLACES = {
    **dict.fromkeys(("choice", "load", "run"), "prism.api"),
    "ConfigError": "prism.benchmark.util.errors",
}


def __getattr__(name: str) -> Any:
    """Import public names on first use, because torch and pandas take seconds."""
    if name == "__version__":
        return import_module("prism.benchmark.util.versions").version("prism-rl")
    if name not in _PLACES:
        raise AttributeError(f"module 'prism' has no attribute {name!r}")
    return getattr(import_module(_PLACES[name]), name)
