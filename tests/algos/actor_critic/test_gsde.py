"""gSDE: the Gaussian that its noise amounts to against brute force, and what is held how long."""

import pytest
import torch

from prism.algos.actor_critic.gsde import FeatureGaussian, HeldDraws
from prism.algos.core.squashed import squashed_gaussian
from tests.algos.actor_critic.agents import agent, drive, forward64, grown, in_float64, tiny
from tests.helpers import CPU, SEEDS, VECTOR, World

ACTOR = (4, 16, 16, 2)


def features64(params: torch.Tensor, obs: torch.Tensor) -> torch.Tensor:
    layers = in_float64(params[16 * 2 :], ACTOR)  # behind the deviations
    return torch.relu(forward64(layers[:-1], obs))


def test_log_probabilities_are_those_of_the_noise_written_out() -> None:
    """``noise = J vec(E)`` with the Jacobian J of all normal draws E has the covariance J J^T."""
    learner, _ = grown(tiny("sac", gsde=True, gsde_log_std=-0.5, actor_lr=1e-2))
    obs = World(VECTOR, SEEDS, 5).obs
    noise = torch.randn(3, 5, 2, generator=torch.Generator().manual_seed(0))
    mean, log_std = learner._policy(obs)
    action, log_prob = squashed_gaussian(mean, log_std, noise)
    net = learner.actor.online
    assert not torch.equal(net.log_std, torch.full_like(net.log_std, -0.5))  # it has learned
    for k in range(3):
        phi = features64(learner.actor.params[k], obs[k].double())
        std = net.log_std[k].double().exp()
        for b in range(5):
            jacobian = torch.zeros(2, 16, 2, dtype=torch.float64)
            for a in range(2):
                jacobian[a, :, a] = phi[b] * std[:, a]
            flat = jacobian.flatten(1)
            covariance = flat @ flat.T + 1e-6 * torch.eye(2).double()
            normal = torch.distributions.MultivariateNormal(mean[k, b].double(), covariance)
            x = torch.atanh(action[k, b].double())
            expected = normal.log_prob(x) - (1 - action[k, b].double() ** 2).log().sum()
            torch.testing.assert_close(log_prob[k, b].double(), expected, atol=2e-3, rtol=1e-3)


def test_the_noise_of_acting_has_this_deviation() -> None:
    net = FeatureGaussian(SEEDS, (4, [8], 2), -0.7)
    obs = World(VECTOR, SEEDS, 2).obs
    held = HeldDraws(SEEDS, (2, 8, 2), 1, CPU)
    with torch.no_grad():
        actions = torch.stack([net.noisy(obs, held()) for _ in range(6000)])
        mean, log_std = net(obs).chunk(2, -1)
    torch.testing.assert_close(actions.mean(0), mean, atol=0.03, rtol=0)
    torch.testing.assert_close(actions.std(0), log_std.exp(), atol=0, rtol=0.05)


def test_the_density_is_that_of_wide_noise_too() -> None:
    """Beyond ``log_std_max``, which cuts other policies."""
    learner = agent(tiny("sac", gsde=True, gsde_log_std=3.0))
    obs = World(VECTOR, SEEDS, 2).obs
    held = HeldDraws(SEEDS, (2, 16, 2), 1, CPU)
    with torch.no_grad():
        mean, log_std = learner._policy(obs)
        noisy = [learner.actor.online.noisy(obs, held()) - mean for _ in range(3000)]
    assert (log_std > learner.config.log_std_max).any()
    torch.testing.assert_close(torch.stack(noisy).std(0), log_std.exp(), atol=0, rtol=0.08)


def test_the_deviation_does_not_shape_the_features() -> None:
    learner = agent(tiny("sac", gsde=True))
    learner.actor.optimizer.backward(learner._policy(World(VECTOR, SEEDS, 8).obs)[1].sum((1, 2)))
    views = learner.actor.optimizer.params.views(learner.actor.optimizer.grad)
    names = [name for name, _ in learner.actor.online.named_parameters()]
    moved = {name for name, grad in zip(names, views, strict=True) if grad.any()}
    assert moved == {"log_std"}


def test_noise_is_held_for_some_ticks_and_every_lane_and_seed_has_its_own() -> None:
    learner = agent(tiny("sac", gsde=True, gsde_every=3, gsde_log_std=0.0, warmup=0, lanes=2))
    obs = World(VECTOR, SEEDS, 1).obs[:1].expand(3, 2, 4)
    actions = torch.stack([learner.act(obs)[0] for _ in range(9)])
    for t in range(1, 9):
        same = torch.equal(actions[t], actions[t - 1])
        assert same == (t % 3 != 0)
    draws = learner.held.draws.flatten(0, 1)
    assert len({tuple(row.flatten().tolist()) for row in draws}) == 6
    other = obs + 0.5  # in another state the noise is another
    assert not torch.equal(learner.act(other)[0], actions[-1])


def test_greedy_acting_is_the_mean_and_changes_no_noise() -> None:
    learner, world = grown(tiny("sac", gsde=True))
    before = learner.held.age
    action = learner.act(world.obs, explore=False)[0]
    mean = learner._policy(world.obs)[0].tanh()
    torch.testing.assert_close(learner.actions.from_env(action), mean)
    assert learner.held.age == before


def test_a_network_without_hidden_layers_is_refused() -> None:
    with pytest.raises(ValueError, match="gsde=true needs a hidden layer"):
        tiny("sac", gsde=True, hidden=[])


def test_every_part_learns_and_stays_finite() -> None:
    settings = tiny("sac", gsde=True, lanes=2, actor_lr=1e-2, alpha_lr=1e-2)
    learner = agent(settings)
    nets = {"actor": learner.actor, "critics": learner.critics}
    before = {name: net.params.clone() for name, net in nets.items()}
    deviation = learner.actor.online.log_std.detach().clone()
    log = drive(learner, World(VECTOR, SEEDS, 2), 40)
    assert all(torch.stack(x).isfinite().all() for n, x in log.items() if n != "index")
    for name, net in nets.items():
        moved = (net.params != before[name]).view(len(SEEDS), -1).any(1)
        assert moved.all(), name
    changed = (learner.actor.online.log_std != deviation).flatten(1).any(1)
    assert changed.all()
