"""An episode's facts beyond return and length: what ``env.record`` names of its last ``info``."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..util.errors import ConfigError

_TAKEN = ("return", "length", "episodes")  # columns that every run has


def check(record: Sequence[str]) -> None:
    """Check that every name can be that of a column.

    Raises:
        ConfigError: one line that names it.
    """
    for i, name in enumerate(record):
        if not isinstance(name, str) or not name.isidentifier():
            raise ConfigError(f"env.record: {name!r} is no name of letters, digits and _")
        if name in _TAKEN or name in record[:i]:
            why = "is recorded anyway" if name in _TAKEN else "stands there twice"
            raise ConfigError(f"env.record: {name!r} {why}; leave it out")


def of(info: Mapping[str, Any], record: Sequence[str]) -> tuple[float, ...]:
    """Return the facts in the info of an episode's last step, NaN for those it does not have.

    Raises:
        ConfigError: a value is not one number or bool.
    """
    return tuple(_number(name, info[name]) if name in info else np.nan for name in record)


def _number(name: str, value: Any) -> float:
    try:
        array = np.asarray(value)
        fine = array.shape == () and array.dtype.kind in "biuf" and not np.isinf(array)
    except (TypeError, ValueError):  # a ragged list, and its like
        fine = False
    if not fine:
        raise ConfigError(f"env.record: info[{name!r}] is {_shown(value)}, not a finite number")
    return float(value)


def _shown(value: Any) -> str:
    text = "".join(str(value).splitlines()[:1])[:40]
    return f"{text!r} ({type(value).__name__})"


def means(episodes: Sequence[Sequence[tuple[float, ...]]], count: int) -> np.ndarray:
    """Return the mean of every fact over the episodes that have it.

    Args:
        episodes: per seed, what ``drain`` returned: (return, length, *facts).
        count: of facts, F.

    Returns:
        ``[K, F]``, NaN where no episode of the seed had it.
    """
    out = np.full((len(episodes), count), np.nan)
    for k, done in enumerate(episodes):
        for i in range(count):
            known = [episode[2 + i] for episode in done if not np.isnan(episode[2 + i])]
            if known:
                out[k, i] = np.mean(known)
    return out
