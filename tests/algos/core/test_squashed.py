"""The unit box, and the squashed Gaussian against brute force in float64."""

import math

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.rng import RandomStream, generator
from prism.algos.core.squashed import UnitBox, squash, squashed_gaussian

BOX = spaces.Box(np.float32([-2.0, 0.0, -0.4]), np.float32([2.0, 1.0, 0.1]))


def parameters(k: int = 3, b: int = 40, a: int = 2) -> tuple[Tensor, Tensor, Tensor]:
    names = ("mean", "log_std", "noise")
    return tuple(RandomStream(range(k), n, (b, a), "normal")().clone() for n in names)  # type: ignore


def test_the_unit_box_maps_corners_to_corners_and_back() -> None:
    box = UnitBox(BOX, torch.device("cpu"))
    assert box.width == 3
    corners = torch.tensor([[-1.0, -1.0, -1.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    middle = (BOX.low + BOX.high) / 2
    expected = torch.from_numpy(np.stack([BOX.low, BOX.high, middle]))
    torch.testing.assert_close(box.to_env(corners), expected)
    unit = torch.from_numpy(generator(0, "u").uniform(-1, 1, (500, 3)).astype(np.float32))
    torch.testing.assert_close(box.from_env(box.to_env(unit)), unit)
    assert box.from_env(expected).abs().max() <= 1  # rounding leaves nobody outside


def test_a_side_of_the_box_with_one_point_is_zero_in_the_unit_box() -> None:
    space = spaces.Box(np.float32([-2, 0.5]), np.float32([2, 0.5]))
    box = UnitBox(space, torch.device("cpu"))
    action = box.to_env(torch.tensor([[0.5, -1.0], [-1.0, 0.3]]))
    assert action.tolist() == [[1.0, 0.5], [-2.0, 0.5]]
    assert box.from_env(action).tolist() == [[0.5, 0.0], [-1.0, 0.0]]


def test_log_probability_is_the_density_of_the_squashed_action() -> None:
    """Against the change of variables, written out number by number."""
    mean, log_std, noise = parameters()
    action, log_prob = squashed_gaussian(mean, log_std, noise)
    m, s, n = (x.double() for x in (mean, log_std, noise))
    x = m + s.exp() * n
    torch.testing.assert_close(action.double(), x.tanh(), atol=1e-6, rtol=1e-5)
    expected = torch.zeros(3, 40, dtype=torch.float64)
    for k in range(3):
        for b in range(40):
            for a in range(2):
                u, std = x[k, b, a].item(), math.exp(s[k, b, a].item())
                z = (u - m[k, b, a].item()) / std
                density = math.exp(-0.5 * z * z) / (std * math.sqrt(2 * math.pi))
                expected[k, b] += math.log(density) - math.log(1 / math.cosh(u) ** 2)
    torch.testing.assert_close(log_prob.double(), expected, atol=1e-4, rtol=1e-5)


def test_the_density_integrates_to_one() -> None:
    mean, log_std = torch.tensor(0.7).double(), torch.tensor(-0.3).double()
    x = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    noise = ((x - mean) / log_std.exp()).view(1, -1, 1)
    wide = (mean.expand_as(noise), log_std.expand_as(noise), noise)
    action, log_prob = squashed_gaussian(*wide)
    total = torch.trapezoid(log_prob[0].exp(), action[0, :, 0])
    assert abs(total.item() - 1) < 1e-6


def test_gradients_are_those_of_autograd_through_the_plain_formula() -> None:
    ours = [x.requires_grad_() for x in parameters()]
    theirs = [x.detach().double().requires_grad_() for x in ours]
    action, log_prob = squashed_gaussian(*ours)
    x = theirs[0] + theirs[1].exp() * theirs[2]
    normal = torch.distributions.Normal(theirs[0], theirs[1].exp())
    plain = (normal.log_prob(x) - (1 - x.tanh() ** 2).log()).sum(-1)
    weight = parameters()[0]
    got = torch.autograd.grad((log_prob.sum() + (weight * action).sum()), ours[:2])
    loss = plain.sum() + (weight.double() * x.tanh()).sum()
    for a, b in zip(got, torch.autograd.grad(loss, theirs[:2]), strict=True):
        torch.testing.assert_close(a.double(), b, atol=1e-3, rtol=1e-4)


def test_saturated_actions_keep_finite_densities_and_gradients() -> None:
    mean = torch.tensor([-40.0, -9.5, 9.5, 40.0]).view(1, 4, 1).requires_grad_()
    log_std = torch.full_like(mean, -20.0).requires_grad_()
    action, log_prob = squashed_gaussian(mean, log_std, torch.zeros(1, 4, 1))
    assert (action.abs() == 1).all() and log_prob.isfinite().all()
    for slope in torch.autograd.grad(log_prob.sum(), (mean, log_std)):
        assert slope.isfinite().all()
    exact = 20 - 0.5 * math.log(2 * math.pi) - (2 * math.log(2) - 2 * mean.detach().abs())
    torch.testing.assert_close(log_prob, exact[..., 0])


def test_a_seed_is_computed_as_if_alone() -> None:
    for b, a in ((1, 1), (7, 3), (100, 6), (33, 17)):
        inputs = [x.requires_grad_() for x in parameters(3, b, a)]
        alone = [x.detach()[1:2].requires_grad_() for x in inputs]
        together, single = squashed_gaussian(*inputs), squashed_gaussian(*alone)
        slopes = [
            torch.autograd.grad(out[0].sum() + out[1].sum(), x[:2])
            for out, x in ((together, inputs), (single, alone))
        ]
        for both, one in ((together, single), slopes):
            assert all(torch.equal(x[1:2], y) for x, y in zip(both, one, strict=True))
        assert torch.equal(squash(inputs[0])[1:2], squash(alone[0]))
