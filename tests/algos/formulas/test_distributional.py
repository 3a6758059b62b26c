"""Distributional formulas against loops in float64."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.algos.formulas import distributional as dist

LOW, HIGH, ATOMS = -2.0, 3.0, 11


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def distributions(*shape: int, seed: int = 0) -> Tensor:
    return random(*shape, ATOMS, seed=seed).mul(2).softmax(-1)


def project_by_loop(r: float, d: float, probs: list[float]) -> list[float]:
    """Bellemare et al. 2017, algorithm 1, atom by atom."""
    width = (HIGH - LOW) / (ATOMS - 1)
    out = [0.0] * ATOMS
    for j, p in enumerate(probs):
        z = min(max(r + d * (LOW + j * width), LOW), HIGH)
        b = (z - LOW) / width
        low, high = math.floor(b + 1e-12), math.ceil(b - 1e-12)
        if low == high:
            out[low] += p
        else:
            out[low] += p * (high - b)
            out[high] += p * (b - low)
    return out


def test_projection_equals_the_loop_over_atoms() -> None:
    probs = distributions(4, 50)
    r, d = random(4, 50, seed=1) * 2, random(4, 50, seed=2).abs().clamp(max=1)
    d[:, ::5] = 0  # terminal
    r[:, ::7] = 100.0  # far beyond the support
    projected = dist.categorical_projection(r, d, probs, LOW, HIGH)
    for k in range(4):
        for b in range(50):
            expected = project_by_loop(float(r[k, b]), float(d[k, b]), probs[k, b].tolist())
            assert projected[k, b].tolist() == pytest.approx(expected, abs=1e-12)
    assert torch.allclose(projected.sum(-1), torch.ones(4, 50).double(), atol=1e-12)


def test_projection_keeps_the_expectation_inside_the_support_and_clips_it_outside() -> None:
    support = torch.linspace(LOW, HIGH, ATOMS, dtype=torch.float64)
    probs = distributions(200)
    r, d = random(200, seed=3) * 0.1, torch.full((200,), 0.6).double()
    shifted = r.unsqueeze(-1) + d.unsqueeze(-1) * support
    assert shifted.min() > LOW and shifted.max() < HIGH
    projected = dist.categorical_projection(r, d, probs, LOW, HIGH)
    assert torch.allclose(projected @ support, (probs * shifted).sum(-1), atol=1e-12)
    r = r + 2.5
    shifted = (r.unsqueeze(-1) + d.unsqueeze(-1) * support).clamp(LOW, HIGH)
    projected = dist.categorical_projection(r, d, probs, LOW, HIGH)
    assert torch.allclose(projected @ support, (probs * shifted).sum(-1), atol=1e-12)


@pytest.mark.parametrize(("r", "atom"), [(LOW, 0), (0.0, 4), (HIGH, 10), (-9.0, 0), (9.0, 10)])
def test_projection_of_a_termination_is_a_point_at_the_reward(r: float, atom: int) -> None:
    probs = distributions(1)
    zero = torch.zeros(1).double()
    projected = dist.categorical_projection(zero + r, zero, probs, LOW, HIGH)
    assert projected[0, atom] == pytest.approx(1, abs=1e-12)


def test_projection_with_discount_one_and_no_reward_is_the_identity() -> None:
    probs = distributions(20)
    zero, one = torch.zeros(20).double(), torch.ones(20).double()
    assert torch.allclose(dist.categorical_projection(zero, one, probs, LOW, HIGH), probs)


def test_clipped_share_is_the_mass_outside() -> None:
    support = torch.linspace(LOW, HIGH, ATOMS, dtype=torch.float64)
    probs = distributions(100)
    r, d = random(100, seed=4) * 3, random(100, seed=5).abs().clamp(max=1)
    share = dist.clipped_share(r, d, probs, LOW, HIGH)
    for b in range(100):
        z = r[b] + d[b] * support
        outside = sum(float(p) for p, x in zip(probs[b], z, strict=True) if not LOW <= x <= HIGH)
        assert float(share[b]) == pytest.approx(outside, abs=1e-12)
    assert 0 < share.mean() < 1
    zero, one = torch.zeros(100).double(), torch.ones(100).double()
    assert not dist.clipped_share(zero, one, probs, -0.3, 0.1).any()  # not by rounding either
    assert (dist.clipped_share(zero + 50, one, probs, LOW, HIGH) - 1).abs().max() < 1e-12


def test_cross_entropy_less_entropy_is_the_divergence() -> None:
    logits, target = random(30, ATOMS), distributions(30, seed=6)
    target[0] = 0
    target[0, 3] = 1  # 0 log 0
    loss = dist.cross_entropy(logits, target)
    probs = logits.softmax(-1)
    for b in range(30):
        pairs = list(zip(target[b].tolist(), probs[b].tolist(), strict=True))
        assert float(loss[b]) == pytest.approx(-sum(t * math.log(p) for t, p in pairs))
        divergence = sum(t * math.log(t / p) for t, p in pairs if t > 0)
        assert float(loss[b] - dist.entropy(target[b])) == pytest.approx(divergence, abs=1e-12)
    exact = dist.cross_entropy(target[1:].log(), target[1:]) - dist.entropy(target[1:])
    assert exact.abs().max() < 1e-12


def quantile_loss_by_loop(predicted: list[float], target: list[float], kappa: float) -> float:
    """Dabney et al. 2018, eq. 9 and 10, divided by kappa so that kappa = 0 is its limit."""
    total = 0.0
    for i, theta in enumerate(predicted):
        tau = (2 * (i + 1) - 1) / (2 * len(predicted))
        for y in target:
            u = y - theta
            if kappa == 0:
                size = abs(u)
            elif abs(u) <= kappa:
                size = 0.5 * u * u / kappa
            else:
                size = abs(u) - 0.5 * kappa
            total += abs(tau - (u < 0)) * size / len(target)
    return total


@pytest.mark.parametrize("kappa", [0.0, 0.3, 1.0, 2.0])
def test_quantile_huber_equals_the_double_loop(kappa: float) -> None:
    predicted, target = random(3, 6, 7), random(3, 6, 5, seed=7) * 2
    loss = dist.quantile_huber(predicted, target, kappa)
    for k in range(3):
        for b in range(6):
            expected = quantile_loss_by_loop(predicted[k, b].tolist(), target[k, b].tolist(), kappa)
            assert float(loss[k, b]) == pytest.approx(expected, abs=1e-12)


def test_pinball_loss_is_least_at_the_quantiles() -> None:
    n = 5
    samples = torch.from_numpy(np.random.default_rng(8).exponential(size=4001)).sort().values
    quantiles = torch.zeros(n, dtype=torch.float64, requires_grad=True)
    for i in range(600):
        (slope,) = torch.autograd.grad(dist.quantile_huber(quantiles, samples, 0.0), quantiles)
        quantiles = (quantiles - 2.0 / (1 + i / 50) * slope).detach().requires_grad_()
    tau = (torch.arange(n).double() + 0.5) / n
    expected = torch.quantile(samples, tau)
    assert torch.allclose(quantiles.detach(), expected, atol=0.01)
    assert expected[-1] > 2 and expected[0] < 0.15  # the answer is not a mean


def test_huber_quantiles_lie_between_quantiles_and_mean() -> None:
    samples = torch.from_numpy(np.random.default_rng(9).exponential(size=2001))
    medians = {}
    for kappa in (0.0, 1.0, 100.0):
        q = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        for i in range(400):
            (slope,) = torch.autograd.grad(dist.quantile_huber(q, samples, kappa), q)
            rate = max(kappa, 1.0) / (1 + i / 50)
            q = (q - rate * slope).detach().requires_grad_()
        medians[kappa] = float(q.detach())
    assert medians[0.0] == pytest.approx(float(samples.median()), abs=0.01)
    assert medians[100.0] == pytest.approx(float(samples.mean()), abs=0.02)
    assert medians[0.0] < medians[1.0] < medians[100.0]
