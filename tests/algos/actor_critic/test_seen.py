"""What actor and critics see: normalised observations, features of images; and annealed rates."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_spec
from prism.benchmark.store.agents import agent_class
from tests.algos.actor_critic.agents import agent, drive, grown, tiny
from tests.algos.actor_critic.steer import IDS, STEPS
from tests.algos.policy_gradient.agents import EnvWorld, live
from tests.helpers import CPU, IMAGE, SEEDS, VECTOR, World, copied, equal

FRAMES = spaces.Box(0, 255, (2, 10, 10), np.uint8)
NAMES = ("ddpg", "td3", "sac", "sac_discrete")


@pytest.mark.parametrize("name", NAMES)
def test_statistics_are_those_of_all_that_was_observed_and_the_buffer_is_raw(name: str) -> None:
    learner, world = agent(tiny(name, normalize_obs=True, lanes=2)), World(VECTOR, SEEDS, 2)
    seen = []
    for _ in range(30):
        seen.append(world.obs)
        drive(learner, world, 1)
    rows = torch.stack(seen, 1).flatten(1, 2).double()
    moments = learner.obs_norm.moments
    torch.testing.assert_close(moments.mean, rows.mean(1))
    torch.testing.assert_close(moments.var, rows.var(1, correction=0))
    raw = learner.experience.buffer.obs[:, :30]
    assert np.array_equal(raw, torch.stack(seen, 1).numpy())
    batch = learner.experience.sample()[0]
    expected = (batch.obs - rows.mean(1, keepdim=True)) / rows.std(1, correction=0, keepdim=True)
    torch.testing.assert_close(learner._see(batch.obs), expected.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("obs", [VECTOR, IMAGE], ids=["vector", "image"])
def test_evaluation_leaves_no_trace_and_needs_the_policy_alone(name: str, obs: Any) -> None:
    config = tiny(name, normalize_obs=True, conv=[[3, 3, 2]])
    learner, world = grown(config, 20, obs=obs)
    before = copied(learner.state())
    action, memo = learner.act(world.obs, explore=False)
    equal(copied(learner.state()), before)
    fresh = agent(config, obs=obs)
    fresh.load({"policy": before["policy"]})
    again, said = fresh.act(world.obs, explore=False)
    assert torch.equal(action, again) and torch.equal(memo["value"], said["value"])


@pytest.mark.parametrize("name", NAMES)
def test_rates_fall_to_zero_at_the_budgets_end(name: str) -> None:
    learner = agent(tiny(name, anneal=True, lanes=2), budget=40)
    constant, world = agent(tiny(name, lanes=2), budget=40), World(VECTOR, SEEDS, 2)
    for steps in range(2, 41, 2):
        for each in (learner, constant):
            drive(each, world, 1)
        if steps >= 8:
            share = 1 - steps / 40
            assert learner.actor.optimizer.lr == pytest.approx(share * learner.config.actor_lr)
            assert learner.critics.optimizer.lr == pytest.approx(share * learner.config.critic_lr)
            if name.startswith("sac"):
                rate = learner.temperature.optimizer.lr
                assert rate == pytest.approx(share * learner.config.alpha_lr)
    assert constant.actor.optimizer.lr == constant.config.actor_lr


@pytest.mark.parametrize("obs", [IMAGE, FRAMES], ids=["bools", "bytes"])
@pytest.mark.parametrize("name", NAMES)
def test_the_critics_loss_trains_the_convolutions(name: str, obs: spaces.Box) -> None:
    """Their gradient is that of torch's own convolution; bytes are divided by 255."""
    learner, _ = grown(tiny(name, conv=[[3, 3, 2]], hidden=[16]), 20, obs=obs)
    batch = learner.experience.sample()[0]
    encoder, critics = learner.encoder, learner.critics
    target = learner._target(batch)
    learner._target = lambda batch: target  # the next one would draw other noise
    before = copied({"encoder": encoder.params, "critics": critics.params})
    learner._learn(batch)
    assert not torch.equal(encoder.params, before["encoder"])
    channels, scale = obs.shape[0], 255.0 if obs is FRAMES else 1.0
    for k in range(3):
        flat = before["encoder"][k].double()
        weight = flat[: 3 * channels * 9].view(3, channels, 3, 3).clone().requires_grad_()
        bias = flat[3 * channels * 9 :][:3].clone().requires_grad_()
        x = F.conv2d(batch.obs[k].double() / scale, weight, bias, stride=2).relu().flatten(1)
        loss, discrete = torch.zeros((), dtype=torch.float64), name == "sac_discrete"
        inputs = x if discrete else torch.cat([x, batch.action[k].double()], -1)
        for i in range(critics.members):
            net, out = before["critics"][k * critics.members + i].double(), 3 if discrete else 2
            size = inputs.shape[1] * 16
            hidden = inputs @ net[:size].view(16, -1).T + net[size : size + 16]
            rest = net[size + 16 :]
            q = hidden.relu() @ rest[: 16 * out].view(out, 16).T + rest[16 * out :][:out]
            q = q[range(8), batch.action[k]] if discrete else q[:, 0]
            loss = loss + 0.5 * (q - target[k].double()).square().mean()
        slopes = torch.cat([g.flatten() for g in torch.autograd.grad(loss, (weight, bias))])
        ours = encoder.optimizer.grad[k, : len(slopes)].double()
        torch.testing.assert_close(ours, slopes, atol=1e-5, rtol=1e-3)
        assert slopes.abs().max() > 1e-6


