"""A state is that of the parts a class names: layout, resume, acting alone, and what is refused."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.algos.core.parts import HasParts, Part
from prism.algos.core.rng import RandomStream
from prism.benchmark.store.checkpoint import take_seed
from tests.helpers import SEEDS, copied, equal


class Memory(HasParts):
    """Every kind of a part, and a view of one."""

    PARTS = ("tensor", "array", "count", "word", "draws", "several", "rows", "nothing")
    GROWING = ("rows",)

    def __init__(self, fill: float = 0.0) -> None:
        self.tensor, self.array = torch.full((3, 2), fill), np.full((3, 4), fill)
        self.view = self.array.reshape(-1)
        self.count, self.word, self.nothing = int(fill), str(fill), None
        self.draws = RandomStream(SEEDS, "draws", (2,))
        self.several: dict[str, Any] = {"a": torch.full((3,), fill), "b": 2 * int(fill)}
        self.rows = {"x": torch.full((3, 1 + int(fill)), fill)}


class Actor(HasParts):
    """A policy, and what only learning needs."""

    POLICY = ("weights", "norm")
    PARTS = ("steps",)

    def __init__(self, fill: float = 0.0, norm: bool = True) -> None:
        self.weights, self.steps = torch.full((3, 2), fill), int(fill)
        self.norm = torch.full((3,), fill) if norm else None


class Whole(HasParts):
    """An agent: a part with a policy, one that is all policy, and one with none."""

    POLICY = ("actor", "table")
    PARTS = ("memory", "ticks")

    def __init__(self, fill: float = 0.0) -> None:
        self.actor, self.memory = Actor(fill), Memory(fill)
        self.table, self.ticks = torch.full((3, 2), fill), int(fill)


def test_the_layout_is_that_of_the_names() -> None:
    state = Whole(1.0).state()
    assert state.keys() == {"policy", "actor", "memory", "ticks"}
    assert state["policy"].keys() == {"actor", "table"}
    assert state["policy"]["actor"].keys() == {"weights", "norm"}
    assert state["actor"] == {"steps": 1} and state["ticks"] == 1
    assert state["memory"].keys() == set(Memory.PARTS) - {"nothing"}
    assert state["memory"]["draws"] == {"block": -1, "offset": 8192}


def test_a_state_holds_the_parts_own_numbers() -> None:
    whole = Whole(1.0)
    state = whole.state()
    whole.memory.array[1] = 7.0
    whole.memory.tensor[1] = 7.0
    assert (state["memory"]["array"][1] == 7).all() and (state["memory"]["tensor"][1] == 7).all()


def test_a_state_is_continued_and_views_follow() -> None:
    whole, other = Whole(3.0), Whole()
    whole.memory.draws()
    other.load(copied(whole.state()))
    equal(whole.state(), other.state())
    assert other.memory.word == "3.0" and other.memory.several["b"] == 6
    assert (other.memory.view == 3).all()  # the array was filled, not replaced
    assert torch.equal(other.memory.draws(), whole.memory.draws())
    assert other.memory.rows["x"].shape == (3, 4)


def test_what_was_loaded_is_not_shared() -> None:
    whole, other = Whole(3.0), Whole()
    state = copied(whole.state())
    other.load(state)
    for part in (state["memory"]["array"], state["memory"]["rows"]["x"], state["policy"]["table"]):
        part.zero_()
    assert (other.memory.array == 3).all() and (other.table == 3).all()
    assert (other.memory.rows["x"] == 3).all()


def test_the_policy_alone_leaves_the_rest() -> None:
    other = Whole(1.0)
    other.load({"policy": copied(Whole(3.0).state()["policy"])})
    assert (other.actor.weights == 3).all() and (other.table == 3).all()
    assert other.actor.steps == other.ticks == 1 and (other.memory.tensor == 1).all()


def test_a_part_with_a_policy_has_a_whole_state_of_its_own() -> None:
    actor, other = Actor(3.0), Actor()
    assert actor.state().keys() == {"policy", "steps"}
    other.load(copied(actor.state()))
    equal(actor.state(), other.state())


def test_seeds_can_be_taken_out() -> None:
    state = take_seed(Whole(2.0).state(), 1)
    assert state["memory"]["array"].shape == (1, 4) and state["policy"]["table"].shape == (1, 2)


def test_a_part_that_is_none_is_not_there() -> None:
    plain, other = Actor(3.0, norm=False), Actor(norm=False)
    assert plain.state()["policy"].keys() == {"weights"}
    other.load(copied(plain.state()))
    assert (other.weights == 3).all() and other.norm is None


@pytest.mark.parametrize("missing", ["ticks", "memory", "actor"])
def test_a_state_without_a_part_is_refused(missing: str) -> None:
    state = copied(Whole(3.0).state())
    del state[missing]
    with pytest.raises(ValueError, match=rf"the state lacks Whole\.{missing}"):
        Whole().load(state)


def test_a_state_without_an_entry_of_a_dict_is_refused() -> None:
    state = copied(Whole(3.0).state())
    del state["memory"]["several"]["a"]
    with pytest.raises(ValueError, match=r"the state lacks Memory\.several\.a"):
        Whole().load(state)


def wider(state: dict[str, Any], *path: str) -> dict[str, Any]:
    """Return a state in which one tensor has a column more."""
    state = copied(state)
    part = state
    for key in path[:-1]:
        part = part[key]
    x: Tensor = part[path[-1]]
    part[path[-1]] = torch.cat([x, x], -1)
    return state


@pytest.mark.parametrize(
    ("path", "says"),
    [
        (("memory", "tensor"), r"Memory\.tensor has the shape \(3, 2\), in the state \(3, 4\)"),
        (("memory", "array"), r"Memory\.array has the shape \(3, 4\), in the state \(3, 8\)"),
        (("memory", "several", "a"), r"Memory\.several\.a has the shape \(3,\)"),
        (("policy", "actor", "weights"), r"Actor\.weights has the shape"),
    ],
)
def test_another_shape_is_refused_by_name(path: tuple[str, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        Whole().load(wider(Whole(0.0).state(), *path))
    assert "\n" not in str(caught.value)


def test_what_has_state_and_load_is_a_part() -> None:
    assert isinstance(Memory(), Part) and isinstance(RandomStream(SEEDS, "x", ()), Part)
    assert not isinstance(torch.zeros(1), Part) and not isinstance({}, Part)
