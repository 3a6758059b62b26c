"""Experience: the cadence with lanes, its seeds alone and together, resume, and what it samples."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Spec
from prism.algos.core.experience import Experience, averaged
from prism.algos.core.samplers import Latest, Prioritized, Uniform
from prism.algos.dqn.config import DQNConfig
from prism.benchmark.store.checkpoint import take_seed
from tests.helpers import CPU, SEEDS, VECTOR, World, copied, equal

ALONE = SEEDS.index(11)
BOX = spaces.Box(-1, 1, (2,))
KINDS: dict[str, dict[str, Any]] = {
    "uniform": {},
    "prioritized": {"alpha": 0.6, "n_step": 3},
    "latest": {"replay": False},
}


def build(
    seeds: tuple[int, ...] = SEEDS,
    actions: spaces.Space | None = None,
    alpha: float | None = None,
    n_step: int = 1,
    **settings: Any,
) -> Experience:
    config = DQNConfig(**({"batch_size": 8, "learning_starts": 6, "train_every": 1} | settings))
    spec = Spec(VECTOR, actions or spaces.Discrete(3), 1000)
    return Experience(config, spec, seeds, CPU, 40, n_step, alpha)


def live(experience: Experience, world: World, ticks: int) -> list[Tensor]:
    """Add ticks and make the updates that are due; return what was sampled."""
    log = []
    for _ in range(ticks):
        shape = (len(world.streams), world.lanes)
        experience.add(world.step(torch.full(shape, experience.ticks % 3)))
        for _ in range(experience.due):
            batch, weight, index = experience.sample(0.4)
            log += [*batch, weight, index]
            experience.sampler.update(index, batch.reward.abs())
    return log


@pytest.mark.parametrize("gradient_steps", [1, 3])
@pytest.mark.parametrize(("lanes", "every"), [(1, 1), (1, 4), (2, 4), (3, 12), (4, 4), (8, 4)])
def test_updates_are_due_by_steps_not_by_ticks(lanes: int, every: int, gradient_steps: int) -> None:
    settings = {"lanes": lanes, "train_every": every, "learning_starts": 24}
    experience = build(**settings, gradient_steps=gradient_steps)
    world, due = World(VECTOR, SEEDS, lanes), []
    assert experience.due == 0
    for tick in range(1, 49):
        experience.add(world.step(torch.zeros(3, lanes, dtype=torch.int64)))
        assert experience.steps == tick * lanes
        assert experience.due in (0, gradient_steps)
        if experience.due:
            due.append(tick)
    gap = max(every, lanes)  # steps
    assert due == [t for t in range(1, 49) if t * lanes >= 24 and t * lanes % gap == 0]


def test_nothing_is_due_before_a_window_is_complete() -> None:
    experience, world = build(n_step=3, learning_starts=0), World(VECTOR, SEEDS)
    due = []
    for _ in range(4):
        experience.add(world.step(torch.zeros(3, 1, dtype=torch.int64)))
        due.append(experience.due)
    assert due == [0, 0, 1, 1]


@pytest.mark.parametrize(("lanes", "train_every"), [(1, 1), (1, 4), (2, 6), (3, 1), (4, 8)])
@pytest.mark.parametrize("every", [1, 5, 8, 20])
def test_a_multiple_of_steps_is_crossed_once(lanes: int, train_every: int, every: int) -> None:
    experience = build(lanes=lanes, train_every=train_every, learning_starts=0)
    world, times, last = World(VECTOR, SEEDS, lanes), 0, 0
    for _ in range(60):
        experience.add(world.step(torch.zeros(3, lanes, dtype=torch.int64)))
        if experience.due:
            reached = experience.steps // every > last // every
            assert experience.crossed(every) == reached
            times, last = times + reached, experience.steps
    assert times == min(last // every, last // max(train_every, lanes))


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_slice(kind: str, lanes: int) -> None:
    together, alone = build(lanes=lanes, **KINDS[kind]), build((11,), lanes=lanes, **KINDS[kind])
    ours = live(together, World(VECTOR, SEEDS, lanes), 50)
    theirs = live(alone, World(VECTOR, (11,), lanes), 50)
    assert len(ours) > 100
    for a, b in zip(ours, theirs, strict=True):
        assert torch.equal(a[ALONE : ALONE + 1], b)
    states = take_seed(together.state(), ALONE), alone.state()
    for state in states:
        del state["buffer"]["truncated_obs"]  # its size follows the fullest seed
    equal(*states)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_state_and_load_continue_to_the_bit(kind: str, lanes: int) -> None:
    whole, other = (build(lanes=lanes, train_every=2 * lanes, **KINDS[kind]) for _ in range(2))
    world, same = World(VECTOR, SEEDS, lanes), World(VECTOR, SEEDS, lanes)
    live(whole, world, 35)
    live(build(lanes=lanes), same, 35)
    other.load(copied(whole.state()))
    for a, b in zip(live(whole, world, 20), live(other, same, 20), strict=True):
        assert torch.equal(a, b)
    equal(whole.state(), other.state())


def test_the_settings_choose_the_sampler_and_the_room() -> None:
    types = {kind: type(build(**changes).sampler) for kind, changes in KINDS.items()}
    assert types == {"uniform": Uniform, "prioritized": Prioritized, "latest": Latest}
    assert build(lanes=4).buffer.rows == 40 // 4 + 1
    assert build(lanes=4, replay=False).buffer.rows == 2


@pytest.mark.parametrize(
    ("space", "shape", "dtype"),
    [(spaces.Discrete(3), (), np.int64), (BOX, (2,), np.float32)],
)
def test_actions_are_kept_as_they_are(space: spaces.Space, shape: Any, dtype: Any) -> None:
    action = build(actions=space).buffer.action
    assert action.shape[3:] == shape and action.dtype == dtype


def test_a_mean_over_gradient_steps_is_over_those_that_have_the_metric() -> None:
    one = {"loss/a": torch.tensor([1.0, 2.0])}
    two = {"loss/a": torch.tensor([3.0, 8.0]), "loss/b": torch.tensor([5.0, 7.0])}
    assert averaged([]) is None and averaged([one]) is one
    mean = averaged([one, two])
    assert mean is not None
    assert mean["loss/a"].tolist() == [2.0, 5.0] and mean["loss/b"].tolist() == [5.0, 7.0]
