"""A seed's training is what it would be alone, to the bit; and no two seeds are alike."""

from copy import deepcopy
from dataclasses import fields
from itertools import combinations
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.rollout import Trajectories
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_spec
from prism.benchmark.store.agents import agent_class
from prism.benchmark.store.checkpoint import take_seed
from tests.algos.policy_gradient.agents import (
    ACTIONS,
    SMALL,
    EnvWorld,
    agent,
    config,
    live,
    params,
    small,
    world_of,
)
from tests.helpers import CPU, IMAGE, SEEDS, VECTOR, copied, equal

ALONE = SEEDS.index(11)
FIELDS = [field.name for field in fields(Trajectories)]
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
    "ppo, gru": ("ppo", {"memory": "gru"}, "discrete"),
    "ppo, lstm, continuous, normalised": (
        "ppo",
        NORMAL | {"memory": "lstm", "memory_size": 7, "batch_size": 16},
        "box",
    ),
    "ppo, gru, one torso, kl penalty": (
        "ppo",
        {"memory": "gru", "shared": True, "surrogate": "kl", "target_kl": 0.01, "lanes": 1},
        "multi",
    ),
    "ppo, gru, layer norm": ("ppo", {"memory": "gru", "norm": "layer"}, "discrete"),
    "recurrent_ppo": ("recurrent_ppo", {}, "discrete"),
    "ppo, batch norm, dropout": ("ppo", {"norm": "batch", "dropout": 0.1}, "discrete"),
    "ppo, layer norm, one torso": ("ppo", {"norm": "layer", "shared": True}, "box"),
    "a2c": ("a2c", {}, "discrete"),
    "a2c, q": ("a2c", {"critic": "q", "optimizer": "adam"}, "discrete"),
    "a2c, gae, normalised": ("a2c", NORMAL | {"gae_lambda": 0.9, "lanes": 3}, "box"),
    "a2c, one lane": ("a2c", {"lanes": 1, "rollout": 1, "shared": True}, "multi"),
    "reinforce": ("reinforce", {"discount_steps": True}, "discrete"),
    "reinforce, whole return": ("reinforce", {"estimator": "return", "lanes": 1}, "multi"),
    "reinforce, baseline, normalised": (
        "reinforce_baseline",
        {"normalize_obs": True, "entropy": 0.01},
        "box",
    ),
    "trpo": ("trpo", {}, "discrete"),
    "trpo, continuous": ("trpo", {"line_search": 0, "normalize_obs": True}, "box"),
    "trpo, multi-discrete": ("trpo", {"hidden": [19, 5], "lanes": 3, "batch_size": 12}, "multi"),
    "grpo": ("grpo", {}, "discrete"),
    "grpo, reference, normalised": (
        "grpo",
        {"reference_every": 2, "normalize_obs": True, "lanes": 3, "normalize_length": False},
        "box",
    ),
}
TICKS = {
    "ppo": 48,
    "recurrent_ppo": 48,
    "a2c": 50,
    "trpo": 40,
    "reinforce": 60,
    "reinforce_baseline": 60,
    "grpo": 90,
}


def life(
    name: str,
    changes: dict[str, Any],
    actions: str,
    seeds: Any,
    ticks: int,
    obs: spaces.Box = VECTOR,
) -> Any:
    settings = small(name, **changes)
    learner = agent(settings, seeds, ACTIONS[actions], obs, budget=2 * ticks * settings.lanes)
    return learner, live(learner, world_of(settings, seeds, obs), ticks)


def of_seed(log: dict[str, list[Tensor]], k: int) -> dict[str, list[Tensor]]:
    """Return what was seen of seed ``k``; metrics only of the updates it took part in."""
    mask = log.get("learned")
    own = {}
    for key, values in log.items():
        part = values
        if mask is not None and key != "action":
            part = [x for x, mine in zip(values, mask, strict=True) if mine[k]]
        own[key] = [x[k : k + 1] for x in part]
    return own


def state_of(learner: Any, k: int) -> Any:
    """Return one seed's state, without the room that its company made episodes take."""
    state = take_seed(learner.state(), k)
    experience = state["experience"]
    if "position" in experience:
        position = int(experience["position"])
        for part, name in [(experience, "set"), *((experience["fields"], n) for n in FIELDS)]:
            assert not part[name][:, position:].any()
            part[name] = part[name][:, :position]
    return state


def check_slice(option: str, ticks: int, obs: spaces.Box = VECTOR, **more: Any) -> None:
    name, changes, actions = OPTIONS[option]
    together, log = life(name, changes | more, actions, SEEDS, ticks, obs)
    alone, expected = life(name, changes | more, actions, (SEEDS[ALONE],), ticks, obs)
    ours, theirs = of_seed(log, ALONE), of_seed(expected, 0)
    assert len(ours) > 3
    for key, values in ours.items():
        assert len(values) == len(theirs[key]) > 0
        for i, (a, b) in enumerate(zip(values, theirs[key], strict=True)):
            assert torch.equal(a, b), f"{key} {i}"
            assert a.isfinite().all()
    equal(state_of(together, ALONE), state_of(alone, 0))


