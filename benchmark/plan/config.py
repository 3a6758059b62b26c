"""Composes configurations and checks them before anything runs."""

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from copy import deepcopy
from functools import cache
from typing import Any

import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_search_path import ConfigSearchPath
from hydra.core.config_store import ConfigStore
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.plugins import Plugins
from hydra.errors import HydraException, MissingConfigException
from hydra.plugins.search_path_plugin import SearchPathPlugin
from omegaconf import MISSING, DictConfig, OmegaConf
from omegaconf.errors import (
    ConfigKeyError,
    InterpolationToMissingValueError,
    MissingMandatoryValue,
    OmegaConfBaseException,
)

from prism.algos.core.settings import check

from ..envs import outside
from ..envs.config import EnvConfig, EnvWrappers, split_module
from ..envs.config import validate as validate_env
from ..store import trackers
from ..store.agents import agent_class, agent_name, registered
from ..store.spec import RunSpec
from ..util.errors import ConfigError, one_line, unknown
from ..util.secrets import clean, is_reference, notice
from . import study_file
from .aliases import ours
from .executors import executors, options_class
from .places import CONF, config_folders, own_folders, packages
from .root import JOB_KEYS, Root


class SearchPath(SearchPathPlugin):
    """Adds the folders of ``--config-dir``, and the packages named in the group "prism.conf"."""

    def manipulate_search_path(self, search_path: ConfigSearchPath) -> None:
        """Append each of them, in our own application only."""
        if str(CONF) not in [each.path for each in search_path.get_path()]:
            return
        for folder in own_folders():
            search_path.append(provider="config-dir", path=f"file://{folder}")
        for name, package in packages().items():
            search_path.append(provider=name, path=f"pkg://{package}")


def register() -> None:
    """Register the schemas and the search path with Hydra; repeated calls do no harm."""
    Plugins.instance().register(SearchPath)
    store = ConfigStore.instance()
    store.store(group="schema", name="root", node=Root)
    store.store(group="schema", name="env", node=EnvConfig)
    for name in registered():
        node: Any = {"agent": name}  # an import error is reported where the name is used
        with suppress(ConfigError):
            node = agent_class(name).Config
        store.store(group="schema", name=name, node=node)
    for name in executors():
        with suppress(ConfigError):  # an import error is reported where the name is used
            store.store(group="hydra/launcher", name=name, node=options_class(name))


@contextmanager
def session() -> Iterator[None]:
    """Open Hydra's compose API on ``conf/``; restore an outer Hydra application on exit."""
    register()
    outer = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            yield
    finally:
        GlobalHydra.instance().hydra = outer


def options(group: str) -> tuple[str, ...]:
    """Return the names that a config group offers; needs a session."""
    return _options(group, config_folders())


@cache
def _options(group: str, folders: str) -> tuple[str, ...]:
    loader = GlobalHydra.instance().config_loader()
    return tuple(loader.get_group_options(group, results_filter=ObjectType.CONFIG))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn Hydra's errors during composition into one line."""
    try:
        yield
    except MissingConfigException as error:
        group, _, name = str(error.missing_cfg_file).rpartition("/")
        if group == "schema":
            raise _unknown_schema(name) from None
        raise unknown(group, name, error.options or ()) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        study_file.check_own(own_folders())
        raise ConfigError(f"a config file cannot be read: {one_line(error)}") from None
    except (HydraException, OmegaConfBaseException) as error:
        wrong = _WRONG_KEY.search(str(error))
        if wrong:
            file, key, schema = wrong.groups()
            names = list(_fields(schema))
            if called := ours(key, names):
                reason = f"unknown {key!r}; here it is called {' or '.join(called)}"
                raise ConfigError(f"{file}.yaml: {reason}") from None
            raise unknown(f"{file}.yaml", key, names) from None
        if value := _WRONG_VALUE.search(str(error)):
            file, reason, key = value.groups()
            if f"of {EnvWrappers.__name__}." in reason:
                key, reason = (
                    "env.wrappers",
                    "is a mapping; put wrappers of other packages into its key extra",
                )
            told = _in_words(key, reason) if key else reason
            raise ConfigError(f"{file}.yaml: {told}") from None
        raise ConfigError(one_line(error.__cause__ or error)) from None


