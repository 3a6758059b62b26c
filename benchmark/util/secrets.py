"""Keeps keys, tokens and passwords out of every file of the store.

Secrets are the values of environment variables and config keys with a secret-like name, the
passwords in ``.netrc`` and in URLs, and strings in well-known token formats. The process remembers
them, so that a traceback that quotes a config value is cleaned too.

A config may refer to a variable, ``${oc.env:NAME}``. Plans, records and jobs hold the reference;
only the process that builds the environment or the agent resolves it. The resolved value is hidden
in texts if its key or variable has a secret-like name.
"""

import netrc
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any, TextIO, cast
from urllib.parse import quote, unquote

from .errors import ConfigError

HIDDEN = "[hidden]"
_SHORTEST = 8  # a shorter value would also hide harmless text
_WORDS = {
    *("token", "secret", "password", "passwd", "passphrase", "apikey", "credential", "credentials"),
}
_ENDINGS = {"key", "pw", "pwd", "dsn", "auth"}  # the last of several words: DB_PWD, but not PWD
_FORMS = (
    r"\b(?:wandb_v\d_\w{20,}|hf_\w{20,}|gh[pousr]_\w{20,}|github_pat_\w{20,}|glpat-[\w-]{20,}"
    r"|sk-[\w-]{20,}|xox[abprs]-[\w-]{10,}|AKIA[0-9A-Z]{16}|AIza[\w-]{35}|npm_\w{30,}"
    r"|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{5,})"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?-----END [A-Z ]*PRIVATE KEY-----"
)
# what stands before a secret, and the secret
_PLACES = (
    r"(://[^\s/@:\"'<>]*:)[^\s/\"'<>]+(?=@)",  # scheme://user:password@
    r"((?i:\bauthorization\"?'?[:=] *\"?'?(?:basic|bearer|token) +))[\w.~+/=-]{8,}",
    r"((?i:[?&;][\w.-]*(?:token|secret|passw(?:or)?d|pwd|key|sig|signature|auth)=))[^\s&#\"'<>]{8,}",
)
_URL = re.compile(r"(://[^\s/@:\"'<>]*:)([^\s/\"'<>]+)@")
_REFERENCE = re.compile(r"\$\{oc\.env:([^{},]+)\}")
_seen: set[str] = set()  # secret config values of this process


@cache
def is_secret(name: str) -> bool:
    """Return whether values called ``name`` are secret: API_KEY and hf_token, but not key."""
    words = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower())
    return bool(_WORDS & set(words)) or (len(words) > 1 and words[-1] in _ENDINGS)


def clean(value: Any) -> Any:
    """Return JSON-able data with every secret hidden, whatever its key."""
    notice(value)
    return _clean(value)


def notice(value: Any) -> None:
    """Remember the secrets in a config, before anything quotes them."""
    _seen.update(_secret_entries(value))


def clean_text(text: str) -> str:
    """Return text with every known secret hidden."""
    return _known().sub(_hidden, text)


def is_reference(text: str, name: str) -> bool:
    """Return whether a value is safe to store: its secrets are references to the environment.

    "Bearer ${oc.env:NAME}" is safe; a long text beside the reference may itself be a secret.
    """
    rest = _REFERENCE.sub("", text)
    exposed = clean_text(text) != text or (is_secret(name) and len(rest) >= _SHORTEST)
    return rest != text and "${" not in rest and not exposed


def references(config: Any, key: str) -> Iterator[tuple[str, str]]:
    """Yield the key and text of everything in plain data that ``reveal`` would resolve."""
    if isinstance(config, Mapping):
        for name, x in config.items():
            yield from references(x, f"{key}.{name}")
    elif isinstance(config, list):
        for i, x in enumerate(config):
            yield from references(x, f"{key}.{i}")
    elif isinstance(config, str) and _REFERENCE.search(config):
        yield key, config


