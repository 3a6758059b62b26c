"""The checks of agents: each passes a sound agent, and finds the one that breaks its promise."""

from functools import cache
from pathlib import Path
from typing import Any

import pytest

from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.grid import sweep
from prism.benchmark.plan.places import CONF
from prism.benchmark.store.spec import RunSpec
from prism.benchmark.train import conformance
from prism.benchmark.train.conformance import AGENT_CHECKS, Subject
from prism.benchmark.util.checks import OK, SKIPPED, WRONG, Outcome, outcomes
from tests.runs import job

CHECKS = {check.name: check for check in AGENT_CHECKS}


@cache
def record() -> dict[str, Any]:
    return job(Path("unused"), "dqn", "cartpole").spec.record


def spec_of(agent: str, **algo: Any) -> RunSpec:
    plain = {"agent": f"tests.train.sound:{agent}", "name": agent, "lanes": 2, "reset": "each"}
    return RunSpec.parse(record() | {"algo": plain | {"gamma": 0.9} | algo})


def outcome(agent: str, check: str) -> Outcome:
    return next(iter(outcomes([CHECKS[check]], Subject(spec_of(agent)))))


@pytest.mark.parametrize("reset", ["each", "wait"])
def test_a_sound_agent_passes(reset: str) -> None:
    found = list(outcomes(AGENT_CHECKS, Subject(spec_of("Sound", reset=reset))))
    assert [x for x in found if x.state != OK] == []
    assert len(found) == len(AGENT_CHECKS)


BROKEN = [
    ("acts", "FlatActions", "act() returns actions of shape [2], not [K, N] = [3, 2]"),
    ("acts", "FloatActions", "act() returns actions of float32, not int64"),
    ("acts", "WildActions", "not one of Discrete(2)"),
    ("acts", "OneWidth", "with explore=False and 6 lanes, act() returns actions of shape [3, 2]"),
    ("acts", "FlatMemo", "a memo whose 'value' is [3], not [K, N, ...] = [3, 2]"),
    ("acts", "Raising", "RuntimeError: not today (sound.py:"),
    ("learns", "Idle", "update() returned nothing"),
    ("learns", "OneMetric", "update() returns 'error' of shape [], not [K] = [3]"),
    ("learns", "Infinite", "update() returns error, which is not finite"),
    ("state", "StateOfLists", "state() holds losses of type list"),
    ("state", "StateWithoutK", "state() holds mean of shape [2], which does not lead with K = 3"),
    ("state", "StateWithoutPolicy", 'state() has no dict "policy"'),
    ("repeats", "Global", "the same seeds again differ at tick"),
    ("alone", "Mixed", "seed 11 alone and among others differ at tick"),
    ("distinct", "OneStream", "seeds 3 and 11 act alike in the same world and learn the same"),
    ("distinct", "OneStart", "seeds 3 and 11 begin with the same random numbers in table"),
    ("resumes", "Forgetful", "load() restores not all: ticks"),
    ("resumes", "Hidden", "resumed and not stopped differ at tick"),
    ("resumes", "Shared", "seed 11, resumed alone and among others differ at tick"),
    ("evaluates", "Watched", "act(explore=False) changes the agent's state: ticks"),
    ("evaluates", "WatchedInSecret", "with an evaluation and without differ at tick"),
    ("evaluates", "Restless", "chooses another action for the same observation"),
    ("weights", "Headless", 'loaded from the "policy" of seed 3 alone, it acts differently'),
    ("truncation", "StopsAtTruncation", "truncation is taken for termination"),
    ("termination", "NeverStops", "it bootstraps from it"),
]


@pytest.mark.parametrize(("check", "agent", "text"), BROKEN)
def test_a_broken_promise_is_found(
    check: str, agent: str, text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conformance, "MOST", 300)
    found = outcome(agent, check)
    assert found.state == WRONG and text in found.text, found
    assert "\n" not in found.text


def test_every_check_has_an_agent_that_breaks_it() -> None:
    assert {check for check, *_ in BROKEN} == set(CHECKS)


def test_what_does_not_apply_is_skipped() -> None:
    assert outcome("MonteCarlo", "truncation").state == SKIPPED
    for check in ("alone", "distinct"):
        assert outcome("Single", check) == (check, SKIPPED, "max_seeds is 1")


def test_nothing_is_checked_behind_a_check_that_is_needed() -> None:
    found = list(outcomes(AGENT_CHECKS, Subject(spec_of("Raising"))))
    assert [x.state for x in found] == [WRONG] + [SKIPPED] * (len(found) - 1)
    assert found[-1].text == "not checked: acts is wrong"


SMALL = {  # what makes a preset small and learn soon, where it has the setting
    **{"hidden": "[16,16]", "batch_size": 16, "buffer_size": 200, "learning_starts": 40},
    **{"train_every": 4, "rollout": 16, "lanes": 4},
}
PRESETS = sorted(path.stem for path in (CONF / "algo").glob("*.yaml"))
QUICK = ("a2c", "q_learning")
UNREPEATED = ("a3c",)  # asynchronous by design


@pytest.mark.parametrize(
    "name",
    [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in PRESETS],
)
def test_our_presets_conform(name: str) -> None:
    with cfg.session():
        algo = cfg.composed(f"algo={name}").algo
    own = {key: value for key, value in SMALL.items() if key in algo}
    if algo.agent in ("tabular", "cem", "cem_params") or name in UNREPEATED:
        own = {}
    env = {"ddpg": "pendulum", "td3": "pendulum", "sac": "pendulum"}.get(name, "cartpole")
    if algo.agent in ("tabular", "planning") or name == "cem_table":
        env = "frozenlake"
    words = [f"algo={name}", f"env={env}", *(f"algo.{key}={x}" for key, x in own.items())]
    found = list(outcomes(AGENT_CHECKS, Subject(sweep([*words, "dry_run=true"]).jobs[0].spec)))
    wrong = [x.name for x in found if x.state == WRONG]
    assert wrong == (["repeats"] if name in UNREPEATED else []), found
