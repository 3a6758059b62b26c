"""Documentation of a preset or an environment, as data and as text for a terminal.

It is read from what runs: composed configs, declared settings, the agent's components, family and
presets, and the names of the tuned files.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from types import NoneType
from typing import Any, get_args, get_type_hints

from omegaconf import DictConfig, OmegaConf

from prism.algos.core.agent import Component, Preset
from prism.algos.core.settings import defaults, described

from ..envs.config import EnvConfig, EnvWrappers
from ..store.agents import agent_class, agent_name, policies
from ..util.errors import unknown
from . import config as cfg
from . import variants

WIDTH = 100  # of a text, in columns


@dataclass(frozen=True)
class SettingDoc:
    """A setting with its value in a preset or a file of conf/env."""

    key: str  # dotted, without "algo." or "env."
    kind: str  # "float", "int | None", "list[int]"
    value: Any  # in this preset or file
    default: Any  # of the class
    meaning: str
    bounds: str  # in words; empty where it has none
    choices: tuple[str, ...]


@dataclass(frozen=True)
class ComponentDoc:
    """A component of an agent; ``is_on`` says whether the preset has it."""

    name: str
    paper: str
    on: Mapping[str, Any]
    off: Mapping[str, Any]
    is_on: bool
    foundation: bool
    where: Mapping[str, Sequence[Any]]


@dataclass(frozen=True)
class AlgoDoc:
    """A preset of conf/algo."""

    name: str
    label: str
    about: str
    paper: str
    agent: str
    max_seeds: int | None
    policies: tuple[str, ...]  # forms in which its policy can be evaluated, the default first
    base: str | None  # the presets that component studies compare with
    full: str | None
    settings: tuple[SettingDoc, ...]
    components: tuple[ComponentDoc, ...]
    presets: tuple[str, ...]  # of the same agent, this one among them
    tuned: tuple[str, ...]  # environments with a tuned file


@dataclass(frozen=True)
class EnvDoc:
    """A file of conf/env."""

    name: str
    id: str | None  # null where it has to be set
    budget: int
    random_score: float | None
    reference_score: float | None
    score_source: str
    wrappers: Mapping[str, Any]  # those that are set
    settings: tuple[SettingDoc, ...]
    tuned: tuple[str, ...]  # algorithms with a tuned file


def describe_algo(name: str) -> AlgoDoc:
    """Return the documentation of a preset.

    Raises:
        ConfigError: there is no such preset, or its agent cannot be imported.
    """
    with cfg.session():
        algo = cfg.composed(f"algo={name}").algo
        agent, cls = agent_name(algo.agent), agent_class(algo.agent)
        family = variants.family(algo.agent)
        about = getattr(cls, "PRESETS", {}).get(name, Preset(""))
        nodes = cfg.nodes("algo", cfg.options("algo"))
        presets = [n for n, node in nodes.items() if agent_name(str(node.get("agent"))) == agent]
        return AlgoDoc(
            name=name,
            label=variants.label(algo),
            about=about.about,
            paper=about.paper,
            agent=agent,
            max_seeds=cls.max_seeds,
            policies=policies(cls, algo),
            base=family.base,
            full=family.full,
            settings=tuple(_settings(cls.Config, _plain(algo))),
            components=tuple(_component(each, algo) for each in cls.COMPONENTS),
            presets=tuple(presets),
            tuned=tuple(env for env in cfg.options("env") if variants.tuned(name, env)),
        )


def describe_env(name: str) -> EnvDoc:
    """Return the documentation of an environment.

    Raises:
        ConfigError: there is no such file.
    """
    with cfg.session():
        values = _plain(cfg.composed(f"env={name}").env)
        usual = defaults(EnvWrappers)
        wrappers = {k: v for k, v in values["wrappers"].items() if v != usual[k]}
        scores = ("budget", "random_score", "reference_score", "score_source")
        return EnvDoc(
            name=name,
            id=None if values["id"] == "???" else values["id"],
            wrappers=wrappers,
            settings=tuple(_settings(EnvConfig, values)),
            tuned=tuple(algo for algo in cfg.options("algo") if variants.tuned(algo, name)),
            **{key: values[key] for key in scores},
        )


def _plain(node: DictConfig) -> dict[str, Any]:
    """Return a config as written: references are not resolved."""
    plain = OmegaConf.to_container(node, resolve=False)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def _component(component: Component, algo: DictConfig) -> ComponentDoc:
    return ComponentDoc(
        name=component.name,
        paper=component.paper,
        on=dict(component.on),
        off=dict(component.off),
        is_on=not variants.is_off(component, algo),
        foundation=component.foundation,
        where=dict(component.where),
    )


def _settings(config: type, values: Mapping[str, Any], prefix: str = "") -> Iterator[SettingDoc]:
    kinds, usual = get_type_hints(config), defaults(config)
    for name, about, nested in described(config):
        value = values[name]
        if nested is not None and isinstance(value, Mapping):
            yield from _settings(nested, value, f"{prefix}{name}.")
            continue
        kind = kinds[name]
        yield SettingDoc(
            key=f"{prefix}{name}",
            kind=kind.__name__ if isinstance(kind, type) and not get_args(kind) else str(kind),
            value=value,
            default=usual.get(name),
            meaning=about.meaning if about else "",
            bounds=_bounds(about.bounds, kind) if about else "",
            choices=about.choices if about else (),
        )


def _bounds(bounds: str, kind: Any) -> str:
    return f"{bounds}, or null" if bounds and NoneType in get_args(kind) else bounds


def describe(word: str) -> AlgoDoc | EnvDoc:
    """Return the documentation that a command-line word requests: algo=dqn, env=cartpole.

    Raises:
        ConfigError: it is neither.
    """
    group, _, name = word.partition("=")
    if group == "algo":
        return describe_algo(name)
    if group == "env":
        return describe_env(name)
    raise unknown("help", word, ("algo=<name>", "env=<name>", "study=<name>"))


def text(doc: AlgoDoc | EnvDoc) -> str:
    """Return a documentation as plain text, at most ``WIDTH`` columns wide."""
    lines = _algo_lines(doc) if isinstance(doc, AlgoDoc) else _env_lines(doc)
    return "\n".join(lines) + "\n"


def _algo_lines(doc: AlgoDoc) -> Iterator[str]:
    yield from _title(doc.label, f"algo={doc.name}")
    seeds = "any number of seeds" if doc.max_seeds is None else f"at most {doc.max_seeds} seed(s)"
    facts = {
        "what": doc.about,
        "paper": doc.paper,
        "agent": f"{doc.agent}; {seeds} in one process",
        "evaluated": " by default, or ".join(doc.policies),
        "presets": ", ".join(doc.presets),
        "studies": ", ".join(f"{k} {v}" for k, v in (("base", doc.base), ("full", doc.full)) if v),
        "tuned for": ", ".join(doc.tuned)
        + "; these use their tuned file unless tuned=false" * bool(doc.tuned),
    }
    yield from _facts(facts)
    yield from ("", "Settings, algo.<key>=<value>; * differs from the agent's default", "")
    yield from _table(s for s in doc.settings if s.key not in ("agent", "name", "label"))
    if doc.components:
        yield from ("", "Components, components=leave_one_out, add_one_in, none, -<name>, +<name>;")
        yield from ("* is studied only if you name it", "")
        for each in doc.components:
            yield from _component_lines(each)


def _component_lines(doc: ComponentDoc) -> Iterator[str]:
    state = "on" if doc.is_on else "off"
    yield from _hung(f"{'*' if doc.foundation else ' '} {doc.name:<27} {state:<5}", doc.paper)
    where = "; ".join(f"{k} is {' or '.join(map(_said, v))}" for k, v in doc.where.items())
    parts = [f"{word}: {_assigned(values)}" for word, values in (("on", doc.on), ("off", doc.off))]
    yield from _hung(" " * 36, "; ".join([*parts, *([f"where {where}"] if where else [])]))


def _assigned(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={_said(value)}" for key, value in values.items())


def _env_lines(doc: EnvDoc) -> Iterator[str]:
    yield from _title(doc.name, f"env={doc.name}")
    scores = {"random score": doc.random_score, "reference score": doc.reference_score}
    facts = {
        "id": doc.id or "to be set: env.id=<a registered id>",
        "budget": f"{doc.budget} environment steps of one seed",
        **{name: _said(score) for name, score in scores.items() if score is not None},
        "scores from": doc.score_source,
        "wrappers": _assigned(doc.wrappers),
        "tuned for": ", ".join(doc.tuned),
    }
    yield from _facts(facts)
    yield from ("", "Settings, env.<key>=<value>; * differs from the default", "")
    title_keys = ("name", "id", "budget", "random_score", "reference_score", "score_source")
    yield from _table(s for s in doc.settings if s.key not in title_keys)


def _title(name: str, word: str) -> Iterator[str]:
    yield from (f"{name}  ({word})", "")


def _facts(facts: Mapping[str, str]) -> Iterator[str]:
    width = max(map(len, facts)) + 2
    for name, fact in facts.items():
        if fact:
            yield from _hung(f"{name:<{width}}", fact)


def _table(settings: Iterator[SettingDoc]) -> Iterator[str]:
    for doc in settings:
        mark = " " if doc.value == doc.default else "*"
        takes = ", ".join(doc.choices) or doc.bounds
        default = f"default {_said(doc.default)}" if doc.value != doc.default else ""
        about = (doc.meaning, f"[{takes}]" if takes else "", default)
        yield from _hung(
            f"{mark} {doc.key:<22} {_said(doc.value):<15}", " ".join(filter(None, about))
        )


def _hung(head: str, body: str) -> Iterator[str]:
    """Yield a head with its body beside it, or below it if the head is too long."""
    indent = min(len(head), 40) + 1
    lines = wrap(body, WIDTH - indent, break_on_hyphens=False)
    if len(head) > 40 or not lines:
        yield from wrap(head.rstrip(), WIDTH, subsequent_indent="    ") or [""]
    else:
        yield f"{head} {lines.pop(0)}"
    yield from (" " * indent + line for line in lines)


def _said(value: Any) -> str:
    """Return a value as a command line takes it."""
    if isinstance(value, float):
        return f"{value:g}"
    return value if isinstance(value, str) else json.dumps(value, default=str)
