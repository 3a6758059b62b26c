"""The base and the full agent of component studies: declared, and held to the presets."""

import re
from dataclasses import replace
from typing import Any

import pytest

from prism.algos.core.agent import Component, Family
from prism.algos.dqn.dqn import DQN
from prism.benchmark.plan import config as cfg
from prism.benchmark.plan import variants
from prism.benchmark.plan.grid import sweep
from prism.benchmark.store.agents import agent_class, registered
from prism.benchmark.store.schema import Variant
from prism.benchmark.util.errors import ConfigError

DECLARED = {
    "dqn": ("dqn", "rainbow"),
    "td3": ("ddpg", "td3"),
    "sac": (None, "sac"),
    "sac_discrete": (None, "sac_discrete"),
    "ppo": (None, "ppo"),
    "a3c": (None, "a3c"),
    "grpo": (None, "grpo"),
    "trpo": (None, "trpo"),
    "reinforce": ("reinforce", "reinforce_baseline"),
    "cem_params": (None, "cem_params"),
}


class Inherits(DQN):
    """An agent of somebody who builds on ours; its presets are others."""


def planned(*words: str) -> list[Variant]:
    """Plan anew: what a sweep has planned before is remembered."""
    return [job.variant for job in sweep(words).jobs]


@pytest.mark.parametrize("name", registered())
def test_base_and_full_are_presets_without_and_with_every_part(name: str) -> None:
    with cfg.session():
        family = variants.family(name)
        assert (family.base, family.full) == DECLARED.get(name, (None, None))
        components = {c.name: c for c in agent_class(name).COMPONENTS}
        parts = [components[part] for part in family.parts]
        assert not any(c.foundation for c in parts)
        for preset, off in ((family.base, True), (family.full, False)):
            if preset is not None:
                algo = cfg.composed(f"algo={preset}").algo
                assert parts and all(variants.is_off(c, algo) is off for c in parts)


def test_one_more_component_leaves_the_family_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("algo=rainbow", "env=acrobot", "components=preset,leave_one_out,none")
    before = planned(*words)
    inert = Component("inert", "", on={"compile": True}, off={"compile": False})
    monkeypatch.setattr(DQN, "COMPONENTS", (*DQN.COMPONENTS, inert))
    with cfg.session():
        assert variants.family("dqn") == Family("dqn", "rainbow", DQN.FAMILY.parts)
    after = planned(*words)
    assert all("inert" in variant["off"] for variant in after)
    without = [{**v, "off": [c for c in v["off"] if c != "inert"]} for v in after]
    assert without == before
    assert {v["base"] for v in after} == {"DQN"} and {v["full"] for v in after} == {"Rainbow"}


@pytest.mark.parametrize(
    ("declared", "told"),
    [
        ({"base": "ppo"}, "FAMILY.base of agent dqn: 'ppo' is of agent ppo"),
        ({"full": "td3"}, "FAMILY.full of agent dqn: 'td3' is of agent td3"),
        (
            {"full": "rainbo"},
            "FAMILY.full of agent dqn: unknown 'rainbo'; nearest: rainbow",
        ),
    ],
)
def test_a_family_of_other_presets_is_refused(
    monkeypatch: pytest.MonkeyPatch, declared: dict[str, Any], told: str
) -> None:
    monkeypatch.setattr(DQN, "FAMILY", replace(DQN.FAMILY, **declared))
    with pytest.raises(ConfigError, match=f"^{re.escape(told)}"):
        planned("algo=dqn", "env=acrobot")


def test_an_agent_that_declares_none_has_none() -> None:
    with cfg.session():
        assert variants.family(f"{__name__}:Inherits") == Family()
        assert variants.family("a2c") == Family()
