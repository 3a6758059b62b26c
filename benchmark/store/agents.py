"""Find an agent by its config string ``"module:Class"``, and hold it to the contract."""

from dataclasses import fields, is_dataclass
from importlib import import_module
from typing import Any

from prism.algos.core.agent import Agent

from ..util.errors import ConfigError

_MEMBERS = (
    *("Config", "COMPONENTS", "max_seeds", "interacts"),
    *("unsupported", "act", "observe", "update", "state", "load"),
)
_SETTINGS = ("agent", "lanes", "reset")  # of every Config


def agent_class(path: str) -> type[Agent]:
    """Return the class that ``"module:Class"`` names.

    Raises:
        ConfigError: the string has another form or names nothing that can be imported, or the class
            lacks a part of the contract.
    """
    module, _, name = str(path).partition(":")
    if not module or not name:
        raise ConfigError(f"algo.agent must name a class as 'module:Class', got {path!r}")
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"algo.agent={path} cannot be imported: {error}") from None
    if missing := _missing(found):
        raise ConfigError(
            f"algo.agent={path} lacks {', '.join(missing)}; the whole contract is Agent in"
            " algos/core/agent.py"
        )
    agent: type[Agent] = found
    return agent


def _missing(found: Any) -> list[str]:
    lacks = [member for member in _MEMBERS if not hasattr(found, member)]
    if "Config" not in lacks:
        settings = (
            {field.name for field in fields(found.Config)} if is_dataclass(found.Config) else ()
        )
        lacks += [f"Config.{name}" for name in _SETTINGS if name not in settings]
    return lacks
