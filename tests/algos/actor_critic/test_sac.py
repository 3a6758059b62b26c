"""SAC: every number of an update against brute force, the temperature, and its components."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from prism.algos.actor_critic.sac import SAC
from prism.algos.core.rng import RandomStream
from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.variants import changes
from tests.algos.actor_critic.agents import agent, drive, flat64, forward64, grown, in_float64, tiny
from tests.helpers import SEEDS, VECTOR, World, copied

ACTOR, CRITIC = (4, 16, 16, 4), (6, 16, 16, 1)
STUDIED = {c.name: c for c in SAC.COMPONENTS if not c.foundation}


def sample64(layers: Any, obs: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
    """Return squashed actions and log-probabilities, by torch's own distributions."""
    mean, log_std = forward64(layers, obs).chunk(2, -1)
    normal = torch.distributions.Normal(mean, log_std.clamp(-20, 2).exp())
    x = mean + normal.stddev * noise
    return x.tanh(), (normal.log_prob(x) - (1 - x.tanh() ** 2).log()).sum(-1)


def q64(params: Tensor, obs: Tensor, action: Tensor) -> Tensor:
    return forward64(in_float64(params, CRITIC), torch.cat([obs, action], -1))[:, 0]


VARIANTS: dict[str, dict[str, Any]] = {
    "sac": {},
    "fixed temperature": {"temperature": "fixed", "alpha": 0.7},
    "no entropy": {"entropy": False},
    "one critic": {"critics": 1},
    "without targets": {"target": "none"},
}


@pytest.mark.parametrize("name", VARIANTS)
def test_targets_losses_and_gradients_are_the_papers(name: str) -> None:
    learner, _ = grown(tiny("sac", alpha_lr=0.05, **VARIANTS[name]))
    batch, count = learner.experience.sample()[0], learner.config.critics
    noise = RandomStream(SEEDS, "test", (8, 2), "normal")()
    learner.draws = dict.fromkeys(learner.draws, lambda: noise)
    alpha = learner.temperature().detach()
    assert (len(alpha.unique()) == 3) == (name not in ("fixed temperature", "no entropy"))
    y = learner._target(batch)
    loss, log_prob = learner._policy_loss(batch.obs, alpha)
    learner.actor.optimizer.backward(loss)
    slow = learner.critics.target_params if name != "without targets" else learner.critics.params
    for k in range(3):
        obs, following = batch.obs[k].double(), batch.next_obs[k].double()
        jitter, a = noise[k].double(), alpha[k].double()
        action, p = sample64(in_float64(learner.actor.params[k], ACTOR), following, jitter)
        mine = range(k * count, (k + 1) * count)
        value = torch.stack([q64(slow[i], following, action) for i in mine]).amin(0) - a * p
        expected = batch.reward[k].double() + batch.discount[k].double() * value
        torch.testing.assert_close(y[k].double(), expected.detach(), atol=1e-4, rtol=1e-4)
        actor = in_float64(learner.actor.params[k], ACTOR)
        action, p = sample64(actor, obs, jitter)
        torch.testing.assert_close(log_prob[k].detach().double(), p.detach(), atol=1e-4, rtol=1e-4)
        q = torch.stack([q64(learner.critics.params[i], obs, action) for i in mine]).amin(0)
        slope = flat64(actor, (a * p - q).mean())
        ours = learner.actor.optimizer.grad[k, : len(slope)]
        torch.testing.assert_close(ours.double(), slope, atol=1e-4, rtol=1e-3)
        assert slope.abs().max() > 1e-3


def test_a_learning_step_descends_these_losses() -> None:
    learner, _ = grown(tiny("sac", alpha_lr=0.05))
    other = agent(tiny("sac", alpha_lr=0.05))
    other.load(copied(learner.state()))
    batch = learner.experience.sample()[0]
    learner._learn(batch)
    alpha = other.temperature().detach()
    q = other.critics.values(batch.obs, batch.action)
    other.critics.step((0.5 * (q - other._target(batch).unsqueeze(1)).square()).mean(-1))
    loss, log_prob = other._policy_loss(batch.obs, alpha)
    other.actor.step(loss)
    other.temperature.learn(log_prob.detach())
    other.critics.update_target(0.005)
    for ours, theirs in ((learner.critics, other.critics), (learner.actor, other.actor)):
        assert torch.equal(ours.params, theirs.params)
    assert torch.equal(learner.critics.target_params, other.critics.target_params)
    assert torch.equal(learner.temperature(), other.temperature())
    assert not torch.equal(learner.temperature(), alpha)