@pytest.mark.parametrize("name", ["td3", "sac", "sac_discrete"])
def test_the_actors_loss_does_not(name: str) -> None:
    every = {"policy_every": 1} if name == "td3" else {}
    learner, _ = grown(tiny(name, conv=[[3, 3, 2]], **every), 20, obs=IMAGE)
    batch = learner.experience.sample()[0]
    encoder, actor = learner.encoder.params.clone(), learner.actor.params.clone()
    slow = learner.encoder.target_params.clone()
    learner._improve(learner._see(batch.obs).detach())
    assert torch.equal(learner.encoder.params, encoder)
    assert not torch.equal(learner.actor.params, actor)
    expected = slow.lerp(encoder, learner.config.tau)
    torch.testing.assert_close(learner.encoder.target_params, expected)


@pytest.mark.parametrize("name", ["td3", "sac"])
def test_successors_are_valued_by_what_the_slow_convolutions_see(name: str) -> None:
    config = tiny(name, conv=[[3, 3, 2]])
    learner, _ = grown(config, 20, obs=IMAGE)
    other = agent(config, obs=IMAGE)
    other.load(copied(learner.state()))  # and with it, the place of its draws
    batch = learner.experience.sample()[0]
    with torch.no_grad():
        other.encoder.target_params.add_(0.1)
    y, moved = learner._target(batch), other._target(batch)
    ended = batch.discount == 0
    assert torch.equal(y[ended], moved[ended]) and (y != moved)[~ended].all()


def test_convolutions_of_two_seeds_differ() -> None:
    learner = agent(tiny("sac"), obs=IMAGE)
    a, b, c = learner.encoder.params
    assert (a != b).float().mean() > 0.5 and (b != c).float().mean() > 0.5


def steered(name: str, form: str, ticks: int = 3000, seeds: tuple[int, ...] = (0, 1)) -> Tensor:
    """Train on steering a point; return the greedy returns ``[K]``, means of 30 episodes."""
    sizes = {"hidden": [64], "conv": [[8, 3, 1]], "batch_size": 64, "buffer_size": ticks}
    rates = {"actor_lr": 1e-3, "critic_lr": 1e-3, "warmup": 300, "learning_starts": 300}
    rates |= {"alpha": 0.1} if name == "sac" else {"noise_std": 0.3}
    config = tiny(name, gamma=0.8, **sizes, **rates)
    env = EnvConfig(name="steer", id=IDS[form])
    learner = agent_class(config.agent)(config, make_spec(env, ticks), seeds, CPU)
    live(learner, EnvWorld(env, config, seeds), ticks)
    world, total = EnvWorld(env, config, [100 + seed for seed in seeds]), torch.zeros(len(seeds))
    for _ in range(30 * STEPS):
        total += world.step(learner.act(world.obs, explore=False)[0]).reward[:, 0]
    return total / 30


@pytest.mark.slow
@pytest.mark.parametrize("name", ["td3", "sac"])
def test_a_point_is_steered_by_an_image_as_by_its_numbers(name: str) -> None:
    """Random actions cost 6.3 an episode, standing still 6.2, the shortest way 0.4."""
    image, vector = steered(name, "image"), steered(name, "vector")
    assert (vector > -3).all(), vector
    assert (image > -3).all(), image
