"""REINFORCE's estimators against the exact gradient of J, and what one update is made of."""

from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.algos.core.rollout import Trajectories
from prism.algos.formulas import policy
from prism.algos.policy_gradient.reinforce import Reinforce
from tests.algos.policy_gradient.agents import agent, live, small, world_of
from tests.helpers import SEEDS, VECTOR

S, A, HORIZON, GAMMA = 2, 2, 3, 0.75  # powers of 0.75 are exact in float32


class Path(NamedTuple):
    chance: float  # of what the environment decides
    states: tuple[int, ...]
    actions: tuple[int, ...]
    rewards: tuple[float, ...]


class Model:
    """A random MDP in which an episode ends with some probability and at the horizon at last."""

    def __init__(self, seed: int) -> None:
        draw = np.random.default_rng(seed)
        self.start = draw.dirichlet(np.ones(S))
        self.to = draw.dirichlet(np.ones(S + 1), (S, A))  # the last one is the end
        self.pay = draw.normal(size=(S, A, S + 1))

    def paths(self) -> list[Path]:
        """Return every episode that can happen."""
        open_ = [Path(float(p), (s,), (), ()) for s, p in enumerate(self.start)]
        closed = []
        for t in range(HORIZON):
            following = []
            for path in open_:
                s = path.states[-1]
                for a in range(A):
                    for s2 in range(S + 1):
                        longer = Path(
                            path.chance * self.to[s, a, s2],
                            (*path.states, s2),
                            (*path.actions, a),
                            (*path.rewards, self.pay[s, a, s2]),
                        )
                        ends = s2 == S or t == HORIZON - 1
                        (closed if ends else following).append(longer)
            open_ = following
        return closed


def log_probs(theta: Tensor, path: Path) -> Tensor:
    logits = theta.log_softmax(-1)
    return torch.stack([logits[s, a] for s, a in zip(path.states, path.actions, strict=False)])


def chances(theta: Tensor, paths: list[Path]) -> Tensor:
    return torch.stack([path.chance * log_probs(theta, path).sum().exp() for path in paths])


def exact(theta: Tensor, paths: list[Path]) -> Tensor:
    """Return the gradient of J(theta), the expected discounted return, by enumeration."""
    returns = [sum(GAMMA**t * r for t, r in enumerate(path.rewards)) for path in paths]
    j = (chances(theta, paths) * torch.tensor(returns).double()).sum()
    return torch.autograd.grad(j, theta)[0]


def trajectories(paths: list[Path]) -> Trajectories:
    """Return the episodes as the lanes of one seed, in float64."""
    n = len(paths)
    fields = {name: torch.zeros(1, HORIZON, n) for name in ("terminated", "truncated", "valid")}
    flags = {name: x.bool() for name, x in fields.items()}
    action, reward = torch.zeros(1, HORIZON, n).long(), torch.zeros(1, HORIZON, n).double()
    obs = torch.zeros(1, HORIZON, n, S)
    for lane, path in enumerate(paths):
        for t, a in enumerate(path.actions):
            obs[0, t, lane, path.states[t]] = 1
            action[0, t, lane], reward[0, t, lane] = a, path.rewards[t]
            flags["valid"][0, t, lane] = True
        flags["terminated"][0, len(path.actions) - 1, lane] = True
    return Trajectories(obs, obs, action, reward, **flags)


def estimate(learner: Reinforce, theta: Tensor, paths: list[Path]) -> Tensor:
    """Return the mean of the agent's estimator over all episodes."""
    _, advantage, weight = learner._weights(trajectories(paths))
    p = chances(theta, paths).detach()
    total = torch.zeros(()).double()
    for lane, path in enumerate(paths):
        n = len(path.actions)
        a, w = advantage[0, :n, lane].double(), weight[0, :n, lane].double()
        total = total - p[lane] * (w * policy.policy_gradient(log_probs(theta, path), a)).sum()
    return torch.autograd.grad(total, theta)[0]


