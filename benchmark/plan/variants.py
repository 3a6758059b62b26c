"""Variants: an algorithm with one of its declared components removed or added.

``grid.py`` describes how to request them. A foundation (replay, target network) belongs to the base
agent too: only a request by name removes it.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from omegaconf import DictConfig, OmegaConf

from prism.algos.core.agent import Agent, Component, Family

from ..store import schema
from ..store.agents import agent_class, agent_name
from ..util.errors import ConfigError, unknown
from . import config as cfg

WORDS = ("preset", "leave_one_out", "add_one_in", "none")


class Change(NamedTuple):
    """One variant of a preset: its label, kind, component, and the settings that it changes."""

    label: str
    kind: str
    component: str | None
    values: dict[str, Any]


def label(algo: DictConfig) -> str:
    """Return a preset's name in tables: its ``label``, else its name."""
    return str(algo.get("label") or algo.name)


def is_off(component: Component, algo: DictConfig) -> bool:
    """Return whether a component is off; its switch is the first key of its ``off``."""
    switch, value = next(iter(component.off.items()))
    chosen = OmegaConf.select(algo, switch)
    return bool(chosen != component.on[switch] if component.exact else chosen == value)


def idle(change: Change, agent: type[Agent], algo: DictConfig) -> str | None:
    """Return why a variant would be the preset under another name, in one clause; else None."""
    where = next((c.where for c in agent.COMPONENTS if c.name == change.component), {})
    for key, values in where.items():
        if (value := OmegaConf.select(algo, key)) not in values:
            return f"{change.component} changes nothing where {key}={value}"
    return None


def changes(agent: type[Agent], algo: DictConfig, word: str) -> list[Change]:
    """Return the variants of a preset that one word of the ``components`` axis requests.

    Raises:
        ConfigError: an unknown word or component.
    """
    name = label(algo)
    on = [c for c in agent.COMPONENTS if not is_off(c, algo)]
    off = [c for c in agent.COMPONENTS if is_off(c, algo)]
    match word:
        case "preset":
            return [Change(name, schema.PRESET, None, {})]
        case "leave_one_out":
            return [_without(name, c) for c in on if not c.foundation]
        case "add_one_in":
            return [_with(name, c) for c in off if not c.foundation]
        case "none":
            values = {key: v for c in on if not c.foundation for key, v in c.off.items()}
            return [Change(f"{name} - all", schema.LEAVE_ONE_OUT, None, values)] if values else []
    sign, names = word[:1], [c.name for c in agent.COMPONENTS]
    if sign not in ("-", "+") or word[1:] not in names:
        raise unknown("components", word, [*WORDS, *(s + n for n in names for s in "-+")])
    changed = [_without(name, c) for c in on] if sign == "-" else [_with(name, c) for c in off]
    return [change for change in changed if change.component == word[1:]]


def _without(name: str, component: Component) -> Change:
    label = f"{name} - {component.name}"
    return Change(label, schema.LEAVE_ONE_OUT, component.name, dict(component.off))


def _with(name: str, component: Component) -> Change:
    return Change(
        f"{name} + {component.name}", schema.ADD_ONE_IN, component.name, dict(component.on)
    )


def family(agent: str) -> Family:
    """Return the family that an agent's own class declares, or an empty one.

    Raises:
        ConfigError: its base or full is not a preset of this agent.
    """
    declared: Family = vars(agent_class(agent)).get("FAMILY", Family())
    for role, preset in (("base", declared.base), ("full", declared.full)):
        if preset is None:
            continue
        if preset not in cfg.options("algo"):
            raise unknown(f"FAMILY.{role} of agent {agent}", preset, cfg.options("algo"))
        owner = agent_name(cfg.composed(f"algo={preset}").algo.agent)
        if owner != agent_name(agent):
            raise ConfigError(f"FAMILY.{role} of agent {agent}: {preset!r} is of agent {owner}")
    return declared


def tuned(algo: str, env: str) -> str | None:
    """Return the tuned file of a preset on an environment: its own, else its agent's, or None."""
    agent = agent_name(str(cfg.composed(f"algo={algo}").algo.agent))
    names = (f"{algo}_{env}", f"{agent}_family_{env}")
    return next((name for name in names if name in cfg.options("tuned")), None)


def difference(algo: DictConfig, other: DictConfig) -> dict[str, Any]:
    """Return the entries of ``algo`` that differ from ``other``, names and labels aside."""
    ours, theirs = (dict(OmegaConf.to_container(node)) for node in (algo, other))  # type: ignore[arg-type]
    return {
        str(key): value
        for key, value in ours.items()
        if key not in ("name", "label", "agent") and value != theirs.get(key)
    }


def describe(
    change: Change,
    agent: type[Agent],
    algo: DictConfig,
    base: DictConfig | None,
    full: str | None,
    named: Mapping[str, Any],
) -> schema.Variant:
    """Return the record of a variant.

    Args:
        change: what the ``components`` axis made of the preset.
        agent: the agent's class; algo: its final config.
        base: the config of the preset without components, in the same environment, if there is one.
        full: the label of the preset with all components, if there is one.
        named: the keys set by hand that the label shows, with their values.

    Raises:
        ConfigError: a key set by hand undoes the variant's change.
    """
    off = [c.name for c in agent.COMPONENTS if is_off(c, algo)]
    on = [c.name for c in agent.COMPONENTS if c.name not in off]
    everything = change.kind == schema.LEAVE_ONE_OUT and change.component is None
    studied = [c.name for c in agent.COMPONENTS if not c.foundation]
    undone = {
        schema.LEAVE_ONE_OUT: set(on) & set(studied if everything else [change.component]),
        schema.ADD_ONE_IN: set(off) & {change.component},
    }
    if undone.get(change.kind):
        raise ConfigError(
            f"a key that you set contradicts the variant {change.label!r}; drop one of them"
        )
    own = label(algo)
    base_label = label(base) if base is not None else f"{full or own} - all"
    suffix = "".join(f", {key.removeprefix('algo.')}={_text(v)}" for key, v in named.items())
    overrides = {key.removeprefix("algo."): v for key, v in named.items()}
    if everything and base is not None:
        overrides = difference(algo, base)
    return schema.Variant(
        label=change.label + suffix,
        kind=schema.SWEEP if named and change.kind == schema.PRESET else change.kind,
        base=(own if change.kind == schema.ADD_ONE_IN else base_label) + suffix,
        full=(own if change.kind == schema.LEAVE_ONE_OUT else full or own) + suffix,
        on=on,
        off=off,
        component=change.component,
        overrides={**change.values, **overrides} if change.component else overrides,
    )


def _text(value: Any) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "true", False: "false", None: "null"}[value]
    return f"{value:g}" if isinstance(value, float) else str(value)
