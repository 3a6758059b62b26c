"""The values of ``env.record``: those it names in the ``info`` of an episode's last step."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..util.errors import ConfigError

_RESERVED = ("return", "length", "episodes")  # columns of every run


def check(record: Sequence[str]) -> None:
    """Check that every name is a valid column name.

    Raises:
        ConfigError: one line with the invalid name.
    """
    for i, name in enumerate(record):
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"env.record: {name!r} is not a name of letters, digits and _")
        if name in _RESERVED or name in record[:i]:
            reason = "is always recorded" if name in _RESERVED else "is listed twice"
            raise ConfigError(f"env.record: {name!r} {reason}; leave it out")


def of(info: Mapping[str, Any], record: Sequence[str]) -> tuple[float, ...]:
    """Return the recorded values in the info of an episode's last step, NaN for missing ones.

    Raises:
        ConfigError: a value is not a finite number or bool.
    """
    return tuple(_number(name, info[name]) if name in info else np.nan for name in record)


def _number(name: str, value: Any) -> float:
    try:
        array = np.asarray(value)
        valid = array.shape == () and array.dtype.kind in "biuf" and not np.isinf(array)
    except (TypeError, ValueError):  # such as a ragged list
        valid = False
    if not valid:
        raise ConfigError(f"env.record: info[{name!r}] is {describe(value)}, not a finite number")
    return float(value)


def describe(value: Any) -> str:
    """Return the first line of a value, shortened, and its type."""
    text = "".join(str(value).splitlines()[:1])[:40]
    return f"{text!r} ({type(value).__name__})"


def means(episodes: Sequence[Sequence[tuple[float, ...]]], count: int) -> np.ndarray:
    """Return the mean of every recorded value over the episodes that have it.

    Args:
        episodes: per seed, what ``drain`` returned: (return, length, *values).
        count: number of values per episode, F.

    Returns:
        ``[K, F]``, NaN where no episode of the seed has the value.
    """
    out = np.full((len(episodes), count), np.nan)
    for k, done in enumerate(episodes):
        for i in range(count):
            values = [episode[2 + i] for episode in done if not np.isnan(episode[2 + i])]
            if values:
                out[k, i] = np.mean(values)
    return out
