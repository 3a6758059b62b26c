"""GRPO's update against brute force, and against the exact gradient of a softmax bandit."""

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Step
from tests.algos.policy_gradient.agents import agent, live, params, small, world_of
from tests.helpers import SEEDS, copied, equal

ARMS, G = 3, 3
PAY = torch.tensor([1.0, -0.5, 0.3])
SPACE = spaces.Box(0.0, 1.0, (2,), np.float32)


def pull(learner: Any, actions: Tensor, reward: Tensor) -> None:
    """Give a learner one-step episodes of these actions ``[K, G]``."""
    obs, ones = torch.ones(*actions.shape, 2), torch.ones_like(actions, dtype=torch.bool)
    learner.observe(Step(obs, obs, actions, reward, ones, ~ones, ones, {}))


def alike(learner: Any) -> Tensor:
    """Give all seeds one policy, far from uniform; returns its probabilities."""
    row = torch.from_numpy(np.random.default_rng(0).normal(size=params(learner).shape[1]))
    params(learner).copy_(row.float().expand_as(params(learner)))
    learner.learner.target_params.copy_(params(learner))
    return learner.actor_critic.net.policy(torch.ones(len(params(learner)), 1, 2))[0, 0].softmax(-1)


def gradients(learner: Any) -> Tensor:
    """Return what the next update would step along, ``[K, D]``."""
    learner.update()
    grad: Tensor = learner.learner.optimizer.grad
    return grad


@pytest.mark.parametrize("beta", [0.0, 0.3])
def test_on_a_bandit_the_mean_update_is_the_exact_gradient(beta: float) -> None:
    """Every group of G pulls is a seed of its own; without the deviation, E = (1 - 1/G) grad J."""
    groups = torch.tensor(list(itertools.product(range(ARMS), repeat=G)))
    settings = small("grpo", lanes=G, groups=1, epochs=1, grad_clip=None)
    settings.normalize_group = False
    settings.kl_coef = beta
    learner = agent(settings, range(len(groups)), spaces.Discrete(ARMS), SPACE)
    p = alike(learner)
    chance = p[groups].prod(1)
    net = learner.actor_critic.net
    logits = net(torch.ones(len(groups), 1, 2))[0][:, 0]
    if beta:
        learner.learner.target_params.mul_(0.5)
    ref = learner.reference(torch.ones(len(groups), 1, 2))[0][0, 0].log_softmax(-1)
    log_p = logits.log_softmax(-1)
    j = (log_p.exp() * PAY).sum(-1)
    kl = (log_p.exp() * (log_p - ref)).sum(-1)
    # k3 under the policy's own samples has the KL as its mean, but not its gradient
    k3 = (log_p.detach().exp() * ((ref - log_p).exp() - (ref - log_p) - 1)).sum(-1)
    assert (kl - k3).abs().max() < 1e-5
    loss = -(1 - 1 / G) * j + beta * k3
    exact = torch.autograd.grad(loss.sum(), learner.learner.weights.flat.parameters)
    flat = torch.cat([g[0].flatten() for g in exact])
    pull(learner, groups, PAY[groups])
    ours = (chance[:, None] * gradients(learner)).sum(0)[: len(flat)]
    torch.testing.assert_close(ours, flat, rtol=1e-4, atol=1e-6)
    assert flat.norm() > 0.01


def test_groups_of_equal_rewards_move_nothing() -> None:
    settings = small("grpo", lanes=G, groups=1, optimizer="sgd")
    learner = agent(settings, SEEDS, spaces.Discrete(ARMS), SPACE)
    alike(learner)
    before = params(learner).clone()
    pull(learner, torch.tensor([[0, 1, 2]] * 3), torch.full((3, G), 0.1))
    assert learner.update() is not None
    assert torch.equal(params(learner), before)
    pull(learner, torch.tensor([[0, 1, 2]] * 3), torch.tensor([[0.1, 0.1, 0.2]] * 3))
    learner.update()
    assert ((params(learner) - before).abs().amax(1) > 1e-6).all()


