"""The keys of a command and of an environment: each says what it means and what it takes."""

import math
from collections.abc import Iterator
from typing import Any, get_args, get_type_hints

import pytest

from prism.algos.core.settings import described
from prism.benchmark.envs.config import EnvConfig, EnvWrappers, validate
from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.root import Root
from prism.benchmark.util.errors import ConfigError


def leaves(config: type, prefix: str = "") -> Iterator[tuple[str, bool, Any]]:
    """Yield every key, whether it is a number, and what is said of it."""
    hints = get_type_hints(config)
    for name, about, nested in described(config):
        if nested is None:
            number = bool({int, float} & {hints[name], *get_args(hints[name])})
            yield f"{prefix}{name}", number, about
        else:
            yield from leaves(nested, f"{prefix}{name}.")


KEYS = [*leaves(Root), *leaves(EnvConfig, "env.")]
NUMBERS = [(key, about.free) for key, number, about in KEYS if number]


def test_every_key_says_what_it_means() -> None:
    assert [key for key, _, about in KEYS if about is None or not about.meaning] == []
    assert [key for key, number, about in KEYS if number and not about.bounded] == []
    assert {"budget", "limits.memory", "retry.oom", "env.wrappers.reward_clip"} <= {
        key for key, _ in NUMBERS
    }


@pytest.mark.parametrize(("key", "free"), NUMBERS)
def test_no_number_is_endless_or_negative_without_sense(key: str, free: bool) -> None:
    for number in (math.nan, math.inf, *([] if free else [-1])):
        with pytest.raises(ConfigError) as caught:
            hold(key, number)
        assert str(caught.value).startswith(f"{key} must ") and "\n" not in str(caught.value)


def hold(key: str, number: float) -> None:
    group, _, name = key.rpartition(".")
    if group == "env":
        validate(EnvConfig(name="x", id="CartPole-v1", **{name: number}))
    elif group == "env.wrappers":
        validate(EnvConfig(name="x", id="CartPole-v1", wrappers=EnvWrappers(**{name: number})))
    else:
        cfg.hold({group: {name: number}} if group else {name: number})
