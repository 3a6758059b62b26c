"""Agents learn the known values of tiny environments, through the real vector environment."""

from typing import Any

import numpy as np
import pytest
import torch

from prism.algos.core.agent import HasMemory, Step
from prism.algos.dqn.config import DQNConfig, Exploration
from prism.algos.dqn.dqn import DQN
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_spec
from prism.benchmark.envs.vector import SeedVecEnv
from tests.helpers import CPU, preset, steady

SEEDS = (0, 1)
R, T, GAMMA = 1.0, 10, 0.9
FOREVER = R / (1 - GAMMA)


def probe_config(name: str, **changes: Any) -> DQNConfig:
    values: dict[str, Any] = {"hidden": [24, 16], "batch_size": 24, "buffer_size": 500}
    values |= {"learning_starts": 50, "train_every": 1, "target_every": 20, "lr": 5e-3}
    values |= {"gamma": GAMMA, "v_min": -1.0, "v_max": 14.0, "atoms": 31, "quantiles": 8}
    return preset(name, **(values | {"exploration": steady(1.0)} | changes))


def train(config: DQNConfig, probe: str, ticks: int, **kwargs: Any) -> DQN:
    """Run the loop of the harness in its shortest form."""
    env_config = EnvConfig(name=probe, id=f"Prism/{probe}-v0", kwargs=kwargs)
    learner = DQN(config, make_spec(env_config, ticks * config.lanes), SEEDS, CPU)
    env = SeedVecEnv(env_config, SEEDS, config.lanes)
    obs = torch.from_numpy(env.begin())
    for _ in range(ticks):
        action, memo = learner.act(obs)
        result = env.step(action.numpy())
        rest = map(torch.from_numpy, result[1:])
        learner.observe(Step(obs, torch.from_numpy(result.next_obs), action, *rest, memo))
        learner.update()
        obs = torch.from_numpy(env.begin())
    env.close()
    return learner


def values(learner: DQN, *obs: Any) -> np.ndarray:
    """Return the greedy values of observations in the order of an episode, ``[K, len(obs)]``."""
    if isinstance(learner, HasMemory):
        learner.forget()
    each = (torch.tensor(np.atleast_1d(o)).float().expand(len(SEEDS), 1, -1) for o in obs)
    return torch.cat([learner.act(o, explore=False)[1]["value"] for o in each], 1).numpy()


AGENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "dqn": ("dqn", {}),
    "soft target": ("dqn", {"target": "soft", "tau": 0.05}),
    "lanes": ("dqn", {"lanes": 2, "loss": "huber"}),
    "gru": ("recurrent_dqn", {"batch_size": 8, "sequence": 5, "burn_in": 5, "memory_size": 16}),
    "n-step": ("nstep_dqn", {}),
    "5-step, lanes": ("nstep_dqn", {"n_step": 5, "lanes": 2}),
    "c51": ("c51", {}),
    "qrdqn": ("qrdqn", {"lr": 1e-2}),
    "double_q": ("double_q", {"lr": 3e-3}),
    "rainbow": ("rainbow", {}),
}


def quick(*names: str) -> list[Any]:
    """Return all agents, of which only the named ones are in the default suite."""
    return [n if n in names else pytest.param(n, marks=pytest.mark.slow) for n in AGENTS]


def ticks_of(base: str) -> int:
    return 2000 if base == "double_q" else 700  # its networks each learn half the time


@pytest.mark.parametrize("name", quick("dqn", "n-step", "c51", "qrdqn", "rainbow"))
def test_a_truncation_bootstraps(name: str) -> None:
    """A constant reward cut by a time limit is worth r / (1 - gamma), not the episode's sum."""
    base, changes = AGENTS[name]
    learner = train(probe_config(base, **changes), "ConstantTruncated", ticks_of(base), r=R, T=T)
    assert values(learner, 1.0) == pytest.approx(np.full((2, 1), FOREVER), rel=0.05)


@pytest.mark.parametrize("name", quick("dqn", "n-step", "c51"))
def test_a_termination_does_not(name: str) -> None:
    """The sum is finite: 6.5 at the start and 1 at the end, where a bootstrap would say 10."""
    base, changes = AGENTS[name]
    learner = train(probe_config(base, **changes), "ConstantTerminated", ticks_of(base), r=R, T=T)
    at = np.arange(T)
    expected = R * (1 - GAMMA ** (T - at)) / (1 - GAMMA)
    assert values(learner, *(at / T)) == pytest.approx(np.tile(expected, (2, 1)), abs=0.7)


@pytest.mark.parametrize("name", quick("dqn", "n-step", "c51"))
def test_credit_over_two_steps(name: str) -> None:
    base, changes = AGENTS[name]
    config = probe_config(base, **(changes | {"v_min": -1.0, "v_max": 2.0}))
    learner = train(config, "Chain", 400, r=1.0)
    expected = np.tile([GAMMA, 1.0], (2, 1))
    assert values(learner, 0.0, 1.0) == pytest.approx(expected, abs=0.05)


@pytest.mark.parametrize("name", quick("dqn", "qrdqn"))
def test_the_identity_is_learned(name: str) -> None:
    base, changes = AGENTS[name]
    explore = Exploration(start=1.0, end=0.1, fraction=0.5)
    config = probe_config(base, **(changes | {"gamma": 0.5, "v_max": 3.0, "exploration": explore}))
    learner = train(config, "Identity", 500, actions=3, T=10)
    states = torch.eye(3).expand(2, -1, -1)
    assert torch.equal(learner.act(states, explore=False)[0], torch.arange(3).expand(2, -1))


@pytest.mark.slow
def test_prioritised_replay_of_roulette_needs_its_weights() -> None:
    """The agent's own form of the roulette: without weights a bet looks better than leaving."""
    bets = {}
    for beta in (0.0, 1.0):
        config = probe_config("per_dqn", alpha=1.0, beta_start=beta, beta_end=beta, lr=1e-3)
        config.buffer_size, config.batch_size = 4000, 64
        learner = train(config, "Roulette", 6000)
        q = learner.value.mean(learner.online(torch.ones(2, 1, 1)))[:, 0]
        bets[beta] = q[:, 1].detach().numpy()
    assert (bets[0.0] > 1).all() and (np.abs(bets[1.0]) < 0.8).all()