def groups_of(steps: list[Step], k: int) -> list[list[list[tuple[Tensor, Tensor, float]]]]:
    """Return a seed's complete groups: the rows of each lane's episode."""
    groups, running, over = [], [[] for _ in range(4)], set()
    for step in steps:
        for lane in range(4):
            if step.valid[k, lane]:
                row = step.obs[k, lane], step.action[k, lane], float(step.reward[k, lane])
                running[lane].append(row)
            if step.terminated[k, lane] or step.truncated[k, lane]:
                over.add(lane)
        if len(over) == 4:
            groups.append(running)
            running, over = [[] for _ in range(4)], set()
    return groups


@pytest.mark.parametrize("length", [True, False])
@pytest.mark.parametrize("deviation", ["population", "sample", None])
def test_the_first_step_written_out(length: bool, deviation: str | None) -> None:
    settings = small("grpo", grad_clip=None, epochs=1, gamma=0.9, kl_coef=0.5, entropy=0.01)
    settings.normalize_length, settings.normalize_group = length, deviation is not None
    settings.std = deviation or "population"
    learner, world = agent(settings), world_of(settings)
    learner.learner.target_params.mul_(0.7)
    steps: list[Step] = []
    while not learner.experience.due:
        steps.append(world.step(*learner.act(world.obs)))
        learner.observe(steps[-1])
    k = int(learner.experience.ready.nonzero()[0])
    groups = groups_of(steps, k)
    assert len(groups) == 2 and all(len(g) == 4 for g in groups)

    def out(net: Any, obs: Tensor) -> Tensor:
        rows = obs.expand(3, 1, 4)
        return net(rows)[0][k, 0].log_softmax(-1)

    loss = torch.zeros(())
    for group in groups:
        score = torch.tensor([sum(0.9**t * r for t, (*_, r) in enumerate(ep)) for ep in group])
        a = score - score.mean()
        if deviation:
            a = a / score.std(correction=int(deviation == "sample"))
        for lane, episode in enumerate(group):
            share = 1 / len(episode) if length else 1.0
            for obs, action, _ in episode:
                lp = out(learner.actor_critic.net, obs)
                x = out(learner.reference, obs)[action].detach() - lp[action]
                ratio = (lp[action] - lp[action].detach()).exp()
                entropy = -(lp.exp() * lp).sum()
                term = -ratio * a[lane] + 0.5 * (x.exp() - x - 1) - 0.01 * entropy
                loss = loss + share * term / 8
    grads = torch.autograd.grad(loss, learner.learner.weights.flat.parameters)
    learner.update()
    for view, grad in zip(learner.learner.optimizer._grad_views, grads, strict=True):
        torch.testing.assert_close(view[k], grad[k], rtol=1e-3, atol=1e-5)


def test_the_reference_stays_unless_it_is_renewed() -> None:
    for every in (0, 2):
        settings = small("grpo", reference_every=every)
        learner, world = agent(settings), world_of(settings)
        before = learner.learner.target_params.clone()
        for _ in range(200):
            log = live(learner, world, 1)
            if "learned" not in log:
                continue
            for k in log["learned"][0].nonzero()[:, 0].tolist():
                renewed = every and int(learner.updates[k]) % every == 0
                expected = params(learner)[k] if renewed else before[k]
                assert torch.equal(learner.learner.target_params[k], expected)
            before = learner.learner.target_params.clone()
        assert (learner.updates > 3).all()


def test_a_group_needs_two() -> None:
    for lanes in (0, 1):
        with pytest.raises(ValueError, match="lanes must be at least"):
            small("grpo", lanes=lanes)
    with pytest.raises(ValueError, match="groups must be at least 1"):
        small("grpo", groups=0)


def test_evaluation_leaves_no_trace() -> None:
    settings = small("grpo", normalize_obs=True)
    learner, world = agent(settings), world_of(settings)
    live(learner, world, 40)
    before = copied(learner.state())
    action, memo = learner.act(world.obs, explore=False)
    assert memo == {} and torch.equal(learner.act(world.obs, explore=False)[0], action)
    equal(copied(learner.state()), before)
