"""Where two components meet: every combination runs, and every switch changes what is learned."""

from dataclasses import asdict
from itertools import product
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf

from prism.algos.core import legality
from prism.algos.core.agent import Component
from prism.algos.policy_gradient.a2c import A2C
from prism.algos.policy_gradient.a3c import A3C
from prism.algos.policy_gradient.grpo import GRPO
from prism.algos.policy_gradient.ppo import PPO
from prism.algos.policy_gradient.reinforce import Reinforce
from prism.algos.policy_gradient.trpo import TRPO
from prism.benchmark.plan.variants import changes
from tests.algos.policy_gradient.agents import agent, config, live, params, small, world_of
from tests.helpers import SEEDS

FAMILY: dict[str, Any] = {
    "ppo": PPO,
    "a2c": A2C,
    "trpo": TRPO,
    "grpo": GRPO,
    "reinforce": Reinforce,
}
SIX = [c for c in PPO.COMPONENTS if not c.foundation]
# masks change nothing where there are none: test_masks.py
EACH = [
    (name, c) for name, cls in FAMILY.items() for c in cls.COMPONENTS if c != legality.COMPONENT
]


@pytest.mark.parametrize("cls", [*FAMILY.values(), A3C])
def test_overrides_name_fields_and_move_them(cls: Any) -> None:
    fields = asdict(cls.Config())
    for component in cls.COMPONENTS:
        assert component.on.keys() <= component.off.keys() <= fields.keys()
        assert all(component.on[key] != component.off[key] for key in component.on)


def learned(name: str, values: dict[str, Any], ticks: int = 60) -> torch.Tensor:
    """Return the parameters behind some updates, in the same world."""
    settings = small(name, **values)
    learner = agent(settings, budget=1000)
    live(learner, world_of(settings), ticks)
    return params(learner).clone()


# what makes a difference visible within a few updates of a small agent
LOUD: dict[str, dict[str, Any]] = {
    "clip": {"lr": 3e-2, "epochs": 4},
    "value clipping": {"lr": 3e-2, "epochs": 4},
    "gradient clipping": {"grad_clip": 0.01},
    "line search": {"max_kl": 20.0, "damping": 0.0},
}


@pytest.mark.parametrize(("name", "component"), EACH, ids=lambda x: getattr(x, "name", x))
def test_every_switch_changes_what_is_learned(name: str, component: Component) -> None:
    loud = LOUD.get(component.name, {})
    on, off = (learned(name, loud | dict(side)) for side in (component.on, component.off))
    assert on.isfinite().all() and off.isfinite().all()
    if on.shape == off.shape:  # a baseline or a critic of Q has parameters of its own
        for k in range(len(SEEDS)):
            rows = on.shape[0] // len(SEEDS)
            mine = slice(k * rows, (k + 1) * rows)
            assert not torch.equal(on[mine], off[mine])


@pytest.mark.parametrize("switches", list(product((False, True), repeat=6)), ids=str)
def test_every_combination_of_ppo_runs(switches: tuple[bool, ...]) -> None:
    values: dict[str, Any] = {"hidden": [8], "lr": 1e-2}
    for component, on in zip(SIX, switches, strict=True):
        values |= component.on if on else component.off
    settings = small("ppo", **values)
    learner = agent(settings, SEEDS[:2])
    before = params(learner).clone()
    log = live(learner, world_of(settings, SEEDS[:2]), 17)
    assert len(log["loss/policy"]) == 2 and torch.stack(log["loss/policy"]).isfinite().all()
    assert params(learner).isfinite().all() and not torch.equal(params(learner), before)


def test_ppo_is_all_of_its_six_and_leaves_them_out_one_by_one() -> None:
    preset = OmegaConf.structured(config("ppo"))
    variants = changes(PPO, preset, "leave_one_out")
    assert {c.label for c in variants} == {f"PPO - {c.name}" for c in SIX} and len(SIX) == 6
    (none,) = changes(PPO, preset, "none")
    assert none.values == {key: v for c in SIX for key, v in c.off.items()}
    (normal,) = changes(PPO, preset, "+observation normalisation")
    assert normal.values == {"normalize_obs": True}
