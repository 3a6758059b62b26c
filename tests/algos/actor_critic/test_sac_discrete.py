"""Discrete SAC: every number of an update against brute force, its policy, its components."""

import math
from typing import Any

import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.actor_critic.sac_discrete import SACDiscrete
from prism.algos.core.agent import Spec
from tests.algos.actor_critic.agents import (
    ACTIONS,
    agent,
    flat64,
    forward64,
    grown,
    in_float64,
    tiny,
)
from tests.helpers import SEEDS, VECTOR, World, copied

SIZES = (4, 16, 16, 3)  # of the actor and of each critic
STUDIED = {c.name: c for c in SACDiscrete.COMPONENTS if not c.foundation}
VARIANTS: dict[str, dict[str, Any]] = {
    "sac_discrete": {},
    "fixed temperature": {"temperature": "fixed", "alpha": 0.7},
    "no entropy": {"entropy": False},
    "one critic": {"critics": 1},
    "without targets": {"target": "none"},
}


def q64(params: Tensor, obs: Tensor) -> Tensor:
    return forward64(in_float64(params, SIZES), obs)


@pytest.mark.parametrize("name", VARIANTS)
def test_targets_losses_and_gradients_are_the_papers(name: str) -> None:
    """Sums over actions are written out, action by action."""
    learner, _ = grown(tiny("sac_discrete", alpha_lr=0.05, **VARIANTS[name]))
    batch, count = learner.experience.sample()[0], learner.config.critics
    alpha = learner.temperature().detach()
    assert (len(alpha.unique()) == 3) == (name not in ("fixed temperature", "no entropy"))
    y, q = learner._target(batch), learner._taken(batch.obs, batch.action)
    loss, entropy = learner._policy_loss(batch.obs, alpha)
    learner.actor.optimizer.backward(loss)
    slow = learner.critics.target_params if name != "without targets" else learner.critics.params
    for k in range(3):
        obs, following = batch.obs[k].double(), batch.next_obs[k].double()
        a, mine = alpha[k].double(), range(k * count, (k + 1) * count)
        pi = forward64(in_float64(learner.actor.params[k], SIZES), following).softmax(-1)
        least = torch.stack([q64(slow[i], following) for i in mine]).amin(0)
        value = sum(pi[:, i] * (least[:, i] - a * pi[:, i].log()) for i in range(3))
        expected = batch.reward[k].double() + batch.discount[k].double() * value
        torch.testing.assert_close(y[k].double(), expected.detach(), atol=1e-5, rtol=1e-4)
        for i, c in enumerate(mine):
            taken = q64(learner.critics.params[c], obs)[range(8), batch.action[k]]
            torch.testing.assert_close(q[k, i].double(), taken, atol=1e-5, rtol=1e-4)
        actor = in_float64(learner.actor.params[k], SIZES)
        pi = forward64(actor, obs).softmax(-1)
        least = torch.stack([q64(learner.critics.params[i], obs) for i in mine]).amin(0).detach()
        goal = sum(pi[:, i] * (a * pi[:, i].log() - least[:, i]) for i in range(3)).mean()
        torch.testing.assert_close(loss[k].double(), goal, atol=1e-5, rtol=1e-4)
        bits = torch.distributions.Categorical(pi).entropy()
        torch.testing.assert_close(entropy[k].double(), bits, atol=1e-5, rtol=1e-4)
        slope = flat64(actor, goal)
        ours = learner.actor.optimizer.grad[k, : len(slope)]
        torch.testing.assert_close(ours.double(), slope, atol=1e-5, rtol=1e-3)
        assert slope.abs().max() > 1e-4


def test_a_learning_step_descends_these_losses() -> None:
    learner, _ = grown(tiny("sac_discrete", alpha_lr=0.05))
    other = agent(tiny("sac_discrete", alpha_lr=0.05))
    other.load(copied(learner.state()))
    batch = learner.experience.sample()[0]
    learner._learn(batch)
    alpha = other.temperature().detach()
    q = other._taken(batch.obs, batch.action)
    other.critics.step((0.5 * (q - other._target(batch).unsqueeze(1)).square()).mean(-1))
    loss, entropy = other._policy_loss(batch.obs, alpha)
    other.actor.step(loss)
    other.temperature.learn(-entropy.detach())
    other.critics.update_target(0.005)
    for ours, theirs in ((learner.critics, other.critics), (learner.actor, other.actor)):
        assert torch.equal(ours.params, theirs.params)
    assert torch.equal(learner.critics.target_params, other.critics.target_params)
    assert torch.equal(learner.temperature(), other.temperature())
    assert not torch.equal(learner.temperature(), alpha)


