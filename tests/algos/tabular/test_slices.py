"""A seed learns what it would learn alone, to the bit; states continue; no two seeds are alike."""

from dataclasses import replace
from itertools import combinations

import pytest
import torch

from prism.algos.core.agent import State
from prism.algos.tabular.config import Behaviour
from prism.benchmark.store.checkpoint import take_seed
from tests.helpers import SEEDS, copied, equal
from tests.tabular import Life, presets, random_mdp

MODEL = random_mdp(1)
OPTIONS = {
    "lanes": ("n_step_sarsa", {"lanes": 3}),
    "boltzmann, visits": ("sarsa", {"behaviour": Behaviour("boltzmann"), "step_size": "visits"}),
    "glie": ("q_lambda", {"behaviour": Behaviour(start=1.0, schedule="glie"), "lanes": 2}),
    "ucb": ("expected_sarsa", {"behaviour": Behaviour("ucb", start=2.0)}),
    "linear, replacing": ("sarsa_lambda", {"values": "linear", "trace": "replacing"}),
}
CASES = {name: (name, {}) for name in presets()} | OPTIONS


def comparable(life: Life, k: int) -> State:
    state = take_seed(life.agent.state(), k)
    if "first" in state["rule"]:  # the room for a running episode follows the longest of all seeds
        length = int(state["rule"]["length"].max())
        for name in ("s", "a", "r", "first"):
            state["rule"][name] = state["rule"][name][..., :length]
        del state["rule"]["ticks"]
    return state


def check(name: str, ticks: int) -> None:
    base, changes = CASES[name]
    config = replace(presets()[base], **changes)
    together = Life(config, MODEL, SEEDS, ticks, horizon=9)
    alone = Life(config, MODEL, SEEDS[1:2], ticks, horizon=9)
    for _ in range(ticks):
        a, b = together.tick(), alone.tick()
        assert torch.equal(a.action[1:2], b.action) and torch.equal(a.reward[1:2], b.reward)
        ours, theirs = (life.metrics or {} for life in (together, alone))
        equal({name: x[1:2] for name, x in ours.items()}, theirs)
    assert {"error/rms", "loss/td_error"} == ours.keys()
    equal(comparable(together, 1), comparable(alone, 0))
    equal(take_seed(together.env.state(), 1)["return"], alone.env.state()["return"])


@pytest.mark.parametrize("name", CASES)
def test_slice(name: str) -> None:
    check(name, 60)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_slice_over_a_thousand_updates(name: str) -> None:
    check(name, 1000)


@pytest.mark.parametrize("name", CASES)
def test_state_and_load_continue_to_the_bit(name: str) -> None:
    base, changes = CASES[name]
    config = replace(presets()[base], **changes)
    whole, other = (Life(config, MODEL, SEEDS, 200, horizon=9) for _ in range(2))
    whole.live(30)
    other.agent.load(copied(whole.agent.state()))
    other.env.load(copied(whole.env.state()))
    other.obs = torch.from_numpy(other.env.begin())
    for _ in range(20):
        a, b = whole.tick(), other.tick()
        assert torch.equal(a.obs, b.obs) and torch.equal(a.action, b.action)
    equal(whole.agent.state(), other.agent.state())
    equal(whole.env.state(), other.env.state())


@pytest.mark.parametrize("name", presets())
def test_any_two_seeds_differ(name: str) -> None:
    life = Life(presets()[name], MODEL, (0, 1, 2, 3), 200, horizon=9)
    steps = [life.tick() for _ in range(40)]
    actions, rewards = (torch.stack([getattr(s, x) for s in steps]) for x in ("action", "reward"))
    for a, b in combinations(range(4), 2):
        assert not torch.equal(actions[:, a], actions[:, b])
        assert not torch.equal(rewards[:, a], rewards[:, b])
