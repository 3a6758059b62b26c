"""Settings: what each field of a config means and which values it takes, beside its default.

``gamma: float = setting(0.99, "discount per step", ge=0, le=1)`` is a dataclass field that carries
its own documentation and bounds. A subclass with another default inherits both::

    gamma: float = 1.0
    hidden: list[int] = setting([400, 300])

``check`` holds a config to all of it; ``described`` tells it as data.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from functools import cache, partial
from typing import Any, NamedTuple

_KEY = "setting"  # of a field's metadata


@dataclass(frozen=True)
class Setting:
    """What a setting means, and its bounds: those of each number where it is a list."""

    meaning: str  # one line, with its unit if it has one
    ge: float | None = None  # greater or equal
    gt: float | None = None  # greater
    le: float | None = None
    lt: float | None = None
    free: bool = False  # any number is right
    finite: bool = True  # infinite numbers are refused; NaN always is
    choices: tuple[str, ...] = ()  # the names that it takes

    @property
    def bounded(self) -> bool:
        """Whether something is said of its numbers."""
        return self.free or any(x is not None for x in (self.ge, self.gt, self.le, self.lt))

    @property
    def bounds(self) -> str:
        """The bounds in words: "between 0 and 1", "above 0"; empty where there are none."""
        if self.ge is not None and self.le is not None:
            return f"between {self.ge} and {self.le}"
        words = {"at least": self.ge, "above": self.gt, "at most": self.le, "below": self.lt}
        told = " and ".join(f"{word} {x}" for word, x in words.items() if x is not None)
        return told or ("a finite number" if self.free and self.finite else "a number" * self.free)

    def refuses(self, value: Any) -> str | None:
        """Return what a value must be, or None if it is so; null is nobody's but the type's."""
        if isinstance(value, str) and self.choices and value not in self.choices:
            return f"must be one of {', '.join(self.choices)}, got {value!r}"
        numbers = list(_numbers(value))
        if all(map(self._takes, numbers)):
            return None
        endless = self.finite and self.le is None and self.lt is None and not self.free
        finite = " and finite" if endless and not all(map(math.isfinite, numbers)) else ""
        every = " all" if isinstance(value, list | tuple) else ""
        return f"must{every} be {self.bounds}{finite}, got {_plain(value)}"

    def _takes(self, x: float) -> bool:
        return not (
            math.isnan(x)
            or (self.finite and math.isinf(x))
            or (self.ge is not None and x < self.ge)
            or (self.gt is not None and x <= self.gt)
            or (self.le is not None and x > self.le)
            or (self.lt is not None and x >= self.lt)
        )


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, list | tuple):
        for each in value:
            yield from _numbers(each)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value


def _plain(value: Any) -> Any:
    """Return lists as lists, whatever kind of list they are."""
    return [_plain(x) for x in value] if isinstance(value, list | tuple) else value


def setting(
    default: Any,
    meaning: str | None = None,
    *,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    free: bool = False,
    finite: bool = True,
    choices: Sequence[str] = (),
) -> Any:
    """Return a dataclass field that carries what ``Setting`` says.

    Args:
        default: a value, copied for each config if it is a list or a dict; or a dataclass, of which
            each config gets a new one.
        meaning: one line; None: that of the class that is inherited from, with its bounds.
        ge: least value. gt: a value that it lies above. le, lt: the same from above.
        free: any finite number is right. finite: False lets infinity pass.
        choices: the names that it takes.
    """
    said = (ge, gt, le, lt, free or None, None if finite else finite, tuple(choices) or None)
    if meaning is None and any(x is not None for x in said):
        raise TypeError("a setting with bounds or choices of its own needs a meaning of its own")
    about = Setting(meaning or "", ge, gt, le, lt, free, finite, tuple(choices))
    metadata = {_KEY: about} if meaning is not None else {}
    if is_dataclass(default) and isinstance(default, type):
        return field(default_factory=default, metadata=metadata)
    if isinstance(default, list | dict):
        return field(default_factory=partial(deepcopy, default), metadata=metadata)
    return field(default=default, metadata=metadata)


class Described(NamedTuple):
    """A field of a config."""

    name: str
    setting: Setting | None  # None where no class in its line says anything
    nested: type | None  # the dataclass of a group of settings


@cache
def described(config: type) -> tuple[Described, ...]:
    """Return the fields of a config class in their order, with what they mean."""
    return tuple(Described(f.name, _setting(config, f.name), _nested(f)) for f in fields(config))


def defaults(config: type) -> dict[str, Any]:
    """Return the default of each field that has one."""
    out = {}
    for f in fields(config):
        if f.default is not MISSING:
            out[f.name] = f.default
        elif f.default_factory is not MISSING:
            out[f.name] = f.default_factory()
    return out


def _setting(config: type, name: str) -> Setting | None:
    """Return what the nearest class in the line of inheritance says of a field."""
    for cls in config.__mro__:
        own = vars(cls).get("__dataclass_fields__", {}).get(name)
        if own is not None and _KEY in own.metadata:
            found: Setting = own.metadata[_KEY]
            return found
    return None


def _nested(f: Any) -> type | None:
    made = f.default_factory
    return made if isinstance(made, type) and is_dataclass(made) else None


def check(config: Any, of: type | None = None, prefix: str = "") -> None:
    """Hold a config, and the groups in it, to what its settings say.

    Args:
        config: a dataclass, or its values in a mapping; what a mapping lacks is not looked at.
        of: the class whose settings count, where it is not the config's own.
        prefix: goes before a setting's name in an error.

    Raises:
        ValueError: one line that names the first setting that is wrong, its bounds and the value.
    """
    values = config if isinstance(config, Mapping) else vars(config)
    for name, about, nested in described(of or type(config)):
        value = values.get(name)
        if nested is not None and value is not None:
            check(value, nested, f"{prefix}{name}.")
        elif about is not None and (wrong := about.refuses(value)):
            raise ValueError(f"{prefix}{name} {wrong}")


def open_groups(config: Any) -> None:
    """Make the groups of a config that were given as plain dicts what they are declared as."""
    cls: type = type(config)
    for name, _, nested in described(cls):
        if nested is not None and isinstance(value := getattr(config, name), dict):
            setattr(config, name, nested(**value))
