"""A seed's training is what it would be alone, to the bit; and no two seeds are alike."""

from copy import deepcopy
from itertools import combinations
from typing import Any

import pytest
import torch
from gymnasium import spaces

from prism.algos.core.agent import State
from prism.benchmark.store.checkpoint import take_seed
from tests.algos.actor_critic.agents import PRESETS, agent, drive, preset
from tests.helpers import IMAGE, SEEDS, VECTOR, World, copied, equal

ALONE = SEEDS.index(11)

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "ornstein-uhlenbeck, lanes": ("td3", {"noise": "ornstein_uhlenbeck", "lanes": 4}),
    "no noise, no targets": ("ddpg", {"noise": "none", "target": "none"}),
    "td3 without replay": ("td3", {"replay": False, "lanes": 4}),
    "odd widths, odd batch": ("td3", {"hidden": [33, 5], "batch_size": 37, "critics": 3}),
    "one wide": ("td3", {"hidden": [1], "batch_size": 1, "critics": 1}),
    "fixed temperature, one critic": ("sac", {"temperature": "fixed", "critics": 1}),
    "no entropy, odd widths": ("sac", {"entropy": False, "hidden": [19, 7], "batch_size": 37}),
    "sac without replay": ("sac", {"replay": False, "lanes": 3, "gradient_steps": 2}),
    "sac, batch norm, dropout": ("sac", {"norm": "batch", "dropout": 0.1, "critics": 2}),
    "sac, layer norm": ("sac", {"norm": "layer", "target": "none"}),
    "sac, one wide": ("sac", {"hidden": [1], "batch_size": 1, "lanes": 2}),
    "gsde, lanes": ("sac", {"gsde": True, "gsde_every": 3, "lanes": 3, "hidden": [19, 7]}),
    "gsde, one wide": ("sac", {"gsde": True, "hidden": [1], "batch_size": 1}),
    "td3, normalised, annealed": ("td3", {"normalize_obs": True, "anneal": True, "lanes": 2}),
    "sac, normalised, annealed": ("sac", {"normalize_obs": True, "anneal": True}),
    "discrete, odd widths": ("sac_discrete", {"hidden": [19, 7], "batch_size": 37, "lanes": 3}),
    "discrete, one wide": ("sac_discrete", {"hidden": [1], "batch_size": 1, "critics": 1}),
    "image, sac": ("sac", {"conv": [[3, 3, 2]], "normalize_obs": True}),
    "image, sac, gsde": ("sac", {"conv": [[3, 3, 2]], "gsde": True, "lanes": 2}),
    "image, td3": ("td3", {"conv": [[4, 3, 2], [3, 2, 1]]}),
    "image, discrete, no targets": (
        "sac_discrete",
        {"conv": [[3, 3, 2]], "target": "none", "anneal": True},
    ),
}


def space(config: Any, actions: int) -> spaces.Space:
    if config.agent == "sac_discrete":
        return spaces.Discrete(1 + actions)
    return spaces.Box(-2.0, 2.0, (actions,))