def learner_of(estimator: str, discounted: bool, lanes: int) -> Reinforce:
    settings = small("reinforce", estimator=estimator, discount_steps=discounted, gamma=GAMMA)
    settings.lanes = lanes
    space = type(VECTOR)(0.0, 1.0, (S,), np.float32)
    return agent(settings, (0,), obs=space)  # type: ignore[no-any-return]


@pytest.mark.parametrize("estimator", ["return", "to_go", "baseline"])
@pytest.mark.parametrize("seed", range(3))
def test_with_discounted_steps_every_estimator_is_the_exact_gradient(
    estimator: str, seed: int
) -> None:
    paths = Model(seed).paths()
    theta = torch.from_numpy(np.random.default_rng(seed).normal(size=(S, A))).requires_grad_()
    ours = estimate(learner_of(estimator, True, len(paths)), theta, paths)
    tight = (
        {"rtol": 1e-10, "atol": 1e-12} if estimator != "baseline" else {"rtol": 1e-5, "atol": 1e-7}
    )
    torch.testing.assert_close(ours, exact(theta, paths), **tight)


@pytest.mark.parametrize("estimator", ["to_go", "baseline"])
def test_without_them_they_are_not(estimator: str) -> None:
    paths = Model(0).paths()
    theta = torch.from_numpy(np.random.default_rng(0).normal(size=(S, A))).requires_grad_()
    truth = exact(theta, paths)
    ours = estimate(learner_of(estimator, False, len(paths)), theta, paths)
    assert (ours - truth).norm() > 0.05 * truth.norm()
    # the whole return has no such factor: it is exact either way
    whole = estimate(learner_of("return", False, len(paths)), theta, paths)
    torch.testing.assert_close(whole, truth, rtol=1e-10, atol=1e-12)


def test_a_baseline_moves_no_mean_but_the_spread() -> None:
    """The value that is taken away is the critic's own, whatever it has learned."""
    paths = Model(1).paths()
    learner = learner_of("baseline", True, len(paths))
    data = trajectories(paths)
    target, advantage, _ = learner._weights(data)
    v = learner.actor_critic.net.values(data.obs.flatten(1, 2)).view(target.shape)
    assert v.std() > 0.01
    torch.testing.assert_close(advantage, target - v)


def test_equal_advantages_are_standardised_to_zeros() -> None:
    learner = agent(small("reinforce"))
    valid = (torch.rand(3, 128, 4, generator=torch.Generator().manual_seed(0)) < 0.7).float()
    for value in torch.linspace(-300, 300, 50):
        x = torch.where(valid > 0, value, 7.0)
        assert not (learner._standardised(x, valid) * valid).any()


def ready(learner: Any, world: Any) -> None:
    """Live until some seed's episodes are complete, without learning."""
    while not learner.experience.due:
        learner.observe(world.step(*learner.act(world.obs)))