# Hydra's messages about a key that is not in a file's schema, and about a wrong value
_WRONG_KEY = re.compile(
    r"^In '(\S+)': ConfigKeyError.*\n.*\n\s*full_key: (?:\w+\.)?(\S+)\n.*=(\w+)"
)
_WRONG_VALUE = re.compile(r"^In '(\S+)': \w+ raised while .*\n(.+)(?:\n\s*full_key: ?(\S*))?")


def _fields(schema: str) -> Iterable[str]:
    """Return the fields of the schema of that class name."""
    nodes = ConfigStore.instance().repo["schema"].values()
    types = {OmegaConf.get_type(node.node) for node in nodes}
    return next((t.__dataclass_fields__ for t in types if t and t.__name__ == schema), ())


def _unknown_schema(name: str) -> ConfigError:
    """Return the error for a file in ``algo`` whose agent no package provides."""
    reason = unknown("schema", name, [*registered(), "env"])
    return ConfigError(
        f"{reason}; to add an agent, install its package and list it in the"
        " entry-point group prism.agents"
    )


def _whole(choices: Iterable[str]) -> DictConfig:
    with one_line_errors():
        config = compose("config", overrides=list(choices))
    OmegaConf.set_struct(config, False)  # dataclasses still reject unknown keys; dicts accept them
    return _held(config)


def _held(config: DictConfig) -> DictConfig:
    """Check an algorithm against its agent's dataclass even if its file names no schema."""
    agent = None if OmegaConf.is_missing(config, "algo") else config.get("algo", {}).get("agent")
    if agent is not None:
        schema = OmegaConf.structured(agent_class(agent).Config)
        with _key("algo", schema):
            config.algo = OmegaConf.merge(schema, config.algo)
    return config


@cache
def _part(choice: str, folders: str) -> DictConfig:
    """Return what a single choice adds to a config."""
    with one_line_errors():
        node = compose(overrides=[f"+{choice}"])
    OmegaConf.set_struct(node, False)
    return _held(node)


_ORDER = ("algo", "env", "tuned", "study")  # the end of the defaults list


@cache
def _composed(choices: tuple[str, ...], folders: str) -> DictConfig:
    """Return a composed config, joined from cached parts: Hydra composes slowly."""
    chosen = {choice.partition("=")[0]: choice for choice in choices}
    if not chosen.keys() & {"algo", "env", "tuned"}:
        return _whole(choices)
    try:
        parts = [_part(chosen[group], folders) for group in _ORDER if group in chosen]
    except (
        ConfigError
    ):  # a mistake, or a file that overrides another group: let Hydra compose it whole
        return _whole(choices)
    others = [choice for group, choice in chosen.items() if group not in _ORDER[:-1]]
    config = deepcopy(composed(*others))
    config.algo = config.env = MISSING  # a study's values override the presets'
    with one_line_errors():
        for part in parts:
            config.merge_with(part)
    return config


def nodes(group: str, names: Sequence[str]) -> dict[str, DictConfig]:
    """Return the nodes of several options of a group, composed all at once.

    Options that do not compose are left out; using one reports its error.
    """
    try:
        return _nodes(group, tuple(names), config_folders())
    except ConfigError:
        composable: dict[str, DictConfig] = {}
        for name in names:
            with suppress(ConfigError):
                composable |= _nodes(group, (name,), config_folders())
        return composable


@cache
def _nodes(group: str, names: tuple[str, ...], folders: str) -> dict[str, DictConfig]:
    with one_line_errors():
        config = compose(overrides=[f"+{group}@n{i}={name}" for i, name in enumerate(names)])
    return {name: config[f"n{i}"] for i, name in enumerate(names)}


def composed(*choices: str) -> DictConfig:
    """Return the config of some group choices ("algo=dqn", "env=cartpole", ...).

    The config is cached: copy it before you change it. An outside agent is checked against its
    dataclass even if its YAML names no schema.

    Raises:
        ConfigError: an unknown choice, or a file with a key or value that its schema rejects.
    """
    return _composed(choices, config_folders())


