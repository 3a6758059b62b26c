"""A2C's update against Stable-Baselines3's loss, and the weights copied from there."""

from pathlib import Path
from typing import Any

import pytest
import torch
from omegaconf import OmegaConf
from torch.nn import functional as F

from prism.algos.policy_gradient.a2c import A2CConfig
from prism.algos.policy_gradient.ppo import PPOConfig
from tests.algos.policy_gradient.agents import agent, small, world_of
from tests.algos.policy_gradient.plain import filled, gae, rows
from tests.helpers import SEEDS

TUNED = Path(__file__).parents[3] / "conf" / "tuned"

# vf_coef in rl-baselines3-zoo's ppo.yml and a2c.yml; what they leave open is the library's
VF_COEF = {
    "ppo_halfcheetah": 0.58096,
    "ppo_hopper": 0.835671,
    "ppo_inverted_pendulum": 0.19816,
    "ppo_mountaincar_continuous": 0.19,
    "ppo_walker2d": 0.871923,
    "a2c_bipedalwalker": 0.4,
    "a2c_lunarlander_continuous": 0.4,
    "a2c_pendulum": 0.4,
}
DEFAULT = 0.5
FROM_ZOO = sorted(
    path.stem
    for algo in ("a2c", "ppo")
    for path in TUNED.glob(f"{algo}_*.yaml")
    if "rl-baselines3-zoo" in path.read_text()
)


def test_the_gradient_is_of_stable_baselines3s_loss() -> None:
    """Its a2c.py: ``policy_loss + ent_coef * entropy_loss + 0.5 * F.mse_loss(returns, values)``."""
    settings = small("a2c", entropy=0.02, grad_clip=None)
    learner, world = agent(settings), world_of(settings)
    data, net = filled(learner, world), learner.actor_critic.net
    loss = torch.zeros(())
    for k in range(len(SEEDS)):
        out, v = (x[k] for x in net(data.obs.flatten(1, 2)))
        v_next = net(data.next_obs.flatten(1, 2))[1][k, :, 0].detach()
        advantage, returns = gae(settings, data, k, v[:, 0].detach(), v_next)
        pi = torch.distributions.Categorical(logits=out)
        policy_loss = -(advantage * pi.log_prob(rows(data.action, k))).mean()
        value_loss = F.mse_loss(returns, v[:, 0])
        loss = loss + policy_loss - 0.02 * pi.entropy().mean() + DEFAULT * value_loss
    expected = torch.autograd.grad(loss, learner.learner.weights.flat.parameters)
    assert learner.update() is not None
    for view, grad in zip(learner.learner.optimizer._grad_views, expected, strict=True):
        torch.testing.assert_close(view, grad, rtol=1e-4, atol=1e-6)
        assert grad.flatten(1).norm(dim=1).min() > 0


@pytest.mark.parametrize("name", FROM_ZOO)
def test_copied_weights_of_the_value_are_of_half_the_squared_error(name: str) -> None:
    config: Any = OmegaConf.load(TUNED / f"{name}.yaml")
    ours: Any = A2CConfig() if name.startswith("a2c") else PPOConfig()
    weight = config.algo.get("value_coef", ours.value_coef)
    assert weight == pytest.approx(2 * VF_COEF.get(name, DEFAULT))


def test_every_copied_weight_has_its_file() -> None:
    assert VF_COEF.keys() <= set(FROM_ZOO)
