"""What the configs of every family refuse before anything is built or written."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from prism.algos.actor_critic.sac import SACConfig
from prism.algos.actor_critic.td3 import TD3Config
from prism.algos.cem.config import CEMConfig
from prism.algos.core import schedules
from prism.algos.dqn.config import DQNConfig, Exploration
from prism.algos.policy_gradient.a2c import A2CConfig
from prism.algos.policy_gradient.a3c import A3CConfig
from prism.algos.policy_gradient.grpo import GRPOConfig
from prism.algos.policy_gradient.ppo import PPOConfig
from prism.algos.policy_gradient.reinforce import ReinforceConfig
from prism.algos.policy_gradient.trpo import TRPOConfig
from prism.algos.tabular.config import Behaviour, TabularConfig
from tests.helpers import SEEDS, VECTOR, World, agent, drive, tiny

DEEP = (DQNConfig, PPOConfig, A2CConfig, A3CConfig, GRPOConfig, ReinforceConfig, TRPOConfig)
POLICIES = ((DQNConfig, "exploration", Exploration), (TabularConfig, "behaviour", Behaviour))


@pytest.mark.parametrize("config", DEEP, ids=lambda config: config.name)
@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("optimizer", "adamw", "must be one of adam"),
        ("lr", -1e-3, "must be at least 0"),
        ("lr", float("inf"), "must be at least 0 and finite"),
        ("lr", float("nan"), "must be at least 0"),
        ("optimizer_eps", -1.0, "must be above 0"),
        ("optimizer_eps", 0.0, "must be above 0"),
        ("betas", [0.9], "two numbers"),
        ("betas", [0.9, 1.0], "must all be at least 0 and below 1"),
        ("betas", [-0.1, 0.9], "must all be at least 0"),
        ("rmsprop_alpha", 1.0, "must be at least 0 and below 1"),
        ("grad_clip", -1.0, "must be above 0"),
        ("grad_clip", 0.0, "must be above 0"),
        ("conv", [[16, 3]], r"\[channels, kernel, stride\]"),
        ("conv", [[16, 3, 1], [16, 3, 0]], "must all be at least 1, got ..16, 3, 1., .16, 3, 0"),
        ("hidden", [64, 0], "must all be at least 1"),
    ],
)
def test_an_optimiser_that_could_not_descend_and_layers_of_nothing(
    config: type, key: str, value: Any, says: str
) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        config(**{key: value})
    assert str(caught.value).startswith(key) and "\n" not in str(caught.value)


@pytest.mark.parametrize("config", [SACConfig, TD3Config, CEMConfig])
def test_layers_of_nothing(config: type) -> None:
    with pytest.raises(ValueError, match="hidden must all be at least 1, got"):
        config(hidden=[0])


@pytest.mark.parametrize("config", DEEP, ids=lambda config: config.name)
@pytest.mark.parametrize("kind", ["rmsprop", "rmsprop_uncentred"])
def test_a_decay_of_the_other_optimiser(config: type, kind: str) -> None:
    with pytest.raises(ValueError, match=f"betas are Adam's; optimizer={kind} has rmsprop_alpha"):
        config(optimizer=kind, betas=[0.8, 0.95])


@pytest.mark.parametrize("config", [DQNConfig, SACConfig, TD3Config])
def test_a_cadence_that_no_tick_falls_on(config: type) -> None:
    with pytest.raises(ValueError, match=r"lanes=3 or a multiple of it, for instance 9 or 12"):
        config(lanes=3, train_every=10)
    for every in (1, 2, 3, 9, 12):
        config(lanes=3, train_every=every)


@pytest.mark.parametrize(("config", "key", "policy"), POLICIES)
@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"kind": "epsilon"}, "kind must be one of"),
        ({"schedule": "cosine"}, "schedule must be one of"),
        ({"fraction": 1.5}, "fraction must be between 0 and 1"),
        ({"start": 2.0}, "start must be between 0 and 1"),
        ({"end": -0.1}, "end must be at least 0"),
        ({"schedule": "exponential", "end": 0.0}, "end must be above 0"),
        ({"schedule": "exponential", "start": 0.0}, "start must be above 0"),
        ({"kind": "boltzmann", "start": 0.0}, "start must be above 0"),
        ({"kind": "boltzmann", "schedule": "linear", "end": 0.0}, "end must be above 0"),
        ({"kind": "boltzmann", "start": float("inf")}, "start must be at least 0 and finite"),
    ],
)
def test_a_schedule_that_could_not_run(
    config: type, key: str, policy: type, values: dict[str, Any], says: str
) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        config(**{key: policy(**values)})
    assert str(caught.value).startswith(f"{key}.") and "\n" not in str(caught.value)


@pytest.mark.parametrize(("config", "key", "policy"), POLICIES)
@pytest.mark.parametrize("schedule", ["harmonic", "constant"])
def test_an_end_that_is_not_reached_may_be_zero(
    config: type, key: str, policy: type, schedule: str
) -> None:
    config(**{key: policy(kind="boltzmann", start=1.0, end=0.0, schedule=schedule)})


@pytest.mark.parametrize("schedule", schedules.KINDS)
@pytest.mark.parametrize("kind", ["epsilon_greedy", "boltzmann"])
def test_the_smallest_levels_that_pass_still_act_at_random(kind: str, schedule: str) -> None:
    end = 0.0 if schedule == "linear" and kind == "epsilon_greedy" else 1e-6
    exploration = Exploration(kind, start=1.0, end=end, schedule=schedule)
    learner = agent(replace(tiny(), exploration=exploration), budget=20)
    actions = torch.stack(drive(learner, World(VECTOR, SEEDS), 20)["action"])
    assert actions.float().std() > 0 and torch.isfinite(learner.learner.params).all()