def reveal(config: Any, key: str) -> Any:
    """Return part of a job's config with its references resolved.

    Args:
        config: plain data.
        key: the name of this part, for messages.

    Raises:
        ConfigError: a variable is not set, or the value was hidden when it was stored.
    """
    if isinstance(config, Mapping):
        return {name: reveal(x, f"{key}.{name}") for name, x in config.items()}
    if isinstance(config, list):
        return [reveal(x, f"{key}.{i}") for i, x in enumerate(config)]
    if not isinstance(config, str):
        return config
    if HIDDEN in config:
        raise ConfigError(
            f"{key} is hidden in this record: refer to a variable, {key}='${{oc.env:NAME}}'"
        )
    for name in _REFERENCE.findall(config):
        if name not in os.environ:
            raise ConfigError(f"{key}: the environment variable {name} is not set here")
        secret = is_secret(name) or is_secret(key.rpartition(".")[2])
        if secret and len(os.environ[name]) >= _SHORTEST:
            _seen.update((os.environ[name], quote(os.environ[name], safe="")))
    return _REFERENCE.sub(lambda match: os.environ[match[1]], config)


def followed(config: Any, key: str = "") -> Any:
    """Return part of a job's config with references resolved, except for secrets.

    Used for a run's identity: another data set makes another run, another password does not.
    """
    if isinstance(config, Mapping):
        return {name: followed(x, str(name)) for name, x in config.items()}
    if isinstance(config, list):
        return [followed(x, key) for x in config]
    if not isinstance(config, str) or "${" not in config or is_secret(key):
        return config

    def value(match: re.Match[str]) -> str:
        text = os.environ.get(match[1], match[0])
        return match[0] if is_secret(match[1]) or clean_text(text) != text else text

    return _REFERENCE.sub(value, config)


@contextmanager
def clean_output() -> Iterator[None]:
    """Hide secrets in what this process prints, whoever prints it: an environment, a warning."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, CleanStream(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


class CleanStream:
    """Wraps a text stream and hides secrets in what is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write cleaned text."""
        return self.stream.write(clean_text(text))

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


def _secret_entries(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, x in value.items():
            if isinstance(x, str) and _hideable(x):
                yield from [x] if is_secret(str(key)) else _in_urls(x)
            yield from _secret_entries(x)
    elif isinstance(value, list | tuple):
        for x in value:
            yield from _secret_entries(x)


def _hideable(text: str) -> bool:
    return len(text) >= _SHORTEST and HIDDEN not in text and not _REFERENCE.search(text)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, Mapping):
        return {key: _clean(x) for key, x in value.items()}
    return [_clean(x) for x in value] if isinstance(value, list | tuple) else value


def _hidden(match: re.Match[str]) -> str:
    """Return what stands for a secret: "[hidden]", behind what says what it is."""
    head = next(filter(None, match.groups()), "")
    return (clean_text(head) if head else "") + HIDDEN


def _in_urls(text: str) -> Iterator[str]:
    """Yield the passwords of the URLs in a text, as they stand there and decoded."""
    for _, password in _URL.findall(text) if "://" in text else ():
        if len(password) >= _SHORTEST:
            yield from (password, unquote(password))


def _known() -> re.Pattern[str]:
    """Return a pattern that matches every secret known so far."""
    return _pattern(frozenset({*_of_environment(), *_seen}))


def _of_environment() -> Iterator[str]:
    for name, value in os.environ.items():
        if len(value) >= _SHORTEST and is_secret(name):
            yield from (value, quote(value, safe=""))
        yield from _in_urls(value)
    yield from _of_netrc(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))


@cache
def _of_netrc(path: str) -> tuple[str, ...]:
    try:
        hosts = netrc.netrc(path).hosts.values()
    except (OSError, netrc.NetrcParseError):
        return ()
    return tuple(word for *_, word in hosts if word and len(word) >= _SHORTEST)


@cache
def _pattern(secrets: frozenset[str]) -> re.Pattern[str]:
    longest_first = sorted(secrets, key=len, reverse=True)
    return re.compile("|".join([*map(re.escape, longest_first), *_PLACES, _FORMS]))
