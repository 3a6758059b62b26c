"""A seed's training is what it would be alone, to the bit; and no two seeds are alike."""

from copy import deepcopy
from itertools import combinations
from typing import Any

import pytest
import torch
from gymnasium import spaces

from prism.algos.core.agent import State
from prism.algos.dqn.config import DQNConfig, Exploration
from prism.algos.dqn.dqn import DQN
from prism.benchmark.store.checkpoint import take_seed
from tests.helpers import (
    IMAGE,
    SEEDS,
    VECTOR,
    World,
    agent,
    copied,
    drive,
    equal,
    preset,
    presets,
    steady,
)

ALONE = SEEDS.index(11)

OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "layer norm, dropout": ("dqn", {"norm": "layer", "dropout": 0.1}),
    "batch norm, soft target": ("rainbow", {"norm": "batch", "target": "soft"}),
    "rmsprop, huber, clipping": (
        "dqn",
        {"optimizer": "rmsprop", "loss": "huber", "grad_clip": 0.5, "optimizer_eps": 0.01},
    ),
    "sgd, boltzmann": ("dqn", {"optimizer": "sgd", "exploration": Exploration("boltzmann")}),
    "coin, prioritized, categorical": (
        "double_q",
        {"prioritized": True, "value": "categorical", "dueling": True, "optimizer": "rmsprop"},
    ),
    "no replay": ("dqn", {"replay": False, "target": "none"}),
    "no replay, batch norm, lanes": ("qrdqn", {"replay": False, "lanes": 4, "norm": "batch"}),
    "lanes, odd batch": ("rainbow", {"lanes": 4, "batch_size": 37, "gradient_steps": 2}),
    "scalar, dueling, prioritized": (
        "per_dqn",
        {"dueling": True, "noisy": True, "n_step": 5, "double": "target", "hidden": [33]},
    ),
    "quantile, dueling, odd widths": (
        "qrdqn",
        {"dueling": True, "noisy": True, "quantiles": 7, "hidden": [19, 5], "kappa": 0.0},
    ),
    "gru, coin, dueling, lanes": (
        "double_q",
        {"memory": "gru", "dueling": True, "lanes": 2, "batch_size": 4, "memory_size": 7}
        | {"sequence": 5, "burn_in": 3},
    ),
    "lstm, quantile, noisy, layer norm": (
        "qrdqn",
        {"memory": "lstm", "noisy": True, "double": "target", "norm": "layer", "batch_size": 3}
        | {"sequence": 6, "burn_in": 0, "memory_size": 32},
    ),
    "one action wide": ("dueling_dqn", {"hidden": [1], "batch_size": 1}),
}


