"""The commands that only print: lists, help and configs."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode
from omegaconf import OmegaConf

from ..plan import config as cfg
from ..plan.describe import describe, text
from ..plan.executors import Options, executors, options_class
from ..plan.places import about, files
from ..store.agents import agent_class
from ..store.job import Sweep
from ..util.errors import ConfigError, unknown
from ..util.text import shorten
from . import complete, texts
from .parser import OneLine, add_config_dir, parsed

CONFIGS = ("job", "hydra", "all")
INFO = ("all", "config", "defaults", "defaults-tree", "plugins", "searchpath")
_GROUPS = ("algo", "env", "study", "tracking", "tuned")


def configs(plan: Sweep, options: Options, which: str, package: str | None) -> str:
    """Return the settings of a sweep as YAML: a document for each cell, then the launcher's.

    Args:
        plan: the sweep.
        options: the options of its executor.
        which: "job" for the cells, "hydra" for the launcher, "all" for both.
        package: a dotted key; only the settings below it are returned.

    Raises:
        ConfigError: a cell has no key ``package``.
    """
    documents: dict[str, str] = {}
    seeds: dict[str, list[int]] = {}
    for job in plan.jobs if which != "hydra" else ():
        name = f"{job.variant['label']} on {job.env}"
        seeds.setdefault(name, []).extend(job.seeds)
        documents[name] = _yaml(_below(job.spec.record, package))
    sections = [f"# {name}, {_listed(seeds[name])}\n{documents[name]}" for name in documents]
    if which != "job":
        sections.append("# launcher\n" + _yaml({"hydra": {"launcher": asdict(options)}}))
    return "---\n".join(sections).rstrip()


def _below(node: dict[str, Any], package: str | None) -> Any:
    value: Any = node
    for key in package.split(".") if package else ():
        if not isinstance(value, dict) or key not in value:
            names = value if isinstance(value, dict) else ()
            raise unknown("--package", key, names)
        value = value[key]
    return value


def _yaml(value: Any) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(value))


def _listed(seeds: list[int]) -> str:
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]} to {seeds[-1]}"
    return f"seed{'s' * (len(seeds) > 1)} {', '.join(map(str, seeds))}"


def hydra_info(which: str, overrides: list[str]) -> int:
    """Print Hydra's information on a composition: its defaults tree, its search path, ..."""
    choices = [word for word in overrides if word.partition("=")[0] in _GROUPS]
    with cfg.session(), cfg.one_line_errors():
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        with _logging_as_it_was():
            hydra.show_info(which, "config", choices, run_mode=RunMode.RUN)
    return 0


@contextmanager
def _logging_as_it_was() -> Iterator[None]:
    """Restore the root logger, which Hydra reconfigures to print its information."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)


def _algos() -> list[list[str]]:
    with cfg.session():
        names = cfg.options("algo")
        nodes = cfg.nodes("algo", names)
    labels = {name: str(node.get("label") or name) for name, node in nodes.items()}
    return [[name, _about(str(node.agent), name) or labels[name]] for name, node in nodes.items()]


def _about(agent: str, preset: str) -> str:
    """Return an agent's description of a preset; "" if there is none or its import fails."""
    try:
        presets = getattr(agent_class(agent), "PRESETS", {})
    except ConfigError:
        return ""
    return presets[preset].about if preset in presets else ""


def _envs() -> list[list[str]]:
    with cfg.session():
        nodes = cfg.nodes("env", cfg.options("env"))
    return [
        [
            name,
            "any: env.id=..." if OmegaConf.is_missing(node, "id") else str(node.id),
            f"{node.budget:,} steps",
        ]
        for name, node in nodes.items()
    ]


def _studies() -> list[list[str]]:
    return [[name, about(path)] for name, path in files("study").items()]


def _executors() -> list[list[str]]:
    return [
        [name, (options_class(name).__doc__ or "").splitlines()[0]] for name in sorted(executors())
    ]


_LISTS: dict[str, Callable[[], list[list[str]]]] = {
    "algos": _algos,
    "envs": _envs,
    "studies": _studies,
    "executors": _executors,
}


def _list(words: list[str]) -> int:
    parser = OneLine(prog="prism list", description="List what there is, one line each.")
    parser.add_argument("what", nargs="?", choices=list(_LISTS), metavar=" | ".join(_LISTS))
    add_config_dir(parser)
    what = parsed(parser, words).what
    if what is None:
        print(texts.LISTS, end="")
        return 0
    rows = _LISTS[what]()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print(shorten("  ".join(map(str.ljust, row, widths))))
    return 0


def explained(word: str) -> str:
    """Return the help text of ``algo=<name>``, ``env=<name>`` or ``study=<name>``.

    Raises:
        ConfigError: the name is unknown.
    """
    group, _, name = word.partition("=")
    if group != "study":
        return text(describe(word))
    studies = files("study")
    if name not in studies:
        raise unknown("study", name, studies)
    return f"{studies[name].read_text()}\nRun it: prism study={name}; its price: dry_run=true\n"


def _completion(words: list[str]) -> int:
    return complete.main(["completion", *words])


COMMANDS: dict[str, Callable[[list[str]], int]] = {"completion": _completion, "list": _list}
