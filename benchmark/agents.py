"""Find an agent by its config string ``"module:Class"``."""

from importlib import import_module

from algos.core.agent import Agent
from benchmark.errors import ConfigError


def agent_class(path: str) -> type[Agent]:
    """Return the class that ``"module:Class"`` names.

    Raises:
        ConfigError: the string has another form, or names nothing that can be imported.
    """
    module, _, name = str(path).partition(":")
    try:
        found: type[Agent] = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise ConfigError(
            f"algo.agent must name a class as 'module:Class', got {path!r} ({error})"
        ) from None
    return found
