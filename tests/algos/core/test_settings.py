"""Settings as data: what a field carries, what is refused, and that every agent's fields say it."""

import math
import pickle
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_type_hints

import pytest
from omegaconf import OmegaConf

from prism.algos.core.configs import AgentConfig
from prism.algos.core.settings import Setting, check, defaults, described, setting
from prism.benchmark.store.agents import agent_class, registered

AGENTS = tuple(registered())
TEXTS = {"agent", "name", "label"}  # settings that take any text
# settings that may be any finite number; all others have bounds
FREE = {
    *("log_std", "v_min", "v_max", "q0", "target_entropy", "log_std_min", "log_std_max"),
    "gsde_log_std",
}


@dataclass
class Part:
    share: float = setting(0.5, "a share", ge=0, le=1)


@dataclass
class Plain:
    size: int = setting(3, "a size", ge=1)
    scale: float | None = setting(None, "a scale", gt=0)
    widths: list[int] = setting([4, 5], "widths", ge=1)
    layers: list[list[int]] = setting([[1, 2]], "layers", ge=1)
    decay: float = setting(0.9, "a decay", ge=0, lt=1)
    offset: float = setting(-1.0, "an offset", free=True)
    kind: str = setting("a", "a kind", choices=("a", "b"))
    limit: float = setting(math.inf, "a limit", gt=0, finite=False)
    on: bool = setting(True, "whether it is on")
    part: Part = setting(Part, "a group")


@dataclass
class Heir(Plain):
    size: int = 7
    widths: list[int] = setting([6])
    kind: str = setting("c", "another kind", choices=("c",))
    bare: float = 0.0


# What no agent may have: a setting that says nothing, or not which values it takes.
@dataclass
class Silent(AgentConfig):
    bare: float = 0.0
    endless: float = setting(0.0, "a number without bounds")
    word: str = setting("x", "a name without choices")
    more: list[float] = field(default_factory=list)


def test_defaults_are_each_configs_own() -> None:
    one, two = Plain(), Plain()
    one.widths.append(1)
    one.layers[0].append(1)
    one.part.share = 0.1
    assert two == Plain() and (two.widths, two.layers) == ([4, 5], [[1, 2]])
    assert defaults(Heir)["widths"] == [6] and defaults(Heir)["part"] == Part()
    assert pickle.loads(pickle.dumps(one)) == one == deepcopy(one)


def test_omegaconf_takes_them_as_a_structured_config() -> None:
    node = OmegaConf.merge(OmegaConf.structured(Heir), {"part": {"share": 0.25}, "scale": 2})
    built = OmegaConf.to_object(node)
    assert built == Heir(part=Part(0.25), scale=2.0)
    with pytest.raises(Exception, match="size"):
        OmegaConf.merge(node, {"size": "many"})


def test_a_subclass_inherits_what_it_does_not_say_anew() -> None:
    said = {name: about for name, about, _ in described(Heir)}
    assert said["size"] == Setting("a size", ge=1) and Heir().size == 7
    assert said["widths"] == Setting("widths", ge=1)
    assert said["kind"] == Setting("another kind", choices=("c",))
    assert said["bare"] is None
    with pytest.raises(ValueError, match=r"^size must be at least 1, got 0$"):
        check(Heir(size=0))
    with pytest.raises(TypeError, match="needs a meaning of its own"):
        setting(1, ge=0)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"size": 0}, "size must be at least 1, got 0"),
        ({"size": math.nan}, "size must be at least 1 and finite, got nan"),
        ({"size": math.inf}, "size must be at least 1 and finite, got inf"),
        ({"scale": 0.0}, "scale must be above 0, got 0.0"),
        ({"widths": [3, 0]}, "widths must all be at least 1, got [3, 0]"),
        ({"layers": [[1, 2], (0, 1)]}, "layers must all be at least 1, got [[1, 2], [0, 1]]"),
        ({"decay": 1.0}, "decay must be at least 0 and below 1, got 1.0"),
        ({"offset": -math.inf}, "offset must be a finite number, got -inf"),
        ({"kind": "d"}, "kind must be one of a, b, got 'd'"),
        ({"limit": math.nan}, "limit must be above 0, got nan"),
        ({"part": Part(1.5)}, "part.share must be between 0 and 1, got 1.5"),
    ],
)
def test_what_is_refused_is_one_line(changes: dict[str, Any], told: str) -> None:
    config = Plain(**changes)
    with pytest.raises(ValueError) as caught:
        check(config)
    assert str(caught.value) == told
    with pytest.raises(ValueError) as caught:
        check({"size": 1} | changes, Plain, "there.")
    assert str(caught.value) == f"there.{told}"


