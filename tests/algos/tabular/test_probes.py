"""A truncation bootstraps, a termination does not: every preset, on one state that pays 1."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from prism.algos.core.mdp import from_table
from tests.tabular import Life, presets

GAMMA, T = 0.5, 4
STEPS = {s: [[(1.0, s + 1, 1.0, s == T - 1)]] for s in range(T)}
ROW = from_table(STEPS | {T: [[(1.0, T, 0.0, True)]]}, np.eye(T + 1)[0])
LOOP = from_table({0: [[(1.0, 0, 1.0, False)]]}, np.ones(1))


def values(name: str, model: object, ticks: int, horizon: int | None) -> torch.Tensor:
    config = replace(presets()[name], gamma=GAMMA, alpha=0.4)
    if config.rule == "dyna":
        config = replace(config, planning_bonus=0.0, planning_steps=2)
    life = Life(config, model, (0, 1), ticks, horizon).live(ticks)
    return life.agent.q()[..., 0]


@pytest.mark.parametrize("name", presets())
def test_a_truncation_bootstraps(name: str) -> None:
    q = values(name, LOOP, 80, T)
    assert q.numpy() == pytest.approx(np.full((2, 1), 1 / (1 - GAMMA)), abs=0.02)


@pytest.mark.parametrize("name", presets())
def test_a_termination_does_not(name: str) -> None:
    q = values(name, ROW, 160, None)
    expected = (1 - GAMMA ** (T - np.arange(T))) / (1 - GAMMA)
    assert q[:, :T].numpy() == pytest.approx(np.tile(expected, (2, 1)), abs=0.02)