def quick(name: str, updates: int, **changes: Any) -> Any:
    """Return a preset at its own size, with a buffer that wraps."""
    eager = {"learning_starts": 20, "warmup": 10, "buffer_size": max(40, updates // 2)}
    return preset(name, **(eager | changes))


def live(
    config: Any, seeds: tuple[int, ...], updates: int, actions: int = 2, obs: spaces.Box = VECTOR
) -> Any:
    task = {"obs": obs, "actions": space(config, actions), "budget": 2 * updates}
    learner = agent(config, seeds, **task)
    ticks = -(-20 // config.lanes) + updates // config.gradient_steps
    return learner, drive(learner, World(obs, seeds, config.lanes), ticks)


def comparable(learner: Any, k: int) -> State:
    state = take_seed(learner.state(), k)
    del state["experience"]["buffer"]["truncated_obs"]  # its size follows the fullest seed
    return state


def look(option: str) -> spaces.Box:
    """Return what an option's agent observes."""
    return IMAGE if option.startswith("image") else VECTOR


def check_slice(config: Any, updates: int, actions: int = 2, obs: spaces.Box = VECTOR) -> None:
    together, log = live(config, SEEDS, updates, actions, obs)
    alone, expected = live(config, (SEEDS[ALONE],), updates, actions, obs)
    assert len(log["loss/critic"]) >= updates // config.gradient_steps - 1
    for name in log:
        assert len(log[name]) == len(expected[name])
        for i, (a, b) in enumerate(zip(log[name], expected[name], strict=True)):
            assert torch.equal(a[ALONE : ALONE + 1], b), f"{name} {i}"
        assert torch.stack(log[name]).isfinite().all(), name
    equal(comparable(together, ALONE), comparable(alone, 0))


@pytest.mark.parametrize("name", PRESETS)
def test_slice(name: str) -> None:
    check_slice(quick(name, 12), 12)


@pytest.mark.parametrize("option", OPTIONS)
def test_slice_of_options(option: str) -> None:
    name, changes = OPTIONS[option]
    config = quick(name, 30, **({"hidden": [24, 16], "batch_size": 32} | changes))
    check_slice(config, 30, 3, look(option))


@pytest.mark.slow
@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("actions", [1, 6])
def test_slice_over_a_thousand_updates(name: str, actions: int) -> None:
    check_slice(quick(name, 1000), 1000, actions)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
def test_slice_of_options_over_a_thousand_updates(option: str) -> None:
    name, changes = OPTIONS[option]
    check_slice(quick(name, 1000, **changes), 1000, 3, look(option))


@pytest.mark.parametrize("name", PRESETS)
def test_any_two_seeds_differ(name: str) -> None:
    seeds = (0, 1, 2, 3)
    learner = agent(quick(name, 10, hidden=[16, 16], batch_size=32, warmup=4), seeds)
    actor = learner.actor.weights.params.flatten(1).clone()
    critics = learner.critics.weights.params.clone()
    world = World(VECTOR, (7,) * 4)  # the same for all: what differs is the agent's own
    log = drive(learner, world, 30)
    actions, index = (torch.stack(log[n], 1).flatten(1) for n in ("action", "index"))
    for a, b in combinations(range(len(seeds)), 2):
        assert (actor[a] != actor[b]).float().mean() > 0.5
        assert (critics[a] != critics[b]).float().mean() > 0.5
        assert not torch.equal(actions[a, :8], actions[b, :8])  # the warm-up
        assert not torch.equal(actions[a, 8:], actions[b, 8:])
        assert (index[a] != index[b]).float().mean() > 0.5
    if learner.config.critics == 2:  # and so do the two critics of one seed
        assert (critics[:, 0] != critics[:, 1]).float().mean() > 0.5


@pytest.mark.parametrize("name", PRESETS)
def test_train_twice_equal(name: str) -> None:
    runs = [live(quick(name, 8, hidden=[16, 16]), SEEDS, 8) for _ in range(2)]
    equal(runs[0][0].state(), runs[1][0].state())


@pytest.mark.parametrize("name", [*PRESETS, *OPTIONS])
def test_state_and_load_continue_to_the_bit(name: str) -> None:
    base, changes = OPTIONS.get(name, (name, {}))
    config = quick(base, 20, **({"hidden": [16, 16], "batch_size": 16} | changes))
    whole, other = (agent(config, obs=look(name)) for _ in range(2))
    world = World(look(name), SEEDS, config.lanes)
    drive(whole, world, 25)
    other.load(copied(whole.state()))
    same = deepcopy(world)
    log, again = drive(whole, world, 8), drive(other, same, 8)
    for key in log:
        assert all(torch.equal(a, b) for a, b in zip(log[key], again[key], strict=True))
    equal(whole.state(), other.state())


@pytest.mark.parametrize("name", PRESETS)
def test_a_seed_taken_out_of_a_state_goes_on_alone(name: str) -> None:
    config = quick(name, 20, lanes=2, hidden=[16, 16], batch_size=16)
    together, alone = agent(config), agent(config, (SEEDS[ALONE],))
    world = World(VECTOR, SEEDS, 2)
    drive(together, world, 30)
    alone.load(copied(take_seed(together.state(), ALONE)))
    single = deepcopy(world)
    single.streams = single.streams[ALONE : ALONE + 1]
    single.obs = single.obs[ALONE : ALONE + 1]
    drive(together, world, 15)
    drive(alone, single, 15)
    equal(comparable(together, ALONE), comparable(alone, 0))
