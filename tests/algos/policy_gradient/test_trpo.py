"""TRPO's gradient and Fisher product against autograd in float64, and what its step keeps to."""

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from prism.algos.core.optim import FlatParams
from prism.algos.policy_gradient.actor_critic import Estimates
from prism.algos.policy_gradient.trpo import TRPO
from tests.algos.policy_gradient.agents import ACTIONS, agent, config, live, params, small, world_of
from tests.helpers import SEEDS


def in_float64(learner: Any) -> None:
    net = learner.actor_critic.net.double()
    learner.learner.weights.flat = FlatParams(net.parameters())
    net.tie()


def prepared(actions: str, **changes: Any) -> tuple[Any, Estimates]:
    """Return a learner in float64 whose policy is not uniform, and the rows of a rollout."""
    settings = small("trpo", hidden=[5], **changes)
    learner, world = agent(settings, actions=ACTIONS[actions]), world_of(settings)
    learner.actor_critic.net.net.head.weight.data.mul_(30)
    for _ in range(settings.rollout):
        learner.observe(world.step(*learner.act(world.obs)))
    rows = learner.actor_critic.estimate(learner.experience.take(), 0.9)
    in_float64(learner)
    rows = Estimates(*(x.double() if x.is_floating_point() else x for x in rows))
    out = learner.actor_critic.net(rows.obs)[0].detach()
    return learner, rows._replace(out=out)


def policy_of(learner: Any, k: int, flat: Tensor, obs: Tensor) -> tuple[Tensor, Tensor | None]:
    """Return output and log deviations of seed ``k``'s policy with the parameters ``flat [D]``."""
    shapes = [p.shape for p in learner.learner.weights.flat.parameters]
    parts, begin = [], 0
    for shape in shapes:
        size = shape[1:].numel()
        parts.append(flat[begin : begin + size].view(shape[1:]))
        begin += size
    names = [name for name, _ in learner.actor_critic.net.named_parameters()]
    named = dict(zip(names, parts, strict=True))
    h = F.linear(
        obs[k], named["net.torso.layers.0.0.weight"], named["net.torso.layers.0.0.bias"][0]
    )
    out = F.linear(h.tanh(), named["net.head.weight"], named["net.head.bias"][0])
    return out[:, : learner.actor_critic.head.outputs], named.get("free_std")


def distribution(learner: Any, out: Tensor, std: Tensor | None) -> Any:
    return learner.actor_critic.head.build(out, std)


@pytest.mark.parametrize("actions", ACTIONS)
def test_the_fisher_product_is_the_hessian_of_the_kl(actions: str) -> None:
    learner, rows = prepared(actions, damping=0.0)
    _, kl = learner._objectives(rows)
    product = learner._fisher_product(kl())
    flat = params(learner)[0::2].clone()
    v = torch.linspace(-1, 1, flat.numel()).double().view_as(flat)
    ours = product(v)
    for k in range(len(SEEDS)):
        old_out, old_std = policy_of(learner, k, flat[k], rows.obs)
        old = distribution(learner, old_out.detach(), old_std)

        def mean_kl(theta: Tensor, k: int = k, old: Any = old) -> Tensor:
            return old.kl(distribution(learner, *policy_of(learner, k, theta, rows.obs))).mean()

        hessian = torch.autograd.functional.hessian(mean_kl, flat[k])
        torch.testing.assert_close(ours[k], hessian @ v[k], rtol=1e-8, atol=1e-10)
        # and the Hessian at the old policy is the Fisher information itself
        scores = [
            torch.autograd.functional.jacobian(
                lambda theta, a=a, k=k: distribution(
                    learner, *policy_of(learner, k, theta, rows.obs)
                ).log_p[:, a],
                flat[k],
            )
            for a in range(3 if actions == "discrete" else 0)
        ]
        if scores:
            p = rows.out[k].softmax(-1)
            fisher = sum(
                torch.einsum("b,bi,bj->ij", p[:, a], s, s) for a, s in enumerate(scores)
            ) / len(p)
            torch.testing.assert_close(hessian, fisher, rtol=1e-8, atol=1e-10)
    assert ours.abs().max() > 1e-3