def quick(name: str, updates: int, **changes: Any) -> DQNConfig:
    """Return a preset at its own size, with an update at every tick and a ring that wraps."""
    eager = {"learning_starts": 20, "train_every": 1, "buffer_size": max(40, updates // 2)}
    return preset(name, **(eager | {"target_every": 25} | changes))


def live(config: DQNConfig, obs: spaces.Box, seeds: tuple[int, ...], updates: int) -> Any:
    learner = agent(config, seeds, obs=obs, budget=2 * updates)
    ticks = -(-20 // config.lanes) + updates // config.gradient_steps
    return learner, drive(learner, World(obs, seeds, config.lanes), ticks)


def comparable(learner: DQN, k: int) -> State:
    state = take_seed(learner.state(), k)
    del state["experience"]["buffer"]["truncated_obs"]  # its size follows the fullest seed
    return state


def check_slice(config: DQNConfig, obs: spaces.Box, updates: int) -> None:
    together, log = live(config, obs, SEEDS, updates)
    alone, expected = live(config, obs, (SEEDS[ALONE],), updates)
    assert len(log["loss"]) >= updates // config.gradient_steps - 1
    for name in log:
        assert len(log[name]) == len(expected[name])
        for i, (a, b) in enumerate(zip(log[name], expected[name], strict=True)):
            assert torch.equal(a[ALONE : ALONE + 1], b), f"{name} {i}"
    assert torch.stack(log["loss"]).isfinite().all()
    equal(comparable(together, ALONE), comparable(alone, 0))


@pytest.mark.parametrize("name", presets())
def test_slice(name: str) -> None:
    check_slice(quick(name, 40), VECTOR, 40)


@pytest.mark.parametrize("option", OPTIONS)
def test_slice_of_options(option: str) -> None:
    name, changes = OPTIONS[option]
    check_slice(quick(name, 40, **changes), VECTOR, 40)


@pytest.mark.parametrize("name", ["dqn", "recurrent_dqn", "rainbow"])
def test_slice_of_convolutions(name: str) -> None:
    size = {"batch_size": 4, "sequence": 4} if name == "recurrent_dqn" else {"batch_size": 32}
    check_slice(quick(name, 20, **size), IMAGE, 20)


@pytest.mark.slow
@pytest.mark.parametrize("name", presets())
@pytest.mark.parametrize("obs", [VECTOR, IMAGE], ids=["vector", "image"])
def test_slice_over_a_thousand_updates(name: str, obs: spaces.Box) -> None:
    size = {} if obs is VECTOR else {"batch_size": 32}  # MinAtar's batch
    check_slice(quick(name, 1000, **size), obs, 1000)


@pytest.mark.slow
@pytest.mark.parametrize("option", OPTIONS)
@pytest.mark.parametrize("obs", [VECTOR, IMAGE], ids=["vector", "image"])
def test_slice_of_options_over_a_thousand_updates(option: str, obs: spaces.Box) -> None:
    name, changes = OPTIONS[option]
    size = {} if obs is VECTOR else {"batch_size": 32}
    check_slice(quick(name, 1000, **(size | changes)), obs, 1000)


@pytest.mark.parametrize("name", presets())
def test_any_two_seeds_differ(name: str) -> None:
    seeds = (0, 1, 2, 3)
    # the same world for all: what differs is the agent's own
    config = quick(name, 10, batch_size=32, exploration=steady(1.0))
    learner = agent(config, seeds)
    first = learner.learner.params.view(4, -1).clone()
    world = World(VECTOR, (7,) * 4, config.lanes)
    log = drive(learner, world, 28)
    actions, index = (torch.stack(log[name], 1).flatten(1) for name in ("action", "index"))
    for a, b in combinations(range(len(seeds)), 2):
        assert (first[a] != first[b]).float().mean() > 0.5
        assert not torch.equal(actions[a], actions[b])
        assert (index[a] != index[b]).float().mean() > 0.1  # strata keep prioritised draws alike
    if config.double == "coin":  # and so do the two networks of one seed
        twins = learner.learner.weights.params
        assert (twins[:, 0] != twins[:, 1]).float().mean() > 0.5


@pytest.mark.parametrize("name", ["double_q", "rainbow"])
def test_train_twice_equal(name: str) -> None:
    runs = [live(quick(name, 12), VECTOR, SEEDS, 12) for _ in range(2)]
    equal(runs[0][0].state(), runs[1][0].state())


@pytest.mark.parametrize("name", ["dqn", "recurrent_dqn", "rainbow", *OPTIONS])
def test_state_and_load_continue_to_the_bit(name: str) -> None:
    base, changes = OPTIONS.get(name, (name, {}))
    config = quick(base, 20, **changes)
    whole, other, world = agent(config), agent(config), World(VECTOR, SEEDS, config.lanes)
    drive(whole, world, 25)
    other.load(copied(whole.state()))
    same = deepcopy(world)
    log, again = drive(whole, world, 8), drive(other, same, 8)
    for key in log:
        assert all(torch.equal(a, b) for a, b in zip(log[key], again[key], strict=True))
    equal(whole.state(), other.state())


@pytest.mark.parametrize("name", ["double_q", "rainbow"])
def test_a_seed_taken_out_of_a_state_goes_on_alone(name: str) -> None:
    config = quick(name, 20, norm="batch", lanes=2)
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