@pytest.mark.parametrize("estimator", ["return", "to_go", "baseline"])
@pytest.mark.parametrize("normalize", [False, True])
def test_an_update_is_the_mean_over_the_episodes(estimator: str, normalize: bool) -> None:
    settings = small("reinforce", estimator=estimator, gamma=0.9, discount_steps=True, entropy=0.01)
    settings.normalize_advantage, settings.optimizer = normalize, "sgd"
    learner, world = agent(settings), world_of(settings)
    ready(learner, world)
    data = learner.experience.take()
    mine = learner.experience.ready.clone()
    out, values = learner.actor_critic.net(data.obs.flatten(1, 2))
    log_p = out.log_softmax(-1).view(3, -1, 4, 3)
    v = values.detach().reshape(3, -1, 4) if estimator == "baseline" else torch.zeros(3, 64, 4)
    v_next = learner.actor_critic.net.values(data.next_obs.flatten(1, 2))
    losses = []
    for k in mine.nonzero()[:, 0].tolist():
        weighted, squares, advantages, count = [], [], [], 0
        for lane in range(4):
            steps = int(data.valid[k, :, lane].sum())
            count += steps
            last = steps - 1
            for t in range(steps):
                g = sum(0.9 ** (i - t) * data.reward[k, i, lane] for i in range(t, steps))
                if estimator == "baseline" and data.truncated[k, last, lane]:
                    g = g + 0.9 ** (steps - t) * v_next.view(3, -1, 4)[k, last, lane]
                if estimator == "return":
                    first = sum(0.9**i * data.reward[k, i, lane] for i in range(steps))
                a = first if estimator == "return" else g - v[k, t, lane]
                factor = 1.0 if estimator == "return" else 0.9**t
                lp = log_p[k, t, lane]
                advantages.append(a)
                weighted.append((factor, lp[data.action[k, t, lane]], -(lp.exp() * lp).sum()))
                if estimator == "baseline":
                    squares.append((values.view(3, -1, 4)[k, t, lane] - g) ** 2 / 2)
        a = torch.stack(advantages)
        if normalize:
            a = (a - a.mean()) / (a.std() + 1e-8)
        loss = sum(-f * lp * x - 0.01 * h for (f, lp, h), x in zip(weighted, a, strict=True)) / 4
        losses.append(loss + 0.5 * sum(squares) / count)
    grads = torch.autograd.grad(sum(losses), learner.learner.weights.flat.parameters)
    metrics = learner._learn(data)
    for view, grad in zip(learner.learner.optimizer._grad_views, grads, strict=True):
        torch.testing.assert_close(view, grad, rtol=1e-3, atol=1e-5)
    assert torch.equal(metrics["learned"], mine) and mine.any()


def test_seeds_that_wait_stay_as_they_are() -> None:
    settings = small("reinforce_baseline")
    learner, world = agent(settings), world_of(settings)
    waits = 0
    for _ in range(60):
        before = learner.learner.params.clone().view(3, -1)
        learner.observe(world.step(*learner.act(world.obs)))
        metrics = learner.update()
        moved = (learner.learner.params.view(3, -1) != before).any(1)
        assert torch.equal(moved, metrics["learned"] if metrics else torch.zeros(3).bool())
        waits += bool(metrics) and not bool(moved.all())
    assert waits > 3


def test_episodes_longer_than_a_chunk_are_learned_whole() -> None:
    """130 ticks are three chunks; the gradient is that of all of them."""
    settings = small("reinforce", optimizer="sgd", lanes=2)
    learner, world = agent(settings), world_of(settings)
    for t in range(130):
        step = world.step(*learner.act(world.obs))
        ends = torch.full((3, 2), t == 129)
        step = step._replace(
            terminated=ends,
            truncated=~ends & False,
            valid=torch.ones_like(ends),
            reward=step.reward,
        )
        learner.observe(step)
    data = learner.experience.take()
    assert data.reward.shape == (3, 192, 2) and int(data.valid.sum()) == 3 * 130 * 2
    out, _ = learner.actor_critic.net(data.obs[:, :130].flatten(1, 2))
    log_prob = out.log_softmax(-1).gather(-1, data.action[:, :130].flatten(1, 2).unsqueeze(-1))
    target, _, _ = learner._weights(data)
    loss = -(log_prob.squeeze(-1) * target[:, :130].flatten(1)).sum() / 2
    grads = torch.autograd.grad(loss, learner.learner.weights.flat.parameters)
    learner.update()
    for view, grad in zip(learner.learner.optimizer._grad_views, grads, strict=True):
        torch.testing.assert_close(view, grad, rtol=1e-3, atol=1e-4)


def test_live_metrics_are_finite() -> None:
    settings = small("reinforce_baseline", normalize_obs=True)
    log = live(agent(settings), world_of(settings, SEEDS), 60)
    assert len(log["learned"]) > 3 and torch.stack(log["loss/policy"]).isfinite().all()
