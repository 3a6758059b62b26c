"""PPO's update against a plain single-seed one in torch, and what its switches do."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor, nn

from prism.algos.core.agent import Spec
from prism.algos.core.nets import Mode
from prism.algos.policy_gradient.a2c import A2C
from prism.algos.policy_gradient.ppo import PPO
from tests.algos.policy_gradient.agents import (
    ACTIONS,
    BOX,
    agent,
    live,
    params,
    small,
    world_of,
)
from tests.algos.policy_gradient.plain import filled, gae, modules, rows
from tests.helpers import CPU, IMAGE, SEEDS, VECTOR, World, copied, equal

SWITCHES: dict[str, dict[str, Any]] = {
    "defaults": {},
    "plain": {"surrogate": "none", "clip_value": False, "normalize_advantage": False},
    "values clipped as the ratio": {"clip": 0.01},
    "values clipped by themselves": {"value_clip": 0.01},
    "kl": {"surrogate": "kl", "target_kl": 0.01, "kl_coef": 0.7},
    "no clipping of the gradient": {"grad_clip": None, "entropy": 0.0},
}


@pytest.mark.parametrize("switches", SWITCHES)
def test_an_update_is_what_a_plain_implementation_does(switches: str) -> None:
    settings = small("ppo", rollout=16, batch_size=16, anneal=False, lr=3e-3, **SWITCHES[switches])
    c, learner = settings, agent(settings, budget=10**6)
    world = world_of(settings)
    data = filled(learner, world)
    orders = [copied(x) for x in (learner.order().argsort(-1), learner.order().argsort(-1))]
    learner.order.load({"block": -1, "offset": learner.order.per_block})
    plain = [modules(learner, k) for k in range(len(SEEDS))]
    learner.update()
    bound = c.clip if c.value_clip is None else c.value_clip
    for k, (policy, critic) in enumerate(plain):
        obs, action = rows(data.obs, k), rows(data.action, k)
        with torch.no_grad():
            old = torch.distributions.Categorical(logits=policy(obs))
            old_log_prob, v_old = old.log_prob(action), critic(obs)[:, 0]
            advantage, target = gae(c, data, k, v_old, critic(rows(data.next_obs, k))[:, 0])
        every = [*policy.parameters(), *critic.parameters()]
        adam = torch.optim.Adam(every, c.lr, eps=c.optimizer_eps)
        for order in orders:
            for i in order[k].split(c.batch_size):
                new = torch.distributions.Categorical(logits=policy(obs[i]))
                ratio = (new.log_prob(action[i]) - old_log_prob[i]).exp()
                a, v = advantage[i], critic(obs[i])[:, 0]
                if c.normalize_advantage:
                    a = (a - a.mean()) / (a.std() + 1e-8)
                loss = -(ratio * a)
                if c.surrogate == "clip":
                    loss = torch.max(loss, -a * ratio.clamp(1 - c.clip, 1 + c.clip))
                error = (v - target[i]) ** 2
                if c.clip_value:
                    v_clip = v_old[i] + (v - v_old[i]).clamp(-bound, bound)
                    error = torch.max(error, (v_clip - target[i]) ** 2)
                total = loss.mean() + c.value_coef * 0.5 * error.mean()
                total = total - c.entropy * new.entropy().mean()
                if c.surrogate == "kl":
                    before = torch.distributions.Categorical(logits=old.logits[i])
                    total = (
                        total + c.kl_coef * torch.distributions.kl_divergence(before, new).mean()
                    )
                adam.zero_grad()
                total.backward()
                if c.grad_clip is not None:
                    nn.utils.clip_grad_norm_(every, c.grad_clip)
                adam.step()
        ours = modules(learner, k)
        for net, own in zip((policy, critic), ours, strict=True):
            for theirs, mine in zip(net.parameters(), own.parameters(), strict=True):
                torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=2e-5)


def test_every_row_of_a_rollout_is_learned_from_once_an_epoch() -> None:
    settings = small("ppo", epochs=3)
    learner, world = agent(settings), world_of(settings)
    filled(learner, world)
    batches, learn = [], learner._step
    learner._step = lambda batch, clip, on: batches.append(batch) or learn(batch, clip, on)
    learner.update()
    obs = torch.cat([batch.obs for batch in batches], 1).view(3, 3, -1, 4)
    for k in range(3):
        epochs = [sorted(map(tuple, epoch.tolist())) for epoch in obs[k]]
        assert epochs[0] == epochs[1] == epochs[2] and len(set(epochs[0])) == 32
        assert not torch.equal(obs[k, 0], obs[k, 1])
    for batch in batches:  # rows stay together with their own actions and scalars
        out = learner.actor_critic.net.shape.outputs
        assert batch.scalars.shape == (4, 3, 8) and batch.old_out.shape == (3, 8, out)


def test_rows_are_shuffled_together() -> None:
    settings = small("ppo")
    learner, world = agent(settings), world_of(settings)
    samples = learner._samples(filled(learner, world))
    shuffled = samples.shuffled(learner.order().argsort(-1))
    for k in range(3):
        for i in range(32):
            (at,) = (samples.obs[k] == shuffled.obs[k, i]).all(-1).nonzero()[:, 0].tolist()
            assert samples.action[k, at] == shuffled.action[k, i]
            assert torch.equal(samples.scalars[:, k, at], shuffled.scalars[:, k, i])
            assert torch.equal(samples.old_out[k, at], shuffled.old_out[k, i])


def test_a_seed_beyond_target_kl_stops_while_the_others_go_on() -> None:
    """Seed 1 may move at will; the others are stopped by a KL that their first steps exceed."""
    settings = small("ppo", target_kl=1e-3, lr=0.05, epochs=4)
    learner, world = agent(settings), world_of(settings)
    data = filled(learner, world)
    data.reward[1] = 0.0
    learner.actor_critic.net.net.head.weight.data[2:4].zero_()  # no advantages, no entropy to gain
    learner.config.entropy = 0.0
    trace, learn = [], learner._step

    def spy(batch: Any, clip: float, on: Tensor) -> Any:
        before = params(learner).clone()
        metrics, live = learn(batch, clip, on)
        moved = (params(learner) != before).view(3, -1).any(1)
        trace.append((on.clone(), live.clone(), moved, metrics["loss/kl"]))
        return metrics, live

    learner._step = spy
    learner.update()
    for on, live_, moved, kl in trace:
        assert torch.equal(live_, on & (kl <= 1e-3))
        assert not (moved & ~live_).any()  # who is over stays as it is
    last = trace[-1][1]
    assert last.tolist() == [False, True, False]
    assert trace[0][1].all()
    steps = learner.learner.optimizer.state()["steps"].view(3, 2)
    assert (steps[:, 0] == steps[:, 1]).all() and steps[1, 0] == 16 and steps[0, 0] < 16


def test_the_penalty_follows_each_seeds_kl() -> None:
    settings = small("ppo", surrogate="kl", target_kl=0.01, kl_coef=1.0)
    learner = agent(settings)
    log = live(learner, world_of(settings), 80)
    assert len(torch.unique(torch.stack(log["loss/penalty"]))) > 2
    for before, after in zip(log["loss/penalty"][:-1], log["loss/penalty"][1:], strict=True):
        assert all(float(x) in (0.5, 1.0, 2.0) for x in after / before)


def test_learning_rate_and_clip_are_annealed_over_the_budget() -> None:
    settings = small("ppo", lr=1e-3, clip=0.4, anneal_clip=True)
    learner, world = agent(settings, budget=320), world_of(settings)
    rates, clips, learn = [], [], learner._step

    def spy(batch: Any, clip: float, on: Tensor) -> Any:
        clips.append(clip)
        return learn(batch, clip, on)

    learner._step = spy
    for _ in range(80):
        live(learner, world, 1)
        if learner.experience.filled == 0:
            rates.append(learner.learner.optimizer.lr)
    assert rates == pytest.approx([1e-3 * (1 - i / 10) for i in range(10)])
    assert clips[:: len(clips) // 10] == pytest.approx([0.4 * (1 - i / 10) for i in range(10)])
    constant = agent(small("ppo", anneal=False, lr=1e-3), budget=320)
    live(constant, world, 40)
    assert constant.learner.optimizer.lr == 1e-3


@pytest.mark.parametrize("name", ["ppo", "a2c"])
def test_observation_statistics_move_behind_the_update(name: str) -> None:
    """What is learned from is seen as it was acted upon, so the first ratio is one."""
    settings = small(name, normalize_obs=True)
    learner, world = agent(settings), world_of(settings)
    rollout = settings.rollout
    observations: list[Tensor] = []
    for i in range(4):
        mean = learner.actor_critic.obs_norm.moments.mean.clone()
        for _ in range(rollout - 1):
            observations.append(world.obs)
            live(learner, world, 1)
            assert torch.equal(learner.actor_critic.obs_norm.moments.mean, mean)
        observations.append(world.obs)
        live(learner, world, 1)
        every = torch.stack(observations, 1).flatten(1, 2).double()
        moments = learner.actor_critic.obs_norm.moments
        torch.testing.assert_close(moments.mean, every.mean(1))
        assert int(moments.count[0]) == (i + 1) * rollout * settings.lanes


def test_the_first_minibatch_of_an_update_has_a_ratio_of_one() -> None:
    for changes in ({}, {"normalize_obs": True, "normalize_reward": True}):
        settings = small("ppo", epochs=1, batch_size=32, **changes)
        for space in ACTIONS.values():
            learner = agent(settings, actions=space)
            metrics = live(learner, world_of(settings), 40)
            ratios = torch.stack(metrics["loss/largest_ratio"])
            torch.testing.assert_close(ratios, torch.ones_like(ratios), atol=1e-5, rtol=0)
            assert max(x.abs().max() for x in metrics["loss/kl"]) < 1e-6


def test_values_come_back_in_the_rewards_own_units() -> None:
    settings = small("ppo", normalize_reward=True)
    learner, world = agent(settings), world_of(settings)
    live(learner, world, 24)
    _, memo = learner.act(world.obs, explore=False)
    raw = learner.actor_critic.net.values(world.obs).squeeze(-1)
    scale = learner.actor_critic.reward_norm.scale
    assert (scale - 1).abs().min() > 0.05
    torch.testing.assert_close(memo["value"], raw * scale.unsqueeze(1))


@pytest.mark.parametrize("name", ["ppo", "a2c", "trpo"])
@pytest.mark.parametrize("actions", ACTIONS)
def test_evaluation_leaves_no_trace(name: str, actions: str) -> None:
    settings = small(name, normalize_obs=True, normalize_reward=True)
    learner, world = agent(settings, actions=ACTIONS[actions]), world_of(settings)
    live(learner, world, 11)
    before, other = copied(learner.state()), World(VECTOR, SEEDS, 5)
    for _ in range(10):
        action, memo = learner.act(other.obs, explore=False)
        assert action.shape[:2] == memo["value"].shape == (3, 5)
        assert torch.equal(learner.act(other.obs, explore=False)[0], action)  # no chance in it
        other.step(action)
    equal(copied(learner.state()), before)


@pytest.mark.parametrize("name", ["ppo", "a2c", "trpo", "grpo", "reinforce_baseline"])
def test_the_policy_alone_is_enough_to_act(name: str) -> None:
    settings = small(name, normalize_obs=True)
    learner, world = agent(settings), world_of(settings)
    live(learner, world, 40)
    fresh = agent(settings)
    fresh.load({"policy": copied(learner.state()["policy"])})
    a, b = learner.act(world.obs, explore=False), fresh.act(world.obs, explore=False)
    assert torch.equal(a[0], b[0]) and a[1].keys() == b[1].keys()
    assert all(torch.equal(a[1][key], b[1][key]) for key in a[1])


def test_normalised_frames_are_not_divided_once_more() -> None:
    frames = spaces.Box(0, 255, (4, 10, 10), np.uint8)
    learner = agent(small("ppo", hidden=[16], normalize_obs=True), obs=frames)
    world, policy = World(frames, SEEDS, 4), learner.actor_critic
    live(learner, world, 16)
    heard: list[Tensor] = []
    conv = policy.net.net.torso.convs[0]
    conv.register_forward_pre_hook(lambda _, args: heard.append(args[0].clone()))
    policy.net(policy.normalized(world.obs))
    assert 0.8 < float(heard[0].std()) < 1.3


def test_frames_and_bits_are_seen() -> None:
    frames = spaces.Box(0, 255, (4, 10, 10), np.uint8)
    learner = agent(small("ppo", hidden=[16]), obs=frames)
    assert learner.actor_critic.net.net.torso.obs_scale == 255
    assert learner.state()["experience"]["fields"]["obs"].dtype == torch.uint8
    learner = agent(small("ppo", hidden=[16]), obs=IMAGE)
    assert learner.actor_critic.net.net.torso.obs_scale == 1
    assert learner.state()["experience"]["fields"]["obs"].dtype == torch.bool
    memory = agent(small("ppo", hidden=[16]), obs=spaces.Box(0, 255, (128,), np.uint8))
    assert memory.actor_critic.net.net.torso.obs_scale == 1  # plain numbers, for DQN too
    live(learner, World(IMAGE, SEEDS, 4), 8)


def test_spaces_without_a_distribution_are_refused() -> None:
    for cls, name in ((PPO, "ppo"), (A2C, "a2c")):
        spec = Spec(VECTOR, spaces.MultiBinary(3), 100)
        assert "no distribution over MultiBinary" in str(cls.unsupported(small(name), spec))
        for space in ACTIONS.values():
            assert cls.unsupported(small(name), Spec(VECTOR, space, 100)) is None
    reason = A2C.unsupported(small("a2c", critic="q"), Spec(VECTOR, BOX, 100))
    assert "critic=q needs discrete actions" in str(reason)
    assert CPU


@pytest.mark.parametrize(
    ("name", "key", "value", "says"),
    [
        ("ppo", "batch_size", 100, r"batch_size=100 must divide rollout \* lanes = 8 \* 4 = 32"),
        ("trpo", "batch_size", 5, r"batch_size=5 must divide rollout \* lanes = 8 \* 4 = 32"),
        ("ppo", "surrogate", "clipped", "clip, kl, none"),
        ("ppo", "surrogate", "kl", "needs target_kl"),
        ("ppo", "reset", "wait", "reset must be one of each"),
        ("reinforce", "reset", "each", "reset must be one of wait"),
        ("reinforce", "estimator", "reward_to_go", "return, to_go, baseline"),
        ("grpo", "reset", "wait", "reset must be one of shared"),
        ("ppo", "activation", "gelu", "relu, tanh"),
        ("a2c", "critic", "a", "v, q"),
        ("ppo", "gae_lambda", 1.5, "between 0 and 1"),
        ("ppo", "lr", -1.0, "at least 0"),
        ("ppo", "epochs", 0, "at least 1"),
        ("ppo", "value_clip", -0.1, "above 0"),
    ],
)
def test_mistakes_name_their_key(name: str, key: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        small(name, **{key: value})
    assert key.split("_")[0] in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("surrogate", ["clip", "kl"])
@pytest.mark.parametrize("part", [{"norm": "batch"}, {"dropout": 0.1}])
def test_where_two_networks_make_the_kl_positive_it_bounds_nothing(
    part: dict[str, Any], surrogate: str
) -> None:
    """Batch norm and dropout part who learns from who acted, before any step."""
    for extra, apart in (({"norm": "layer"}, False), (part, True)):
        learner = agent(small("ppo", **extra))
        learner.actor_critic.net.net.head.weight.data.mul_(100)  # a policy far from uniform
        samples = learner._samples(filled(learner, world_of(learner.config)))
        first = next(iter(samples.minibatches(learner.config.batch_size)))
        kl = learner._loss(first, 0.2)[1]
        assert ((kl > 1e-4) == apart).all()
    with pytest.raises(ValueError, match="target_kl needs dropout=0 and norm=none or layer"):
        small("ppo", surrogate=surrogate, target_kl=0.01, **part)
    small("ppo", surrogate=surrogate, target_kl=0.01, norm="layer")


def test_batch_norm_and_dropout_learn_with_the_batch_and_act_without() -> None:
    """Acting and judging a rollout leave the running statistics and the dropout alone."""
    settings = small("ppo", norm="batch", dropout=0.3)
    learner, world = agent(settings), world_of(settings)
    running = learner.learner.weights.running
    live(learner, world, settings.rollout - 1)
    learner.act(world.obs, explore=False)
    assert all((x == 0).all() or (x == 1).all() for x in running.values())
    live(learner, world, 1)
    assert all(((x != 0) & (x != 1)).any() for x in running.values())
    net, obs = learner.actor_critic.net, world.obs
    assert torch.equal(net.policy(obs), net(obs)[0]) and torch.equal(net.values(obs), net(obs)[1])
    x = obs.repeat(1, 2, 1)  # as many rows as a minibatch
    first, again = net(x, Mode.LEARN)[0], net(x, Mode.LEARN)[0]
    assert not torch.equal(first, again)  # another mask of the units
