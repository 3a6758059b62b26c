"""Where components meet: every combination runs, learns and stays finite."""

from itertools import product
from typing import Any

import pytest
import torch

from prism.algos.actor_critic.sac import SAC
from prism.algos.actor_critic.sac_discrete import SACDiscrete
from prism.algos.actor_critic.td3 import TD3
from prism.algos.core import torso
from tests.algos.actor_critic.agents import agent, drive, preset, tiny
from tests.helpers import SEEDS, VECTOR, World

LATER = ("observation normalisation", "annealing", "gSDE")  # all of them on, or all off


def combinations(name: str, cls: Any) -> list[Any]:
    """Return every choice of on and off, named by what is off."""
    parts = [c for c in cls.COMPONENTS if c not in torso.COMPONENTS]  # test_off_policy_slices.py
    cases, own = [], [c.name for c in parts if c.name not in LATER]
    for *switches, later in product((True, False), repeat=len(own) + 1):
        on = dict(zip(own, switches, strict=True))
        pairs = [(c, on.get(c.name, later)) for c in parts]
        values = {k: v for c, on in pairs for k, v in (c.on if on else c.off).items()}
        off = ", ".join(c.name for c, on in pairs if not on)
        cases.append(pytest.param(name, values, id=f"{name} - {off or 'nothing'}"))
    return cases


CASES = [
    *combinations("td3", TD3),
    *combinations("sac", SAC),
    *combinations("sac_discrete", SACDiscrete),
]


@pytest.mark.parametrize(("name", "values"), CASES)
def test_every_combination_learns_and_stays_finite(name: str, values: dict[str, Any]) -> None:
    config = tiny(name, hidden=[8], lanes=2, actor_lr=1e-2, critic_lr=1e-2, **values)
    learner = agent(config, SEEDS[:2])
    before = learner.actor.params.clone(), learner.critics.params.clone()
    log = drive(learner, World(VECTOR, SEEDS[:2], 2), 12)
    assert len(log["loss/critic"]) == 9
    assert all(torch.stack(x).isfinite().all() for n, x in log.items() if n != "index")
    for now, then in zip((learner.actor.params, learner.critics.params), before, strict=True):
        assert now.isfinite().all() and not torch.equal(now, then)


@pytest.mark.parametrize(
    ("name", "cls"), [("td3", TD3), ("ddpg", TD3), ("sac", SAC), ("sac_discrete", SACDiscrete)]
)
def test_every_override_names_a_field_and_moves_it(name: str, cls: Any) -> None:
    fields = vars(preset(name)).keys()
    for component in cls.COMPONENTS:
        assert component.on.keys() <= component.off.keys() <= fields
        assert all(component.on[key] != component.off[key] for key in component.on)
        for values in (component.on, component.off):
            preset(name, **values)  # each side is a valid config
