"""What a results folder may make this process run: nothing but what its user has named.

A folder may come from somebody else, so it is data. What it names loads if Prism or an installed
distribution registers it (``prism.agents``, ``prism.wrappers``, ``prism.trackers``). Everything
else that names code, or a variable of the environment, is refused until the user has named it:

- he has launched it in this study: launches are kept in ``$XDG_STATE_HOME/prism/launched.json``,
  outside of every results folder, each name with the file that it stood for;
- or it stands in a file of his ``--config-dir``;
- or he says ``--trust``.

``spec`` is the only way from a folder's config to a ``RunSpec``. What stands on a command line or
in a study's file does not come this way: naming it there is what trusts it.
"""

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

from prism.algos.core.settings import check

from ..envs import outside
from ..envs.config import EnvConfig
from ..util import atomic, registry
from ..util.errors import ConfigError
from ..util.files import read_bytes
from ..util.secrets import references
from ..util.text import shown
from . import agents, reader, trackers
from .spec import EvaluationConfig, Limits, RunSpec, TrackingConfig

_OURS = ("ale_py",)  # what conf/env imports
_FILE = "launched.json"
_PARTS: dict[str, type] = {
    "env": EnvConfig,
    "evaluation": EvaluationConfig,
    "tracking": TrackingConfig,
    "limits": Limits,
}


class _Grant(NamedTuple):
    everything: bool
    named: Callable[[], Iterable[str]]  # names in the user's own files


_grant: ContextVar[_Grant] = ContextVar("grant")
_NOTHING = _Grant(False, tuple)


class Name(NamedTuple):
    """Something in a config that is not data."""

    key: str
    text: str
    module: str  # "" for a reference to the environment


@contextmanager
def granted(everything: bool, named: Callable[[], Iterable[str]] = tuple) -> Iterator[None]:
    """Trust the folders that are read inside.

    Args:
        everything: whatever they name.
        named: returns the names that the user's own files hold.
    """
    token = _grant.set(_Grant(everything, named))
    try:
        yield
    finally:
        _grant.reset(token)


def everything() -> bool:
    """Return whether the user has said ``--trust``."""
    return _grant.get(_NOTHING).everything


def spec(config: Mapping[str, Any], study_dir: Path) -> RunSpec:
    """Return the spec of a config that a study's folder holds.

    Raises:
        ConfigError: it names code or variables that the user has not, or cannot be read here.
    """
    names = list(foreign(config))
    if names and not everything():
        _check(names, study_dir)
    agent = agents.agent_class(config["algo"]["agent"]).Config
    for part, kind in {**_PARTS, "algo": agent}.items():
        reader.hold(config.get(part) or {}, kind, part)
    spec = RunSpec.parse(config)
    try:
        for part in _PARTS:
            check(getattr(spec, part), prefix=f"{part}.")
    except ValueError as error:
        raise ConfigError(f"{study_dir}: {error}") from None
    return spec


def _check(names: Iterable[Name], study_dir: Path) -> None:
    known = {*_grant.get(_NOTHING).named(), *_launched().get(_key(study_dir), ())}
    for name in names:
        if not {name.text, _entry(name)} & known:
            what = "load code" if name.module else "read your environment"
            raise ConfigError(
                f"{name.key}={shown(name.text)} would {what}, and you have not launched it in "
                f"{study_dir}: say --trust if you trust who made this folder"
            )


def foreign(config: Mapping[str, Any]) -> Iterator[Name]:
    """Yield what a config names beyond Prism and the entry points of installed distributions.

    Raises:
        ConfigError: a part that names code has another form.
    """
    algo, env, tracking = config["algo"], config["env"], config.get("tracking") or {}
    named = [("algo.agent", algo.get("agent"), agents.registered())]
    wrappers = env.get("wrappers")
    extra = wrappers.get("extra") if isinstance(wrappers, Mapping) else None
    for i, entry in enumerate(_listed("env.wrappers.extra", extra)):
        text = entry.get("class") if isinstance(entry, Mapping) else entry
        named.append((f"env.wrappers.extra.{i}.class", text, outside.names()))
    for i, text in enumerate(_listed("tracking.sinks", tracking.get("sinks"))):
        named.append((f"tracking.sinks.{i}", text, trackers.registered()))
    named.append(("env.imports", env.get("imports") or _OURS[0], dict.fromkeys(_OURS, "")))
    for key, text, known in named:
        if not isinstance(text, str):
            raise ConfigError(f"{key}: {text!r} is not a text")
        loads = ":" in text or key == "env.imports"  # a bare name is registered, or unknown
        if loads and text not in known and text not in known.values():
            yield Name(key, text, text.partition(":")[0])
    for part in ("algo", "env"):
        for key, text in references(config[part], part):
            yield Name(key, text, "")


def _listed(key: str, value: Any) -> list[Any]:
    if not isinstance(value, list | None):
        raise ConfigError(f"{key}: {value!r} is not a list")
    return value or []


def remember(study_dir: Path, configs: Iterable[Mapping[str, Any]]) -> None:
    """Keep what the user launches in a study, so that he can go on without ``--trust``.

    Does nothing where his state folder cannot be written.
    """
    entries = {_entry(name) for config in configs for name in foreign(config)}
    if entries:
        _keep(lambda kept: {_key(study_dir): sorted({*kept.get(_key(study_dir), ()), *entries})})


def moved(study_dir: Path, target: Path) -> None:
    """Let a study that gets another folder keep what was launched in it."""
    if names := _launched().get(_key(study_dir)):
        _keep(lambda kept: {_key(target): names})


def _keep(changes: Callable[[dict[str, list[str]]], dict[str, list[str]]]) -> None:
    with suppress(OSError, RuntimeError), atomic.mutex(_folder()):
        kept = _launched()
        there = {study: names for study, names in kept.items() if Path(study).exists()}
        content = json.dumps({**there, **changes(kept)}, indent=1)
        atomic.write(_folder() / _FILE, content.encode())


def _launched() -> dict[str, list[str]]:
    """Return what was launched, by study; nothing if the record is absent or broken."""
    with suppress(OSError, ValueError, TypeError, AttributeError, RuntimeError):
        kept = json.loads(read_bytes(_folder() / _FILE))
        return {study: list(names) for study, names in kept.items()}
    return {}


def _folder() -> Path:
    state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(state) / "prism"


def _key(study_dir: Path) -> str:
    return os.path.realpath(study_dir)


def _entry(name: Name) -> str:
    """Return what is kept of a name: another file of the same name is another module."""
    origin = f" from {registry.origin(name.module)}" if name.module else ""
    return f"{name.key}={name.text}{origin}"
