"""What an agent returns at first is checked, in one line that names the agent."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from prism.benchmark.store import schema
from prism.benchmark.store.spec import RunSpec
from prism.benchmark.train import protocol
from prism.benchmark.train.runner import run_job
from tests.runs import job, states, status

CPU = torch.device("cpu")
GRID = (3, 2)


def trained(folder: Path, agent: str) -> Any:
    work = job(folder, "dqn", "cartpole", budget=8, evaluation__every=0)
    name = f"tests.train.sound:{agent}"
    algo = {"agent": name, "name": agent, "lanes": 2, "reset": "each", "gamma": 0.9}
    work.spec = RunSpec.parse(work.spec.record | {"algo": algo})
    run_job(work)
    return work


@pytest.mark.parametrize(
    ("agent", "text"),
    [
        ("FlatActions", "act() returns actions of shape [2], not [K, N] = [3, 2]"),
        ("FloatActions", "act() returns actions of float32, not int64"),
        ("StateOfLists", "state() holds losses of type list, not a tensor, an int or a string"),
        ("StateWithoutK", "state() holds mean of shape [2], which does not lead with K = 3"),
        ("Unloading", "load() does not restore what state() returned: ticks"),
    ],
)
def test_a_run_of_a_broken_agent_ends_in_one_line(agent: str, text: str, tmp_path: Path) -> None:
    work = trained(tmp_path, agent)
    assert set(states(work)) == {schema.FAILED}
    assert status(work, 0)["reason"] == f"ConfigError: algo.agent=tests.train.sound:{agent}: {text}"


def test_a_sound_agent_trains(tmp_path: Path) -> None:
    assert set(states(trained(tmp_path, "Sound"))) == {schema.FINISHED}


DISCRETE, BOX = spaces.Discrete(3), spaces.Box(-1, 1, (4,), np.float32)
MULTI = spaces.MultiDiscrete([2, 3])


@pytest.mark.parametrize(
    ("action", "space", "text"),
    [
        (torch.zeros(3, 2).numpy(), DISCRETE, "of type ndarray, not a tensor"),
        (torch.zeros(3, 2, 1).long(), DISCRETE, "of shape [3, 2, 1], not [K, N] = [3, 2]"),
        (torch.zeros(3, 2).int(), DISCRETE, "of int32, not int64"),
        (torch.full((3, 2), 3), DISCRETE, "the action 3, not one of Discrete(3)"),
        (torch.full((3, 2), -1), DISCRETE, "the action -1, not one of Discrete(3)"),
        (torch.full((3, 2), 1), MULTI, "of shape [3, 2], not [K, N, D] = [3, 2, 2]"),
        (torch.full((3, 2, 2), 2), MULTI, "the action 2, not one of MultiDiscrete([2 3])"),
        (torch.zeros(3, 2), BOX, "of shape [3, 2], not [K, N, D] = [3, 2, 4]"),
        (torch.zeros(3, 2, 4).double(), BOX, "of float64, not float32"),
        (torch.zeros(3, 2, device="meta").long(), DISCRETE, "on meta, not cpu"),
    ],
)
def test_wrong_actions(action: Any, space: spaces.Space, text: str) -> None:
    assert text in str(protocol.wrong_action(action, GRID, space, CPU))


def test_right_actions() -> None:
    for action, space in (
        (torch.full((3, 2), 2), DISCRETE),
        (torch.ones(3, 2, 2).long(), MULTI),
        (torch.full((3, 2, 4), 9.0), BOX),
    ):
        assert protocol.wrong_action(action, GRID, space, CPU) is None


def test_states_differ_where_a_bit_does() -> None:
    state = {"a": {"b": torch.tensor([0.0, float("nan")])}, "n": 1}
    assert protocol.difference(state, protocol.reread(protocol.saved(state))) is None
    for other, at in (
        ({"a": {"b": torch.tensor([1e-30, float("nan")])}, "n": 1}, "a/b"),
        ({"a": {"b": torch.tensor([0.0, 0.0])}, "n": 1}, "a/b"),
        ({"a": {"b": state["a"]["b"].double()}, "n": 1}, "a/b"),  # type: ignore[index]
        ({"a": state["a"], "n": 2}, "n"),
        ({"a": state["a"], "n": True}, "n"),
        ({"a": state["a"]}, "its keys: n"),
    ):
        assert protocol.difference(state, other) == at
