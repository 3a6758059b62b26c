"""Agents learn the known values of tiny environments, through the real vector environment."""

from typing import Any

import numpy as np
import pytest
import torch

from prism.algos.core.agent import HasMemory
from tests.algos.policy_gradient.agents import config, train

R, T, GAMMA = 1.0, 10, 0.9
FOREVER = R / (1 - GAMMA)

AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ppo": ("ppo", {}),
    "ppo, value clipping": ("ppo", {"clip_value": True, "value_clip": 1.0}),
    "ppo, one torso": ("ppo", {"shared": True}),
    "ppo, normalised rewards": ("ppo", {"normalize_reward": True}),
    "ppo, gru": ("ppo", {"memory": "gru", "memory_size": 16}),
    "ppo, lambda 1": ("ppo", {"gae_lambda": 1.0}),
    "a2c": ("a2c", {}),
    "a2c, gae": ("a2c", {"gae_lambda": 0.9}),
    "a2c, q": ("a2c", {"critic": "q"}),
    "trpo": ("trpo", {}),
    "reinforce with baseline": ("reinforce_baseline", {}),
}
OWN: dict[str, dict[str, Any]] = {
    "ppo": {"rollout": 16, "batch_size": 32, "epochs": 8, "clip_value": False, "anneal": False},
    "a2c": {"optimizer": "adam", "lanes": 4},
    "trpo": {"rollout": 16, "lanes": 4, "batch_size": 32, "critic_epochs": 8},
    "reinforce_baseline": {"lanes": 4, "lr": 2e-2},
}
TICKS = {"ppo": 640, "a2c": 1000, "trpo": 640, "reinforce_baseline": 2000}


def quick(*names: str) -> list[Any]:
    """Return all agents, of which only the named ones are in the default suite."""
    return [n if n in names else pytest.param(n, marks=pytest.mark.slow) for n in AGENTS]


def trained(option: str, probe: str, changes: dict[str, Any] | None = None, **kwargs: Any) -> Any:
    name, own = AGENTS[option]
    settings = {"hidden": [24, 16], "lr": 5e-3, "gamma": GAMMA, "entropy": 0.0, **OWN[name]}
    learner = train(
        config(name, **(settings | own | (changes or {}))), probe, TICKS[name], **kwargs
    )
    return learner


def values(learner: Any, *obs: Any) -> np.ndarray:
    """Return the greedy values of observations in the order of an episode, ``[K, len(obs)]``."""
    if isinstance(learner, HasMemory):
        learner.forget()
    each = (torch.tensor(np.atleast_1d(o)).float().expand(2, 1, -1) for o in obs)
    return torch.cat([learner.act(o, explore=False)[1]["value"] for o in each], 1).numpy()


@pytest.mark.parametrize(
    "option",
    quick("ppo", "ppo, normalised rewards", "a2c", "a2c, q", "trpo", "reinforce with baseline"),
)
def test_a_truncation_bootstraps(option: str) -> None:
    """A constant reward cut by a time limit is worth r / (1 - gamma), not the episode's sum."""
    learner = trained(option, "ConstantTruncated", r=R, T=T)
    assert values(learner, 1.0) == pytest.approx(np.full((2, 1), FOREVER), rel=0.05)


@pytest.mark.parametrize("option", quick("ppo", "a2c"))
def test_a_termination_does_not(option: str) -> None:
    """The sum is finite: 6.5 at the start and 1 at the end, where a bootstrap would say 10."""
    learner = trained(option, "ConstantTerminated", r=R, T=T)
    at = np.arange(T)
    expected = R * (1 - GAMMA ** (T - at)) / (1 - GAMMA)
    assert values(learner, *(at / T)) == pytest.approx(np.tile(expected, (2, 1)), abs=0.7)


@pytest.mark.parametrize("option", quick("ppo", "a2c"))
def test_credit_over_two_steps(option: str) -> None:
    learner = trained(option, "Chain", r=1.0)
    expected = np.tile([GAMMA, 1.0], (2, 1))
    assert values(learner, 0.0, 1.0) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("option", quick("ppo", "a2c", "a2c, q"))
def test_the_identity_is_learned(option: str) -> None:
    learner = trained(option, "Identity", {"gamma": 0.5}, actions=3, T=10)
    states = torch.eye(3).expand(2, -1, -1)
    assert torch.equal(learner.act(states, explore=False)[0], torch.arange(3).expand(2, -1))
