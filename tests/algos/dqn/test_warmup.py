"""Before learning starts: agents without an epsilon explore all the same."""

from typing import Any

import numpy as np
import pytest
import torch

from prism.algos.core.agent import Step
from prism.algos.dqn.config import DQNConfig, Exploration
from prism.algos.dqn.dqn import DQN
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_spec
from prism.benchmark.envs.vector import SeedVecEnv
from tests.helpers import CPU, SEEDS, VECTOR, World, agent, drive, preset, tiny

STUCK = (1, 9, 13)  # their untrained Rainbow pushes the cart one way only
STEPS = 1000
ENV = EnvConfig(name="cartpole", id="CartPole-v1")

WITHOUT_EPSILON: dict[str, tuple[str, dict[str, Any]]] = {
    "noisy": ("noisy_dqn", {}),
    "noisy, double": ("noisy_dqn", {"double": "target"}),
    "noisy, coin": ("noisy_dqn", {"double": "coin"}),
    "noisy, n-step": ("noisy_dqn", {"n_step": 3}),
    "noisy, dueling, prioritized": ("noisy_dqn", {"dueling": True, "prioritized": True}),
    "noisy, quantile": ("noisy_dqn", {"value": "quantile"}),
    "rainbow": ("rainbow", {}),
    "greedy": ("dqn", {"exploration": Exploration("greedy")}),
}


def replayed(config: DQNConfig) -> np.ndarray:
    """Return the actions ``[K, STEPS]`` that an agent replays at the end of its warm-up."""
    learner = DQN(config, make_spec(ENV, 50_000), STUCK, CPU)
    env = SeedVecEnv(ENV, STUCK, 1)
    obs = torch.from_numpy(env.begin())
    for _ in range(STEPS):
        action, memo = learner.act(obs)
        result = env.step(action.numpy())
        rest = map(torch.from_numpy, result[1:])
        learner.observe(Step(obs, torch.from_numpy(result.next_obs), action, *rest, memo))
        obs = torch.from_numpy(env.begin())
    env.close()
    return learner.experience.buffer.action[:, :STEPS, 0]


@pytest.mark.parametrize("name", WITHOUT_EPSILON)
def test_what_is_replayed_first_holds_every_action_in_equal_shares(name: str) -> None:
    base, changes = WITHOUT_EPSILON[name]
    action = replayed(preset(base, learning_starts=STEPS, **changes))
    assert np.abs(action.mean(1) - 0.5).max() < 0.06  # 3.8 standard errors


def test_the_untrained_policy_would_choose_one_action_alone() -> None:
    action = replayed(preset("rainbow", learning_starts=STEPS, warmup_actions="policy"))
    assert (np.minimum(action.mean(1), 1 - action.mean(1)) < 0.06).all()


@pytest.mark.parametrize(("warmup", "uniform"), [("uniform", 20), ("policy", 0)])
def test_the_policy_acts_from_learning_starts_on(warmup: str, uniform: int) -> None:
    config = tiny(exploration=Exploration("greedy"), learning_starts=20, warmup_actions=warmup)
    learner, world = agent(config), World(VECTOR, SEEDS)
    departs = []
    for _ in range(40):
        greedy = learner.act(world.obs, explore=False)[0]
        action = drive(learner, world, 1)["action"][0]
        departs.append(bool((action != greedy).any()))
    assert any(departs[:uniform]) == bool(uniform) and not any(departs[uniform:])


def test_epsilon_greedy_agents_have_their_own_schedule() -> None:
    logs = []
    for warmup in ("uniform", "policy"):
        learner = agent(tiny(exploration=Exploration(start=0.2), warmup_actions=warmup))
        logs.append(drive(learner, World(VECTOR, SEEDS), 40)["action"])
    assert torch.equal(torch.stack(logs[0]), torch.stack(logs[1]))
