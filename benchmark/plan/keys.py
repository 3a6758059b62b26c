"""Lists every key of the command line, read from the schemas."""

from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from ..envs.config import EnvConfig
from ..store.agents import agent_class
from ..util.errors import ConfigError
from .config import composed, options, session
from .root import Root


def keys() -> dict[str, Any]:
    """Return ``{"root": keys, "algo": {preset: keys below algo}}``, nested ones with dots.

    A preset whose agent cannot be imported is left out.
    """
    root = [key for key in _below(Root()) if key.partition(".")[0] not in ("algo", "env")]
    env = [f"env.{key}" for key in _below(EnvConfig())]
    algo = {}
    with session():
        for name in options("algo"):
            try:
                agent = agent_class(composed(f"algo={name}").algo.agent)
            except ConfigError:
                continue
            algo[name] = sorted(_below(agent.Config()))
    return {"root": sorted([*root, *env]), "algo": algo}


def _below(config: Any, prefix: str = "") -> Iterator[str]:
    for each in fields(config):
        value = getattr(config, each.name)
        if is_dataclass(value):
            yield from _below(value, f"{prefix}{each.name}.")
        else:
            yield f"{prefix}{each.name}"
