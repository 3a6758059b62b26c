"""The checks of environments: each passes a sound one, and finds the one that breaks its rule."""

from typing import Any

import numpy as np
import pytest

from prism.benchmark.envs import check as checks
from prism.benchmark.envs.check import ENV_CHECKS, Subject, shown
from prism.benchmark.envs.config import EnvConfig, EnvWrappers
from prism.benchmark.envs.repeats import same
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.util.checks import OK, WRONG, Outcome, outcomes

CHECKS = {check.name: check for check in ENV_CHECKS}


def config(kind: str, **more: Any) -> EnvConfig:
    name = f"Broken/{kind}-v0" if "/" not in kind and "-" not in kind else kind
    return EnvConfig(name=kind, id=name, imports="tests.envs.broken", **more)


def outcome(kind: str, check: str, **more: Any) -> Outcome:
    return next(iter(outcomes([CHECKS[check]], Subject(config(kind, **more)))))


@pytest.mark.parametrize(
    "kind",
    [
        "Sound",
        *("CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Blackjack-v1", "Prism/Identity-v0"),
        "Prism/MinAtarBreakout-v0",
    ],
)
def test_a_sound_environment_passes(kind: str) -> None:
    found = list(outcomes(ENV_CHECKS, Subject(config(kind, horizon=40))))
    wrong = [x for x in found if x.state == WRONG]
    if kind == "Prism/Identity-v0":  # whose episodes have one length: the check says "if"
        assert [x.name for x in wrong] == ["ends"]
    else:
        assert wrong == []
    assert len(found) == len(CHECKS)


BROKEN = [
    ("returns", "OldReset", "reset() does not return an observation and a dict"),
    ("returns", "OldStep", "step() does not return observation, reward, terminated, truncated"),
    ("returns", "NoReward", "step() returns the reward None, not a number"),
    ("returns", "FlagOfOne", "step() returns terminated = 0 of type int, not bool"),
    ("returns", "NoInfo", "step() returns info of type NoneType, not a dict"),
    ("observations", "Wider", "the observation of step 0 has shape (3,), its space Box"),
    ("observations", "Double", "the observation of step 0 is float64, its space Box"),
    ("observations", "Beyond", "the observation of step 0 holds 20.0, its space is Box"),
    ("observations", "BadReward", "the reward of step 1 is inf"),
    ("seeding", "Unseeded", "two episodes of one seed, with the same actions, differ"),
    ("seeding", "Stale", "set env.fresh=true to rebuild it at every reset"),
    ("ends", "Clock", "every episode of random actions terminates at step 5"),
    ("ends", "Endless", "and there is no time limit"),
    ("stepping", "Aliased", "the reward is"),
    ("stepping", "Stale", "through Prism"),
]


@pytest.mark.parametrize(("check", "kind", "text"), BROKEN)
def test_a_broken_rule_is_found(
    check: str, kind: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "Endless":
        monkeypatch.setattr(checks, "STEPS", 3)
    found = outcome(kind, check)
    assert found.state == WRONG and text in found.text, found
    assert "\n" not in found.text


def test_every_check_has_an_environment_that_breaks_it() -> None:
    assert {check for check, *_ in BROKEN} == set(CHECKS)


def test_an_environment_that_is_rebuilt_may_keep_state() -> None:
    assert outcome("Stale", "seeding", fresh=True).state == OK
    assert outcome("Stale", "stepping", fresh=True).state == OK


def test_a_step_of_prism_that_is_not_gymnasiums_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    step = SeedVecEnv.step
    for name, text in (("reward", "the reward"), ("next_obs", "the observation")):

        def wrong(self: SeedVecEnv, action: np.ndarray, name: str = name) -> Any:
            result = step(self, action)
            return result._replace(**{name: getattr(result, name) + 1})

        monkeypatch.setattr(SeedVecEnv, "step", wrong)
        assert text in outcome("Sound", "stepping").text


def test_what_agents_see() -> None:
    facts = dict(shown(config("Sound", wrappers=EnvWrappers(frame_stack=3))))
    assert facts["observations"].startswith("vector [6] of float32, from Box(")
    assert facts["actions"] == "discrete, 2, from Discrete(2, start=1)"
    assert facts["time limit"] == "60 steps" and "Stack" in facts["wrappers"]
    assert dict(shown(config("FrozenLake-v1")))["as a table"] == "its model is known"


def test_same() -> None:
    nan = np.array([np.nan])
    assert same({"a": (nan, 1)}, {"a": (nan.copy(), 1)})
    assert not same({"a": (nan, 1)}, {"a": (nan, 2)})
    assert not same(np.zeros(2), np.zeros(2, np.float32)) and not same(
        np.zeros(2), np.zeros((2, 1))
    )
