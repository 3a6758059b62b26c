"""Agents learn the known values of tiny environments, through the real vector environment."""

import math
from typing import Any

import numpy as np
import pytest
import torch

from tests.algos.actor_critic.agents import preset
from tests.algos.policy_gradient.agents import train

R, T, GAMMA = 1.0, 10, 0.9
FOREVER = R / (1 - GAMMA)

AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "ddpg": ("ddpg", {}),
    "td3": ("td3", {"tau": 0.1}),  # its targets move at every second update
    "td3, lanes": ("td3", {"tau": 0.1, "lanes": 2, "noise": "ornstein_uhlenbeck"}),
    "td3, no targets": ("td3", {"target": "none"}),
    "sac": ("sac", {"entropy": False}),
    "sac, one critic": ("sac", {"entropy": False, "critics": 1}),
    "sac, gsde": ("sac", {"entropy": False, "gsde": True}),
    "sac, normalised": ("sac", {"entropy": False, "normalize_obs": True}),
    "discrete": ("sac_discrete", {"entropy": False}),
}


def probe_config(name: str, **changes: Any) -> Any:
    values: dict[str, Any] = {"hidden": [24, 16], "batch_size": 24, "buffer_size": 500}
    values |= {"learning_starts": 50, "warmup": 10_000, "actor_lr": 5e-3, "critic_lr": 5e-3}
    return preset(name, **(values | {"gamma": GAMMA, "tau": 0.05} | changes))


def actions_of(base: str) -> int:
    """Return how many actions an agent's probe has; 0: a box of them."""
    return 2 if base == "sac_discrete" else 0


def observations(*obs: float) -> torch.Tensor:
    return torch.tensor(obs, dtype=torch.float32).view(1, -1, 1).expand(2, -1, -1)


def values(learner: Any, *obs: float) -> np.ndarray:
    """Return the greedy values of some observations, ``[K, len(obs)]``."""
    return learner.act(observations(*obs), explore=False)[1]["value"].numpy()


def quick(*names: str) -> list[Any]:
    """Return all agents, of which only the named ones are in the default suite."""
    return [n if n in names else pytest.param(n, marks=pytest.mark.slow) for n in AGENTS]


@pytest.mark.parametrize("name", quick("ddpg", "td3", "sac", "sac, gsde", "discrete"))
def test_a_truncation_bootstraps(name: str) -> None:
    """A constant reward cut by a time limit is worth r / (1 - gamma), not the episode's sum."""
    base, changes = AGENTS[name]
    config = probe_config(base, **changes)
    learner = train(config, "ConstantTruncated", 700, r=R, T=T, actions=actions_of(base))
    assert values(learner, 1.0) == pytest.approx(np.full((2, 1), FOREVER), rel=0.05)


@pytest.mark.parametrize("name", quick("td3", "sac", "discrete"))
def test_a_termination_does_not(name: str) -> None:
    """The sum is finite: 6.5 at the start and 1 at the end, where a bootstrap would say 10."""
    base, changes = AGENTS[name]
    config = probe_config(base, **changes)
    learner = train(config, "ConstantTerminated", 700, r=R, T=T, actions=actions_of(base))
    at = np.array([0, 3, 6, 9])
    expected = R * (1 - GAMMA ** (T - at)) / (1 - GAMMA)
    assert values(learner, *(at / T)) == pytest.approx(np.tile(expected, (2, 1)), abs=0.7)


@pytest.mark.parametrize("name", quick("td3", "sac"))
def test_credit_over_two_steps(name: str) -> None:
    base, changes = AGENTS[name]
    learner = train(probe_config(base, **changes), "Chain", 400, r=1.0, actions=actions_of(base))
    expected = np.tile([GAMMA, 1.0], (2, 1))
    assert values(learner, 0.0, 1.0) == pytest.approx(expected, abs=0.05)


def test_the_entropy_to_come_is_part_of_a_soft_value() -> None:
    """With a constant reward the best soft policy is uniform, of entropy log 2.

    A squashed Gaussian comes within a hundredth of a nat of it.
    """
    alpha = 0.5
    config = probe_config("sac", temperature="fixed", alpha=alpha)
    learner = train(config, "ConstantTruncated", 900, r=R, T=T, actions=0)
    soft = R + GAMMA * (R + alpha * math.log(2)) / (1 - GAMMA)
    assert values(learner, 1.0) == pytest.approx(np.full((2, 1), soft), rel=0.05)
    assert soft > 1.3 * FOREVER  # what it would be without


@pytest.mark.parametrize("name", quick("td3"))
def test_an_action_that_depends_on_the_observation_is_learned(name: str) -> None:
    base, changes = AGENTS[name]
    if base == "sac_discrete":
        pytest.skip("discrete actions cannot follow a number")
    config = probe_config(base, **(changes | {"gamma": 0.5, "warmup": 300}))
    learner = train(config, "Follow", 2500, T=10)
    action = learner.act(observations(0.1, 0.9), explore=False)[0][..., 0].numpy()
    assert action == pytest.approx(np.tile([0.1, 0.9], (2, 1)), abs=0.15)


@pytest.mark.slow
def test_a_learned_temperature_brings_the_entropy_to_its_goal() -> None:
    config = probe_config("sac", gamma=0.5, warmup=300, target_entropy=-0.5, alpha_lr=5e-3)
    learner = train(config, "Follow", 3000, T=10)
    batch = learner.experience.sample()[0]
    entropy = -learner._sample(batch.obs, "noise/policy")[1].mean(-1)
    assert entropy.detach().numpy() == pytest.approx(np.full(2, -0.5), abs=0.3)