def test_what_lies_on_a_bound_passes() -> None:
    check(Plain(1, None, [], [], 0.0, 1e300, "b", math.inf, False, Part(1.0)))
    check({"scale": None, "part": {"share": 0}, "else": -1}, Plain)


def leaves(config: type, prefix: str = "") -> Iterator[tuple[str, type, Setting | None]]:
    """Yield the settings of a config and of the groups in it: key, the type of a value, data."""
    hints = get_type_hints(config)
    for name, about, nested in described(config):
        kind = hints[name]
        while get_args(kind):  # lists, and what may be null
            (kind,) = (each for each in get_args(kind) if each is not type(None))
        if nested is None:
            yield f"{prefix}{name}", kind, about
        else:
            yield from leaves(nested, f"{prefix}{name}.")


def lacking(config: type) -> Iterator[str]:
    for key, kind, about in leaves(config):
        if about is None or not about.meaning.strip() or "\n" in about.meaning:
            yield f"{key} has no meaning"
        elif kind in (int, float) and not about.bounded:
            yield f"{key} has no bounds"
        elif kind is str and key not in TEXTS and not about.choices:
            yield f"{key} has no choices"


@pytest.mark.parametrize("agent", AGENTS)
def test_every_setting_says_what_it_means_and_takes(agent: str) -> None:
    config = agent_class(agent).Config
    assert list(lacking(config)) == []
    free = {key for key, _, about in leaves(config) if about is not None and about.free}
    assert free <= FREE
    config()  # the defaults pass


def test_a_setting_that_says_nothing_is_found() -> None:
    assert list(lacking(Silent)) == [
        "bare has no meaning",
        "endless has no bounds",
        "word has no choices",
        "more has no meaning",
    ]


def wrong(config: type, key: str, number: float) -> dict[str, Any]:
    """Return the default of the first part of ``key``, with ``number`` at its end."""
    first, _, rest = key.partition(".")
    default = defaults(config)[first]
    if rest:
        setattr(default, rest, number)
        return {first: default}
    if isinstance(default, list):
        inner = [*default[0][:-1], number] if isinstance(default[0], list) else number
        return {first: [*default[:-1], inner]}
    return {first: number}


NUMBERS = [
    (agent, key, about)
    for agent in AGENTS
    for key, kind, about in leaves(agent_class(agent).Config)
    if kind in (int, float)
]


@pytest.mark.parametrize(
    ("agent", "key", "about"), NUMBERS, ids=[f"{a}.{k}" for a, k, _ in NUMBERS]
)
def test_no_number_is_endless_or_negative_without_sense(
    agent: str, key: str, about: Setting
) -> None:
    config = agent_class(agent).Config
    for number in (math.nan, math.inf, -math.inf, *([] if about.free else [-1])):
        with pytest.raises(ValueError) as caught:
            config(**wrong(config, key, number))
        assert str(caught.value).startswith(f"{key} must "), number
        assert "\n" not in str(caught.value)
        assert str(number) in str(caught.value)


def test_every_kind_of_number_is_tried() -> None:
    names = {(agent, key) for agent, key, _ in NUMBERS}
    assert names >= {("dqn", "lr"), ("dqn", "conv"), ("ppo", "target_kl"), ("tabular", "q0")}
    assert ("dqn", "exploration.start") in names
    for agent in AGENTS:
        whole = {f.name for f in fields(agent_class(agent).Config)}
        assert {key.partition(".")[0] for a, key, _ in NUMBERS if a == agent} <= whole
