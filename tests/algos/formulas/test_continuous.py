"""Deterministic and soft policy gradients against brute force in float64."""

import math

import pytest
import torch
from torch import Tensor

from prism.algos.core.rng import generator
from prism.algos.formulas import continuous, td


def draw(*shape: int, purpose: str = "test") -> Tensor:
    return torch.from_numpy(generator(0, purpose).standard_normal(shape))


def test_the_smallest_of_the_critics_and_the_ddpg_target() -> None:
    """Behind a termination (discount 0) only the reward counts, whatever the critics say."""
    q, r = draw(3, 2, 5), draw(3, 5, purpose="r")
    discount = torch.tensor([0.99, 0.0, 0.99, 0.0, 0.99]).double().expand(3, 5)
    y = td.bootstrap(r, discount, continuous.smallest(q))
    for k in range(3):
        for b in range(5):
            v = min(q[k, 0, b].item(), q[k, 1, b].item())
            assert y[k, b].item() == pytest.approx(r[k, b].item() + discount[k, b].item() * v)
    assert torch.equal(continuous.smallest(q[:, :1]), q[:, 0])


def test_smoothing_clips_the_noise_and_then_the_action() -> None:
    action, noise = draw(400, purpose="a").tanh(), 3 * draw(400)
    smooth = continuous.smoothed(action, noise, 0.2, 0.5)
    for a, n, s in zip(action.tolist(), noise.tolist(), smooth.tolist(), strict=True):
        assert s == pytest.approx(min(1.0, max(-1.0, a + min(0.5, max(-0.5, 0.2 * n)))))
    assert (smooth.abs() == 1).any() and ((smooth - action).abs().max() <= 0.5 + 1e-12)


def test_losses_and_their_gradients() -> None:
    """The critic's loss pulls Q to y, the actor's pushes Q up; the notes had them swapped."""
    q = draw(2, 4).requires_grad_()
    y, log_prob = draw(2, 4, purpose="y"), draw(2, 4, purpose="p").requires_grad_()
    alpha = torch.tensor([0.2, 3.0]).double()
    (slope,) = torch.autograd.grad(td.squared(q - y).mean(-1).sum(), q)
    torch.testing.assert_close(slope, (q - y).detach() / 4)
    (slope,) = torch.autograd.grad(continuous.deterministic_policy_loss(q).sum(), q)
    torch.testing.assert_close(slope, torch.full_like(q, -1 / 4).detach())
    loss = continuous.soft_policy_loss(q, log_prob, alpha)
    expected = [
        sum(alpha[k].item() * log_prob[k, b].item() - q[k, b].item() for b in range(4)) / 4
        for k in range(2)
    ]
    torch.testing.assert_close(loss.detach(), torch.tensor(expected).double())
    by_q, by_p = torch.autograd.grad(loss.sum(), (q, log_prob))
    torch.testing.assert_close(by_q, torch.full_like(by_q, -1 / 4))
    torch.testing.assert_close(by_p, (alpha / 4).unsqueeze(1).expand(2, 4))


def test_soft_value_subtracts_each_seeds_own_entropy_price() -> None:
    q, log_prob, alpha = draw(2, 4), draw(2, 4, purpose="p"), torch.tensor([0.2, 3.0]).double()
    v = continuous.soft_value(q, log_prob, alpha)
    for k in range(2):
        torch.testing.assert_close(v[k], q[k] - alpha[k] * log_prob[k])


@pytest.mark.parametrize(("entropy", "sign"), [(5.0, 1), (-5.0, -1)])
def test_the_temperature_falls_while_there_is_entropy_to_spare(entropy: float, sign: int) -> None:
    alpha = torch.tensor([0.3, 2.0]).double().requires_grad_()
    log_prob = torch.full((2, 7), -entropy).double()
    loss = continuous.temperature_loss(alpha, log_prob, -1.0)
    (slope,) = torch.autograd.grad(loss.sum(), alpha)
    torch.testing.assert_close(slope, torch.full((2,), entropy + 1.0).double())
    assert (slope.sign() == sign).all()


def test_normal_log_prob_is_the_density() -> None:
    mean, log_std, noise = draw(50), draw(50, purpose="s"), draw(50, purpose="n")
    x = mean + log_std.exp() * noise
    expected = []
    for v, m, s in zip(x.tolist(), mean.tolist(), log_std.tolist(), strict=True):
        std = math.exp(s)
        density = math.exp(-0.5 * ((v - m) / std) ** 2) / (std * math.sqrt(2 * math.pi))
        expected.append(math.log(density))
    ours = continuous.normal_log_prob(noise, log_std)
    torch.testing.assert_close(ours, torch.tensor(expected).double())


def test_log_tanh_slope_is_exact_where_the_difference_itself_is_not() -> None:
    x = torch.linspace(-6, 6, 1201, dtype=torch.float64)
    torch.testing.assert_close(
        continuous.log_tanh_slope(x), (1 - x.tanh() ** 2).log(), atol=1e-9, rtol=1e-9
    )
    far = torch.tensor([-50.0, -15.0, 15.0, 50.0])
    assert (1 - far.tanh() ** 2).log().isinf().all()  # what it stands in for
    exact = 2 * math.log(2) - 2 * far.abs().double()  # log(1 - tanh^2) = log 4 - 2 |x| + O(e^-2|x|)
    torch.testing.assert_close(continuous.log_tanh_slope(far).double(), exact, atol=1e-5, rtol=1e-6)
    far.requires_grad_()
    (slope,) = torch.autograd.grad(continuous.log_tanh_slope(far).sum(), far)
    torch.testing.assert_close(slope, -2 * far.detach().tanh())