def test_the_temperature_rises_while_the_policy_is_too_sure() -> None:
    learner = agent(tiny("sac_discrete", target_entropy_scale=0.5, alpha_lr=0.1))
    assert learner.temperature.goal == pytest.approx(0.5 * math.log(3))
    entropies = torch.tensor([0.0, 0.5 * math.log(3), math.log(3)])
    learner.temperature.learn(-entropies.unsqueeze(1).expand(3, 8))
    sure, right, wide = learner.temperature().tolist()
    assert sure > 1.05 and right == pytest.approx(1.0, abs=1e-6) and wide < 0.95


def test_the_policy_is_sampled_when_it_explores_and_the_likeliest_when_it_does_not() -> None:
    learner = agent(tiny("sac_discrete", warmup=0, learning_starts=10_000))
    obs = World(VECTOR, SEEDS).obs
    actions = torch.stack([learner.act(obs)[0] for _ in range(4000)])
    p = learner._policy(obs).log_p.exp().detach()
    share = torch.nn.functional.one_hot(actions, 3).float().mean(0)
    torch.testing.assert_close(share, p, atol=0.03, rtol=0)
    greedy, memo = learner.act(obs, explore=False)
    assert torch.equal(greedy, p.argmax(-1)) and memo["value"].shape == (3, 1)


def test_warm_up_is_uniform_over_the_actions() -> None:
    learner = agent(tiny("sac_discrete", warmup=900, learning_starts=10_000))
    world, actions = World(VECTOR, SEEDS), []
    for _ in range(900):
        actions.append(learner.act(world.obs)[0])
        learner.observe(world.step(actions[-1]))
    counts = torch.stack(actions).flatten().bincount()
    assert len(counts) == 3 and (counts / counts.sum() - 1 / 3).abs().max() < 0.03


@pytest.mark.parametrize("space", [ACTIONS, spaces.Discrete(1), spaces.MultiDiscrete([2, 3])])
def test_impossible_tasks_are_refused_in_one_clause(space: spaces.Space) -> None:
    config = tiny("sac_discrete")
    reason = SACDiscrete.unsupported(config, Spec(VECTOR, space, 100))
    assert (
        reason and reason.startswith("it needs two or more discrete actions") and "\n" not in reason
    )
    assert SACDiscrete.unsupported(config, Spec(VECTOR, spaces.Discrete(2), 100)) is None


def test_masks_and_images_that_do_not_fit_are_refused() -> None:
    masked = Spec(VECTOR, spaces.Discrete(2), 100, legal=2)
    assert "which actions are legal" in str(SACDiscrete.unsupported(tiny("sac_discrete"), masked))
    small = Spec(spaces.Box(0, 1, (1, 4, 4)), spaces.Discrete(2), 100)
    config = tiny("sac_discrete", conv=[[4, 5, 1]])
    assert "does not fit on images" in str(SACDiscrete.unsupported(config, small))
    assert SACDiscrete.unsupported(tiny("sac_discrete", conv=[[4, 3, 1]]), small) is None


def test_the_largest_entropy_is_no_goal() -> None:
    """Only the uniform policy has it, so the temperature would grow without bound."""
    with pytest.raises(ValueError, match="target_entropy_scale must be"):
        tiny("sac_discrete", target_entropy_scale=1.0)


@pytest.mark.parametrize("component", STUDIED)
def test_each_switch_changes_what_the_agent_becomes(component: str) -> None:
    part = STUDIED[component]
    actors = [
        grown(tiny("sac_discrete", **values), 20)[0].actor.params.clone()
        for values in (part.on, part.off)
    ]
    assert not torch.equal(*actors)