def test_damping_is_added_to_the_diagonal() -> None:
    learner, rows = prepared("discrete", damping=0.0)
    _, kl = learner._objectives(rows)
    v = torch.ones_like(params(learner)[0::2])
    plain = learner._fisher_product(kl())(v)
    learner.config.damping = 0.3
    torch.testing.assert_close(learner._fisher_product(kl())(v), plain + 0.3 * v)


@pytest.mark.parametrize("actions", ACTIONS)
def test_the_surrogates_gradient_is_the_score_times_the_advantage(actions: str) -> None:
    learner, rows = prepared(actions)
    surrogate, _ = learner._objectives(rows)
    ours = learner._gradient(surrogate())
    a = rows.advantage
    a = (a - a.mean(-1, keepdim=True)) / (a.std(-1, keepdim=True) + 1e-8)
    flat = params(learner)[0::2].clone()
    for k in range(len(SEEDS)):
        score = torch.autograd.functional.jacobian(
            lambda theta, k=k: distribution(
                learner, *policy_of(learner, k, theta, rows.obs)
            ).log_prob(rows.action[k]),
            flat[k],
        )
        expected = -(a[k].unsqueeze(1) * score).mean(0)
        torch.testing.assert_close(ours[k], expected, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("actions", ACTIONS)
def test_a_step_improves_within_the_region_or_is_not_made(actions: str) -> None:
    settings = small("trpo", max_kl=0.02)
    learner, world = agent(settings, actions=ACTIONS[actions]), world_of(settings)
    accepted = []
    for _ in range(10):
        before = params(learner).clone()
        log = live(learner, world, settings.rollout)
        metrics = {name: x[-1] for name, x in log.items() if name != "action"}
        moved = (params(learner)[0::2] != before[0::2]).any(1)
        assert torch.equal(moved, metrics["loss/accepted"] > 0)
        assert (metrics["loss/kl"] <= settings.max_kl * (1 + 1e-4)).all()
        assert (metrics["loss/improvement"][moved] > 0).all()
        assert (params(learner)[1::2] != before[1::2]).any(1).all()  # every critic has learned
        accepted.append(moved)
    assert torch.stack(accepted).float().mean() > 0.8


def test_a_seed_that_finds_no_step_stays_while_the_others_go() -> None:
    learner, rows = prepared("discrete")
    flat = rows.advantage.clone()
    flat[1] = 0.0  # nothing to gain
    before = params(learner)[0::2].clone()
    metrics = learner._improve(rows._replace(advantage=flat))
    moved = (params(learner)[0::2] != before).any(1)
    assert moved.tolist() == [True, False, True]
    assert metrics["loss/accepted"].tolist() == [1, 0, 1]


def test_without_a_line_search_the_step_has_the_kl_that_is_allowed() -> None:
    learner, rows = prepared("discrete", line_search=0, damping=0.0, cg_iterations=3)
    learner.config.max_kl = 1e-6  # where the quadratic form is exact
    metrics = learner._improve(rows)
    torch.testing.assert_close(
        metrics["loss/kl"], torch.full((3,), 1e-6).double(), rtol=0.02, atol=0
    )


def test_one_torso_is_refused() -> None:
    with pytest.raises(ValueError, match="shared=true"):
        small("trpo", shared=True)


def test_the_preset_has_sb3_contribs_defaults() -> None:
    """The signature of sb3_contrib/trpo/trpo.py, but for its rollouts of one lane of 2048 ticks."""
    theirs = {
        "lr": 1e-3,
        "batch_size": 128,
        "gamma": 0.99,
        "cg_iterations": 15,
        "damping": 0.1,
        "shrink": 0.8,
        "line_search": 10,
        "critic_epochs": 10,
        "gae_lambda": 0.95,
        "normalize_advantage": True,
        "max_kl": 0.01,
        "entropy": 0.0,
    }
    ours = vars(config("trpo"))
    assert {key: ours[key] for key in theirs} == theirs
    component = next(c for c in TRPO.COMPONENTS if c.name == "natural gradient")
    assert component.on == {"cg_iterations": theirs["cg_iterations"]}
