"""A seed's training is what it would be alone, to the bit; and no two seeds are alike."""

from copy import deepcopy
from itertools import combinations
from typing import Any

import pytest
import torch
from gymnasium import spaces

from benchmark.checkpoint import take_seed
from tests.algos.policy_gradient.agents import ACTIONS, agent, config, live, params, small
from tests.helpers import IMAGE, SEEDS, VECTOR, World, copied, equal

ALONE = SEEDS.index(11)
NORMAL = {"normalize_obs": True, "normalize_reward": True}

# what is switched on beside the preset, and the action space
OPTIONS: dict[str, tuple[str, dict[str, Any], str]] = {
    "ppo": ("ppo", {}, "discrete"),
    "ppo, continuous, normalised": ("ppo", NORMAL, "box"),
    "ppo, multi-discrete, one torso": ("ppo", {"shared": True, "hidden": [19, 5]}, "multi"),
    "ppo, kl penalty, continuous": ("ppo", {"surrogate": "kl", "target_kl": 0.01}, "box"),
    "ppo, target kl": ("ppo", {"target_kl": 1e-4, "lr": 1e-2, "epochs": 4}, "discrete"),
    "ppo, plain": (
        "ppo",
        {"surrogate": "none", "normalize_advantage": False, "clip_value": False, "lanes": 3}
        | {"batch_size": 12, "activation": "relu", "orthogonal": False, "grad_clip": None},
        "discrete",
    ),
    "a2c": ("a2c", {}, "discrete"),
    "a2c, q": ("a2c", {"critic": "q", "optimizer": "adam"}, "discrete"),
    "a2c, gae, normalised": ("a2c", NORMAL | {"gae_lambda": 0.9, "lanes": 3}, "box"),
    "a2c, one lane": ("a2c", {"lanes": 1, "rollout": 1, "shared": True}, "multi"),
}
TICKS = {"ppo": 48, "a2c": 50}


def lived(
    name: str,
    changes: dict[str, Any],
    actions: str,
    seeds: Any,
    ticks: int,
    obs: spaces.Box = VECTOR,
) -> Any:
    settings = small(name, **changes)
    learner = agent(settings, seeds, ACTIONS[actions], obs, budget=2 * ticks * settings.lanes)
    return learner, live(learner, World(obs, seeds, settings.lanes), ticks)


def check_slice(option: str, ticks: int, obs: spaces.Box = VECTOR, **more: Any) -> None:
    name, changes, actions = OPTIONS[option]
    together, seen = lived(name, changes | more, actions, SEEDS, ticks, obs)
    alone, expected = lived(name, changes | more, actions, (SEEDS[ALONE],), ticks, obs)
    assert len(seen) > 4
    for key, values in seen.items():
        assert len(values) == len(expected[key]) > 0
        for i, (a, b) in enumerate(zip(values, expected[key], strict=True)):
            assert torch.equal(a[ALONE : ALONE + 1], b), f"{key} {i}"
            assert a.isfinite().all()
    equal(take_seed(together.state(), ALONE), take_seed(alone.state(), 0))


@pytest.mark.parametrize("option", OPTIONS)
def test_slice(option: str) -> None:
    check_slice(option, TICKS[OPTIONS[option][0]])


@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_slice_at_its_own_size(name: str) -> None:
    """The preset's own widths and batches, which choose other kernels."""
    own = config(name)
    sizes = {key: getattr(own, key) for key in ("hidden", "lanes", "rollout")}
    if name == "ppo":
        sizes["batch_size"] = own.batch_size
    check_slice(name, 2 * own.rollout, **sizes)


@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_slice_of_convolutions(name: str) -> None:
    check_slice(name, 16, IMAGE, hidden=[32])


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_slice_over_a_thousand_updates(option: str) -> None:
    name, changes, _ = OPTIONS[option]
    settings = small(name, **changes)
    per_rollout = 1
    if name == "ppo":
        rows = settings.rollout * settings.lanes
        per_rollout = settings.epochs * rows // settings.batch_size
    check_slice(option, settings.rollout * -(-1000 // per_rollout))


@pytest.mark.parametrize("name", ["ppo", "a2c"])
@pytest.mark.parametrize("actions", ACTIONS)
def test_any_two_seeds_differ(name: str, actions: str) -> None:
    seeds = (0, 1, 2, 3)
    learner = agent(small(name), seeds, ACTIONS[actions])
    first = params(learner).view(4, -1).clone()
    # the same world for all: what differs is the agent's own
    seen = live(learner, World(VECTOR, (7,) * 4, 4), 12)
    acted = torch.stack(seen["action"], 1).flatten(1)
    for a, b in combinations(range(4), 2):
        assert (first[a] != first[b]).float().mean() > 0.3
        assert not torch.equal(acted[a], acted[b])
        if name == "ppo":
            assert not torch.equal(learner.order()[a], learner.order()[b])


@pytest.mark.parametrize("option", OPTIONS)
def test_state_and_load_continue_to_the_bit(option: str) -> None:
    name, changes, actions = OPTIONS[option]
    settings = small(name, **changes)
    whole, other = (agent(settings, actions=ACTIONS[actions]) for _ in range(2))
    world = World(VECTOR, SEEDS, settings.lanes)
    live(whole, world, 19)
    other.load(copied(whole.state()))
    same = deepcopy(world)
    seen, again = live(whole, world, 16), live(other, same, 16)
    for key in seen:
        assert all(torch.equal(a, b) for a, b in zip(seen[key], again[key], strict=True))
    equal(whole.state(), other.state())


@pytest.mark.parametrize("option", ["ppo, continuous, normalised", "a2c, q"])
def test_a_seed_taken_out_of_a_state_goes_on_alone(option: str) -> None:
    name, changes, actions = OPTIONS[option]
    settings = small(name, **changes)
    together = agent(settings, actions=ACTIONS[actions])
    alone = agent(settings, (SEEDS[ALONE],), ACTIONS[actions])
    world = World(VECTOR, SEEDS, settings.lanes)
    live(together, world, 19)
    alone.load(copied(take_seed(together.state(), ALONE)))
    single = deepcopy(world)
    single.streams = single.streams[ALONE : ALONE + 1]
    single.obs = single.obs[ALONE : ALONE + 1]
    live(together, world, 16)
    live(alone, single, 16)
    equal(take_seed(together.state(), ALONE), take_seed(alone.state(), 0))