def test_the_temperature_takes_adams_steps_on_its_logarithm() -> None:
    learner = agent(tiny("sac", alpha=0.5, alpha_lr=0.02, target_entropy=-1.5))
    theirs = [torch.tensor(math.log(0.5)).double().requires_grad_() for _ in SEEDS]
    adams = [torch.optim.Adam([x], 0.02) for x in theirs]
    draws = RandomStream(SEEDS, "test", (8,), "normal")
    for _ in range(20):
        log_prob = draws() + torch.tensor([[5.0], [-5.0], [1.0]])
        learner.temperature.learn(log_prob)
        for x, adam, row in zip(theirs, adams, log_prob.double(), strict=True):
            adam.zero_grad()
            (-x.exp() * (row - 1.5).mean()).backward()
            adam.step()
    expected = torch.stack(theirs).exp().detach()
    torch.testing.assert_close(learner.temperature().detach().double(), expected, rtol=1e-4, atol=0)
    assert expected[0] > 0.5 > expected[1]  # too little entropy, too much


def test_the_target_entropy_is_minus_the_number_of_numbers() -> None:
    assert agent(tiny("sac")).temperature.goal == -2.0
    assert agent(tiny("sac", target_entropy=-0.3)).temperature.goal == -0.3


@pytest.mark.parametrize(
    ("settings", "alpha"),
    [
        ({"temperature": "fixed", "alpha": 0.2}, 0.2),
        ({"entropy": False}, 0.0),
        ({"entropy": False, "temperature": "fixed", "alpha": 0.2}, 0.0),
    ],
)
def test_a_temperature_that_is_not_learned_stays(settings: dict, alpha: float) -> None:
    learner, _ = grown(tiny("sac", **settings))
    assert learner.temperature().tolist() == pytest.approx([alpha] * 3)


def test_the_policy_is_sampled_when_it_explores_and_its_mean_when_it_does_not() -> None:
    learner = agent(tiny("sac", warmup=0, learning_starts=10_000))
    obs = World(VECTOR, SEEDS).obs
    box = learner.actions
    actions = torch.stack([box.from_env(learner.act(obs)[0]) for _ in range(2000)])
    mean, log_std = (x.detach() for x in learner._policy(obs))
    inside = torch.atanh(actions.clamp(-1 + 1e-6, 1 - 1e-6))
    torch.testing.assert_close(inside.mean(0), mean, atol=0.12, rtol=0)
    torch.testing.assert_close(inside.std(0), log_std.exp(), atol=0, rtol=0.1)
    greedy = box.from_env(learner.act(obs, explore=False)[0])
    torch.testing.assert_close(greedy, mean.tanh())


def test_log_std_is_cut_and_its_gradient_ends_there() -> None:
    learner = agent(tiny("sac", log_std_min=-0.01, log_std_max=0.01))
    obs = World(VECTOR, SEEDS, 8).obs
    log_std = learner._policy(obs)[1]
    assert log_std.min() >= -0.01 and log_std.max() <= 0.01
    raw = learner.actor.online(obs)[..., 2:]
    learner.actor.optimizer.backward(log_std.where(raw.abs() > 0.01, 0).sum((1, 2)))
    assert not learner.actor.optimizer.grad.any()


def test_component_studies_are_made_of_these_switches() -> None:
    assert set(STUDIED) == {"learned temperature", "twin critics", "entropy"}
    with cfg.session():
        sac = cfg.composed("algo=sac").algo
    variants = {c.label: c.values for c in changes(SAC, sac, "leave_one_out")}
    assert variants == {f"SAC - {name}": dict(c.off) for name, c in STUDIED.items()}
    (everything,) = changes(SAC, sac, "none")
    assert everything.values == {k: v for c in STUDIED.values() for k, v in c.off.items()}
    once = {"replay": False, "train_every": 1, "gradient_steps": 1}
    for name, values in (("replay", once), ("target networks", {"target": "none"})):
        assert [c.values for c in changes(SAC, sac, f"-{name}")] == [values]


@pytest.mark.parametrize("component", STUDIED)
def test_each_switch_changes_what_the_agent_becomes(component: str) -> None:
    part = STUDIED[component]
    actors = [grown(tiny("sac", **v), 20)[0].actor.params.clone() for v in (part.on, part.off)]
    assert not torch.equal(*actors)
    with_, without = (agent(tiny("sac", **v)) for v in (part.on, part.off))
    if component == "twin critics":
        assert len(with_.critics.params) == 2 * len(without.critics.params)
    else:
        assert with_.temperature.learns and not without.temperature.learns


def test_metrics_tell_entropy_and_temperature() -> None:
    learner = agent(tiny("sac"))
    log = drive(learner, World(VECTOR, SEEDS), 30)
    names = ("critic", "q", "grad_norm", "actor", "entropy", "alpha")
    for name in names:
        assert all(x.shape == (3,) for x in log[f"loss/{name}"])
    # the temperature begins at 1, far above what the goal needs, and falls
    assert log["loss/alpha"][0].tolist() == [1.0, 1.0, 1.0]
    assert (log["loss/alpha"][-1] < 1).all()
