"""The one reader of a study's JSON files, whoever wrote them.

A folder may come from somebody else, and a file from a broken disk. So each file is held to its
type in ``schema.py`` before anything uses it: what a name is used for as a path is one component
of a path, what is shown has no control characters, numbers are finite and in their range.
"""

import json
import math
import re
import types
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import is_dataclass
from functools import cache
from pathlib import Path
from typing import (
    Annotated,
    Any,
    ClassVar,
    NotRequired,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from ..util.errors import ConfigError
from ..util.files import read_bytes
from ..util.text import CONTROL, shorten, shown
from . import digests, schema

_DEEPEST = 32  # levels of lists and mappings
_LONGEST = 255  # bytes of a name; file systems allow no more
_LARGEST = 2**63 - 1
_LARGEST_FILE = 1 << 30  # bytes; the plan of a million runs has half of it
_SHOWN = 60  # characters of a wrong value

Check = Callable[[Any, str], None]  # a value and its key; raises _Wrong


class _Wrong(Exception):
    """A value is not what it should be; the text names its key."""


def read(path: Path) -> Any:
    """Return the content of a JSON file; None if there is none.

    Raises:
        ConfigError: it is no regular file, no JSON, of another schema, does not hold what
            ``schema.FILES`` says of files of its name, or not what its digest says.
        OSError: it cannot be read.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise ConfigError(f"{path} is too large: {path.stat().st_size} bytes")
        data = read_bytes(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        value = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read ({shown(str(error))})") from None
    kind = schema.FILES.get(path.name) or schema.FILES.get(path.parent.name, dict)
    try:
        _sound(value, _DEEPEST)
        if path.name in digests.SEALED and isinstance(value, dict):
            value = _unsealed(value)
        if "schema" in getattr(kind, "__annotations__", ()):
            _versioned(value, path)
        checker(kind)(value, "")
        if kind is schema.Plan:
            _planned(value)
    except _Wrong as wrong:
        raise ConfigError(f"{path}: {wrong}") from None
    return value


def hold(value: Any, kind: type, key: str) -> None:
    """Hold plain data to the types of a dataclass's fields; what it lacks is not looked at.

    Raises:
        ConfigError: one line that names the first key whose value is of another type.
    """
    try:
        checker(kind)(value, key)
    except _Wrong as wrong:
        raise ConfigError(str(wrong)) from None


def is_name(text: str) -> bool:
    """Return whether a text names a file or folder and nothing above or below it."""
    hidden, parts = text[:1] == ".", re.search(r"[/\\]", text)
    long = len(text.encode(errors="replace")) > _LONGEST
    return bool(text) and not (hidden or parts or long or CONTROL.search(text))


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    schema.NAME: (is_name, "the name of a file or folder"),
    schema.LINE: (lambda text: not CONTROL.search(text), "one line without control characters"),
    schema.COUNT: (lambda n: 0 <= n <= _LARGEST, "a count"),
    schema.POSITIVE: (lambda n: 0 < n <= _LARGEST, "a whole number above 0"),
    schema.FINITE: (lambda x: _finite(x), "a finite number"),
    schema.SEED: (lambda n: 0 <= n < 2**31, "a whole number from 0 to 2147483647"),
}
_WORDS: dict[type, str] = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "a text",
    list: "a list",
    dict: "a mapping",
}


@cache
def checker(hint: Any) -> Check:
    """Return what holds a value to a type: of ``schema.py``, or a field's of a dataclass."""
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return lambda value, key: None
    if origin is NotRequired:
        return checker(arguments[0])
    if origin is Annotated:
        return _ruled(checker(arguments[0]), *_RULES[arguments[1]])
    if origin in (Union, types.UnionType):
        return _either([(checker(each), get_origin(each) or each) for each in arguments])
    if origin is list:
        return _items(checker(arguments[0]))
    if origin is dict:
        return _values(*map(checker, arguments))
    if hasattr(hint, "__required_keys__") or is_dataclass(hint):
        required: frozenset[str] = getattr(hint, "__required_keys__", frozenset())
        return _entries({k: checker(v) for k, v in _hints(hint).items()}, required)
    return _kind(hint) if hint in _WORDS else lambda value, key: None


def _hints(kind: Any) -> dict[str, Any]:
    """Return the types of a class's fields; none if another package's cannot be told."""
    try:
        hints = get_type_hints(kind, include_extras=True)
    except (NameError, TypeError):
        return {}
    return {name: hint for name, hint in hints.items() if get_origin(hint) is not ClassVar}


def _kind(kind: type) -> Check:
    def check(value: Any, key: str) -> None:
        accepted = (int, float) if kind is float else kind
        right = isinstance(value, accepted) and isinstance(value, bool) <= (kind is bool)
        if not right:
            raise _wrong(value, key, _WORDS[kind])

    return check


def _finite(number: float) -> bool:
    try:
        return math.isfinite(number)
    except OverflowError:  # a whole number beyond every float
        return False


def _ruled(check: Check, rule: Callable[[Any], bool], what: str) -> Check:
    def both(value: Any, key: str) -> None:
        check(value, key)
        if not rule(value):
            raise _wrong(value, key, what)

    return both


def _either(options: list[tuple[Check, Any]]) -> Check:
    """Accept None where it is an option, and else what an option accepts."""
    checks = [check for check, kind in options if kind is not type(None)]
    optional = len(checks) < len(options)

    def either(value: Any, key: str) -> None:
        if value is None and optional:
            return
        for check in checks[:-1]:
            with suppress(_Wrong):
                return check(value, key)
        checks[-1](value, key)

    return either


def _items(check: Check) -> Check:
    def items(value: Any, key: str) -> None:
        if not isinstance(value, list):
            raise _wrong(value, key, _WORDS[list])
        for i, each in enumerate(value):
            check(each, f"{key}.{i}")

    return items


def _values(name: Check, check: Check) -> Check:
    def values(value: Any, key: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(value, key, _WORDS[dict])
        for k, each in value.items():
            name(k, f"{key}: the key")
            check(each, f"{key}.{k}")

    return values


def _entries(checks: Mapping[str, Check], required: frozenset[str]) -> Check:
    def entries(value: Any, key: str) -> None:
        if not isinstance(value, dict):
            raise _wrong(value, key, _WORDS[dict])
        for name, check in checks.items():
            if name in value:
                check(value[name], f"{key}.{name}" if key else name)
            elif name in required:
                raise _Wrong(f"{key or 'it'} has no key {name!r}")

    return entries


def _wrong(value: Any, key: str, what: str) -> _Wrong:
    return _Wrong(f"{key or 'it'}: {shorten(repr(value), _SHOWN)} is not {what}")


def _sound(value: Any, levels: int) -> None:
    """Check that a value is not too deep, and that its texts can be written."""
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise _Wrong(f"{shorten(ascii(value), _SHOWN)} is no text: it has half a character")
    elif isinstance(value, dict | list):
        if not levels:
            raise _Wrong(f"it is nested deeper than {_DEEPEST} levels")
        for each in [*value, *value.values()] if isinstance(value, dict) else value:
            _sound(each, levels - 1)


def _unsealed(value: dict[str, Any]) -> dict[str, Any]:
    try:
        return digests.unsealed(value)
    except ValueError as error:
        raise _Wrong(str(error)) from None


def _versioned(value: Any, path: Path) -> None:
    """Check the schema version before anything else: what an older one held is not known here.

    Raises:
        ConfigError: it is another.
    """
    version = value.get("schema") if isinstance(value, dict) else None
    if version != schema.SCHEMA_VERSION:
        told = shorten(repr(version), _SHOWN)
        raise ConfigError(
            f"{path} has schema {told}, this version reads {schema.SCHEMA_VERSION}: set name=... "
            "for a new study, or use the Prism that wrote it"
        )


def _planned(plan: schema.Plan) -> None:
    """Check that a plan has runs, each once, and each with a cell."""
    if not plan["runs"]:
        raise _Wrong("it contains no run")
    seen: set[str] = set()
    for i, run in enumerate(plan["runs"]):
        if run["run_id"] in seen:
            raise _Wrong(f"runs.{i}.run_id: {run['run_id']} is there twice")
        if run["cell"] not in plan["cells"]:
            raise _Wrong(f"runs.{i}.cell: there is no cell {run['cell']}")
        seen.add(run["run_id"])
