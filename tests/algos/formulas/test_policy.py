"""Policy losses against autograd and brute force, in float64."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.algos.formulas import policy

B, A = 40, 3


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def setting(spread: float = 0.5) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return logits (with a graph), old log-probabilities, actions and advantages."""
    logits = draw(B, A).requires_grad_()
    old = (logits.detach() + spread * draw(B, A, seed=1)).log_softmax(-1)
    action = torch.from_numpy(np.random.default_rng(2).integers(A, size=B))
    return logits, old.gather(-1, action[:, None])[:, 0], action, draw(B, seed=3)


def log_prob(logits: Tensor, action: Tensor) -> Tensor:
    return logits.log_softmax(-1).gather(-1, action[:, None])[:, 0]


def softmax_score(logits: Tensor, action: Tensor) -> Tensor:
    """Return the gradient of log pi(a) by the logits: one-hot less probabilities."""
    return torch.eye(A).double()[action] - logits.detach().softmax(-1)


def test_policy_gradient_is_the_score_times_the_advantage() -> None:
    logits, _, action, advantage = setting()
    policy.policy_gradient(log_prob(logits, action), advantage).sum().backward()
    expected = -softmax_score(logits, action) * advantage[:, None]
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("clip", [None, 0.2, 0.01])
def test_surrogate_gradients_written_out(clip: float | None) -> None:
    """Nothing flows where a ratio has left the interval on the side its advantage wants."""
    logits, old, action, advantage = setting()
    log_ratio = log_prob(logits, action) - old
    if clip is None:
        policy.surrogate(log_ratio, advantage).sum().backward()
    else:
        policy.clipped_surrogate(log_ratio, advantage, clip).sum().backward()
    rho = log_ratio.detach().exp()
    expected = -(rho * advantage)[:, None] * softmax_score(logits, action)
    cut = torch.zeros(B, dtype=torch.bool)
    if clip is not None:
        cut = ((advantage > 0) & (rho > 1 + clip)) | ((advantage < 0) & (rho < 1 - clip))
        assert 0 < cut.sum() < B
        outside = (rho - 1).abs() > clip
        assert (outside & ~cut).any()  # outside, and still pushed: the clip bounds nothing
    torch.testing.assert_close(
        logits.grad, torch.where(cut[:, None], 0.0, expected), rtol=1e-12, atol=1e-14
    )


def test_clipped_surrogate_is_the_pessimistic_one() -> None:
    x, advantage = draw(500), draw(500, seed=1)
    for i in range(500):
        rho = float(x[i].exp())
        a = float(advantage[i])
        expected = -min(rho * a, min(max(rho, 0.8), 1.2) * a)
        assert float(policy.clipped_surrogate(x[i], advantage[i], 0.2)) == pytest.approx(expected)


def test_surrogates_start_as_the_policy_gradient() -> None:
    logits, _, action, advantage = setting()
    old = log_prob(logits, action).detach()
    losses = [
        lambda: policy.policy_gradient(log_prob(logits, action), advantage),
        lambda: policy.surrogate(log_prob(logits, action) - old, advantage),
        lambda: policy.clipped_surrogate(log_prob(logits, action) - old, advantage, 0.2),
    ]
    first, *rest = (torch.autograd.grad(loss().sum(), logits)[0] for loss in losses)
    for gradient in rest:
        torch.testing.assert_close(gradient, first, rtol=1e-12, atol=1e-14)


def test_clipped_value_loss() -> None:
    v, old, target = draw(200), draw(200, seed=1), draw(200, seed=2)
    ours = policy.clipped_value_loss(v, old, target, 0.3)
    for i in range(200):
        v_clip = old[i] + min(max(float(v[i] - old[i]), -0.3), 0.3)
        expected = max((v[i] - target[i]) ** 2, (v_clip - target[i]) ** 2) / 2
        assert float(ours[i]) == pytest.approx(float(expected))


def test_k3_is_unbiased_and_never_negative() -> None:
    p, q = draw(6).log_softmax(-1), draw(6, seed=1).log_softmax(-1)
    x = q - p
    exact = (p.exp() * (p - q)).sum()
    torch.testing.assert_close((p.exp() * policy.k3(x)).sum(), exact, rtol=1e-12, atol=0)
    assert (policy.k3(draw(1000)) >= 0).all() and policy.k3(torch.zeros(1)) == 0


def test_k3_gradient_is_one_less_the_ratio() -> None:
    """DeepSeekMath, equation 21: the gradient coefficient of the penalty is pi_ref / pi - 1."""
    logits, ref, action, _ = setting()
    (policy.k3(ref - log_prob(logits, action))).sum().backward()
    coefficient = (ref - log_prob(logits, action)).detach().exp() - 1
    expected = -coefficient[:, None] * softmax_score(logits, action)
    torch.testing.assert_close(logits.grad, expected, rtol=1e-12, atol=1e-14)


def test_penalty_is_halved_and_doubled() -> None:
    kl = torch.tensor([0.001, 0.0066, 0.0067, 0.01, 0.0149, 0.0151])
    ours = policy.adapted_penalty(torch.full((6,), 4.0), kl, 0.01)
    assert ours.tolist() == [2, 2, 4, 4, 4, 8]


def test_conjugate_gradient_solves_each_row() -> None:
    roots = draw(3, 7, 7)
    matrix = roots @ roots.transpose(1, 2) + 0.1 * torch.eye(7)
    b = draw(3, 7, seed=1)
    b[1] = 0  # a seed without a gradient must not become NaN
    calls = []

    def product(v: Tensor) -> Tensor:
        calls.append(v)
        return (matrix @ v.unsqueeze(-1)).squeeze(-1)

    x = policy.conjugate_gradient(product, b, 12)
    torch.testing.assert_close(product(x), b, rtol=1e-4, atol=1e-5)
    assert len(calls) == 13 and not x[1].any()
    few = policy.conjugate_gradient(product, b, 2)
    assert (product(few) - b)[0].norm() > 1e-2


def test_the_expected_soft_value_is_a_sum_over_actions() -> None:
    q, out = draw(2, 2, 5, 3)
    log_p, alpha = out.log_softmax(-1), torch.tensor([0.3, 2.0]).double()
    value, entropy = policy.expected_soft_value(q, log_p.exp(), log_p, alpha)
    for k in range(2):
        for b in range(5):
            p = [math.exp(float(x)) for x in log_p[k, b]]
            bits = -sum(x * math.log(x) for x in p)
            mean = sum(x * float(y) for x, y in zip(p, q[k, b], strict=True))
            assert float(entropy[k, b]) == pytest.approx(bits)
            assert float(value[k, b]) == pytest.approx(mean + float(alpha[k]) * bits)