@contextmanager
def _key(key: str, node: Any) -> Iterator[None]:
    """Turn errors of OmegaConf or a dataclass into one line that names ``key``."""
    try:
        yield
    except ConfigKeyError as error:
        wrong = error.full_key or key
        raise unknown_key(wrong, node) from None
    except (MissingMandatoryValue, InterpolationToMissingValueError) as error:
        raise ConfigError(f"{one_line(error).rpartition(': ')[2]} is missing: set it") from None
    except (OmegaConfBaseException, ValueError, TypeError) as error:
        if isinstance(error, ConfigError):
            raise
        inner = getattr(error, "full_key", None)
        prefix = inner if inner and inner.startswith(key) else key
        separator = ": " if prefix == inner or "." in prefix else "."
        raise ConfigError(f"{prefix}{separator}{one_line(error)}") from None


def _flat(node: Any, prefix: str = "") -> Iterator[str]:
    if OmegaConf.is_dict(node):
        for key in node:
            yield f"{prefix}{key}"
            if not (OmegaConf.is_missing(node, key) or OmegaConf.is_interpolation(node, key)):
                yield from _flat(node[key], f"{prefix}{key}.")


def unknown_key(key: str, config: DictConfig) -> ConfigError:
    """Return the one-line error for a key that ``config`` does not have.

    It gives our name for a key of another library, else the nearest keys.
    """
    names = list(_flat(config))
    if called := ours(key, names):
        return ConfigError(f"{key}: no such key; here it is called {' or '.join(called)}")
    near = difflib.get_close_matches(key, names, n=3, cutoff=0.6)
    near = near or difflib.get_close_matches(key, Root.__dataclass_fields__, n=3, cutoff=0.5)
    last = key.rpartition(".")[2]
    near += [n for n in names if n.rpartition(".")[2] == last and n not in near]
    return ConfigError(
        f"{key}: no such key" + (f"; nearest: {', '.join(near[:3])}" if near else "")
    )


def assign(config: DictConfig, key: str, value: Any) -> None:
    """Set one dotted key of a composed config.

    Raises:
        ConfigError: there is no such key, or the value has the wrong type.
    """
    check_key(key, config)
    update(config, key, value)


def check_key(key: str, config: DictConfig) -> None:
    """Raise ConfigError unless a key begins with one of Root's; composed configs accept any."""
    if not is_key(key):
        raise unknown_key(key, config)


def is_key(key: str) -> bool:
    """Return whether a dotted key begins with one of Root's."""
    return key.partition(".")[0] in Root.__dataclass_fields__


def check_agent(config: DictConfig) -> None:
    """Raise ConfigError if an ``algo.agent`` set by hand does not take the preset's config."""
    theirs, ours = agent_class(config.algo.agent).Config, OmegaConf.get_type(config, "algo")
    if theirs is not ours:
        raise ConfigError(
            f"algo.agent={config.algo.agent} takes a {theirs.__name__}, not the config of "
            f"algo={config.algo.name}: choose a preset of that agent by algo="
        )


def update(config: DictConfig, key: str, value: Any) -> None:
    """Set one dotted key of a config; an unknown key or a wrong type is a ConfigError.

    A float without a fraction is a whole number where one is wanted: budget=1e5.
    """
    try:
        OmegaConf.update(config, key, value, merge=True)
        OmegaConf.select(config, key)
    except (ConfigKeyError, AttributeError):
        raise unknown_key(key, config) from None
    except OmegaConfBaseException as error:
        if _wants_whole(error) and repr(whole := _as_int(value)) != repr(value):
            update(config, key, whole)
            return
        holds: Any = None
        with suppress(OmegaConfBaseException):  # a dangling reference
            holds = OmegaConf.select(config, key)
        if OmegaConf.is_dict(holds):
            raise ConfigError(f"{key} takes a mapping of {', '.join(holds)}, got {value}") from None
        if OmegaConf.is_list(holds):
            raise ConfigError(f"{key} takes a list, as in {key}=[a,b], got {value}") from None
        if isinstance(value, list):
            raise ConfigError(f"{key} takes one value, got {value}; {key}=a,b sweeps it") from None
        raise ConfigError(_in_words(key, one_line(error))) from None
    except TypeError:  # a name used as the index of a list
        raise unknown_key(key, config) from None


def _wants_whole(error: Exception) -> bool:
    return one_line(error).endswith("could not be converted to Integer")