@pytest.mark.parametrize("option", OPTIONS)
def test_slice(option: str) -> None:
    check_slice(option, TICKS[OPTIONS[option][0]])


SIZES = ("hidden", "lanes", "rollout", "batch_size", "groups", "epochs", "memory_size")


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "a2c", "trpo", "reinforce", "grpo"])
def test_slice_at_its_own_size(name: str) -> None:
    """The preset's own widths and batches, which choose other kernels."""
    own = vars(config(name))
    sizes = {key: own[key] for key in SIZES if key in own}
    check_slice(name, 2 * own.get("rollout", 40), **sizes)


def test_slice_of_convolutions_that_policy_and_value_share() -> None:
    check_slice("ppo", 16, IMAGE, shared=True, conv=[[8, 4, 2], [8, 3, 1]], activation="relu")


@pytest.mark.parametrize("name", ["ppo", "recurrent_ppo", "a2c", "grpo"])
def test_slice_of_convolutions(name: str) -> None:
    check_slice(name, 30 if name == "grpo" else 16, IMAGE, hidden=[32])


def test_slice_where_a_seed_is_amid_its_groups() -> None:
    """CartPole's episodes are so unequal that a set begins behind the rows of all who learn."""
    settings, env = small("grpo", lanes=2, groups=4), EnvConfig(name="cartpole", id="CartPole-v1")
    states, behind = [], 0
    for seeds in (SEEDS, (SEEDS[ALONE],)):
        learner = agent_class(settings.agent)(settings, make_spec(env, 10_000), seeds, CPU)
        world = EnvWorld(env, settings, seeds)
        for _ in range(1000):
            learner.observe(world.step(*learner.act(world.obs)))
            episodes = learner.experience
            if episodes.due:
                behind += int(episodes.start.max()) >= episodes.take().reward.shape[1]
            learner.update()
        world.env.close()
        states.append(state_of(learner, seeds.index(11)))
        assert learner.updates.min() > 4
    assert behind > 0
    equal(*states)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_slice_over_a_thousand_updates(option: str) -> None:
    name, changes, _ = OPTIONS[option]
    settings = small(name, **changes)
    if settings.reset != "each":
        return check_slice(option, 1500)  # some 500 updates
    per_rollout = 1
    if name in ("ppo", "recurrent_ppo"):
        rows = settings.rollout * settings.lanes
        per_rollout = settings.epochs * rows // settings.batch_size
    return check_slice(option, settings.rollout * -(-1000 // per_rollout))


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("actions", ACTIONS)
def test_any_two_seeds_differ(name: str, actions: str) -> None:
    seeds = (0, 1, 2, 3)
    learner = agent(small(name), seeds, ACTIONS[actions])
    first = params(learner).view(4, -1).clone()
    # the same world for all: what differs is the agent's own
    log = live(learner, world_of(learner.config, (7,) * 4), 12)
    choices = torch.stack(log["action"], 1).flatten(1)
    for a, b in combinations(range(4), 2):
        assert (first[a] != first[b]).float().mean() > 0.3
        assert not torch.equal(choices[a], choices[b])
        if name in ("ppo", "recurrent_ppo", "trpo"):  # who shuffle what they have seen
            assert not torch.equal(learner.order()[a], learner.order()[b])


@pytest.mark.parametrize("option", OPTIONS)
def test_state_and_load_continue_to_the_bit(option: str) -> None:
    name, changes, actions = OPTIONS[option]
    settings = small(name, **changes)
    whole, other = (agent(settings, actions=ACTIONS[actions]) for _ in range(2))
    world = world_of(settings)
    live(whole, world, 19)
    other.load(copied(whole.state()))
    same = deepcopy(world)
    log, again = live(whole, world, 16), live(other, same, 16)
    for key in log:
        assert all(torch.equal(a, b) for a, b in zip(log[key], again[key], strict=True))
    equal(whole.state(), other.state())


@pytest.mark.parametrize("option", ["ppo, continuous, normalised", "ppo, gru", "a2c, q", "grpo"])
def test_a_seed_taken_out_of_a_state_goes_on_alone(option: str) -> None:
    name, changes, actions = OPTIONS[option]
    settings = small(name, **changes)
    together = agent(settings, actions=ACTIONS[actions])
    alone = agent(settings, (SEEDS[ALONE],), ACTIONS[actions])
    world = world_of(settings)
    live(together, world, 19)
    alone.load(copied(take_seed(together.state(), ALONE)))
    single = deepcopy(world)
    single.streams = single.streams[ALONE : ALONE + 1]
    for name in ("obs", "over"):
        if hasattr(single, name):
            setattr(single, name, getattr(single, name)[ALONE : ALONE + 1])
    live(together, world, 16)
    live(alone, single, 16)
    equal(state_of(together, ALONE), state_of(alone, 0))