def _as_int(value: Any) -> Any:
    """Return a float without a fraction, also in a list, as an int; anything else as it is."""
    if isinstance(value, list):
        return [_as_int(x) for x in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


_TYPES = {"Integer": "a whole number", "Float": "a number"}


def _in_words(key: str, reason: str) -> str:
    """Return OmegaConf's message about a value of the wrong type in plain words."""
    if wrong := re.match(r"Value '(.*)' of type '\w+' could not be converted to (\w+)$", reason):
        return f"{key}={wrong[1]} must be {_TYPES.get(wrong[2], wrong[2])}"
    if wrong := re.match(r"Value '(.*)' is not a valid bool", reason):
        return f"{key}={wrong[1]} must be true or false"
    return f"{key}: {reason}"


def build(config: DictConfig, key: str) -> Any:
    """Build the dataclass that ``config[key]`` describes, which runs its checks.

    Raises:
        ConfigError: a value that the dataclass rejects; the message names the full key.
    """
    with _key(key, config):
        return OmegaConf.to_object(config[key])


def resolved(config: DictConfig) -> RunSpec:
    """Check a cell's config and return the spec of its jobs.

    Raises:
        ConfigError: the first value that is out of range.
    """
    with _key("config", config):
        plain = to_dict(config)
    plain["env"] = split_module(plain["env"])
    hold(plain)
    lanes = plain["algo"].get("lanes", 1)
    if plain["budget"] < lanes:
        raise ConfigError(f"budget={plain['budget']} must be at least algo.lanes={lanes}")
    notice(plain)
    for key in ("algo", "env"):
        raw = OmegaConf.to_container(config[key])
        if "${oc.env:" in str(raw) or clean(plain[key]) != plain[key]:
            plain[key] = _storable(plain[key], raw, key)
    check_device(plain["device"])
    plain["algo"]["agent"] = agent_name(plain["algo"]["agent"])
    wrappers = plain["env"]["wrappers"]
    wrappers["extra"] = outside.stored(wrappers["extra"])
    spec = RunSpec.parse({key: plain[key] for key in JOB_KEYS})
    validate_env(spec.env)
    trackers.check(spec.tracking.active)
    return spec


def hold(values: Mapping[str, Any]) -> None:
    """Raise ConfigError if a value of one of Root's keys is out of bounds."""
    try:
        check(values, Root)
    except ValueError as error:
        raise ConfigError(str(error)) from None


def _storable(value: Any, raw: Any, key: str) -> Any:
    """Return a value that is safe to write: environment variables stay references.

    Raises:
        ConfigError: it holds a secret that does not come from the environment.
    """
    if isinstance(value, dict):
        inner = raw if isinstance(raw, dict) else {}
        return {name: _storable(x, inner.get(name), f"{key}.{name}") for name, x in value.items()}
    if isinstance(value, list):
        items = raw if isinstance(raw, list) else [None] * len(value)
        return [_storable(x, items[i], f"{key}.{i}") for i, x in enumerate(value)]
    texts = isinstance(value, str) and isinstance(raw, str)
    if texts and is_reference(raw, key.rpartition(".")[2]):
        return raw
    if clean(value) == value:
        return value
    raise ConfigError(
        f"{key}: this secret would be written to files; put it into an environment variable "
        f"and set {key}='${{oc.env:NAME}}'"
    )


def stop_after(text: str) -> int | None:
    """Return the number of failed jobs after which a sweep starts no more; None = no limit.

    Raises:
        ConfigError: no such policy.
    """
    word, _, number = text.partition(":")
    if text == "continue":
        return None
    if text == "stop":
        return 1
    if word == "stop_after" and number.isdigit() and int(number) > 0:
        return int(number)
    raise unknown("on_failure", text, ("continue", "stop", "stop_after:3"))


def to_dict(node: DictConfig) -> dict[str, Any]:
    """Return a config as plain data with references to other keys resolved."""
    plain = OmegaConf.to_container(node, resolve=True, throw_on_missing=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def check_device(name: str) -> None:
    """Raise ConfigError unless torch can compute on the device called ``name``."""
    try:
        device = torch.device(name)
    except RuntimeError:
        raise unknown("device", name, ("cpu", "cuda", "cuda:0", "mps")) from None
    available = device.type == "cpu" or (
        (device.index or 0) < torch.cuda.device_count()
        if device.type == "cuda"
        else device.type == "mps" and torch.backends.mps.is_available()
    )
    if not available:
        raise ConfigError(f"device={name} is not available on this machine; use device=cpu")
