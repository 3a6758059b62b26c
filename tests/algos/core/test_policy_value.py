"""Policy and critic side by side are what two networks of torch would be."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prism.algos.core import nets
from prism.algos.core.optim import FlatParams
from prism.algos.core.policy_value import PolicyShape, PolicyValue
from tests.helpers import SEEDS

K = len(SEEDS)


def shape(**changes: Any) -> PolicyShape:
    values: dict[str, Any] = {"obs": (4,), "outputs": 3, "values": 1, "free_std": 0}
    values |= {"hidden": (8, 6), "conv": (), "activation": "tanh", "obs_scale": 1.0}
    return PolicyShape(**(values | {"shared": False, "orthogonal": True, "log_std": 0.0} | changes))


def noise(*size: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=size).astype(np.float32))


def by_torch(net: PolicyValue, row: int, x: Tensor, width: int) -> Tensor:
    """Return the output ``[B, width]`` of one of the stacked networks."""
    for layer in net.net.torso.layers:
        weight, bias = layer[0].weight[row], layer[0].bias[row, 0]
        x = nn.functional.linear(x, weight, bias).tanh()
    head = net.net.head
    return nn.functional.linear(x, head.weight[row], head.bias[row, 0])[:, :width]


@pytest.mark.parametrize("batch", [1, 7])
@pytest.mark.parametrize(("outputs", "values"), [(3, 1), (3, 3), (1, 1)])
def test_two_networks_of_a_seed(batch: int, outputs: int, values: int) -> None:
    net = PolicyValue(shape(outputs=outputs, values=values), SEEDS)
    params, x = FlatParams(net.parameters()), noise(K, batch, 4)
    params.data.add_(0.1 * noise(*params.data.shape))  # in place: the views must follow
    net.tie()
    out, v = net(x)
    for k in range(K):
        torch.testing.assert_close(out[k], by_torch(net, 2 * k, x[k], outputs))
        torch.testing.assert_close(v[k], by_torch(net, 2 * k + 1, x[k], values))
    torch.testing.assert_close(net.policy(x), out)
    torch.testing.assert_close(net.values(x), v)
    params.data.zero_()
    assert not net.policy(x).any() and not net.values(x).any()


def test_one_torso_with_two_heads() -> None:
    net, x = PolicyValue(shape(shared=True), SEEDS), noise(K, 7, 4)
    out, v = net(x)
    for k in range(K):
        torch.testing.assert_close(torch.cat([out, v], -1)[k], by_torch(net, k, x[k], 4))
    assert torch.equal(net.policy(x), out) and torch.equal(net.values(x), v)
    assert PolicyValue(shape(values=0), SEEDS)(x)[1].shape == (K, 7, 0)


def test_only_its_own_loss_moves_a_network() -> None:
    net, x = PolicyValue(shape(), SEEDS), noise(K, 7, 4)
    for index, mine in ((0, slice(0, None, 2)), (1, slice(1, None, 2))):
        grads = torch.autograd.grad(net(x)[index].square().sum(), list(net.parameters()))
        for grad in grads:
            assert grad[mine].any()
            rest = grad.clone()
            rest[mine] = 0
            assert not rest.any()


@pytest.mark.parametrize("shared", [False, True])
def test_it_starts_orthogonal_with_its_gains(shared: bool) -> None:
    net = PolicyValue(shape(shared=shared, hidden=(16, 32)), SEEDS)
    for layer in net.net.torso.modules():
        if isinstance(layer, nets.Linear):
            assert not layer.bias.any()
            for w in layer.weight.detach():
                small = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
                torch.testing.assert_close(small, 2 * torch.eye(len(small)), atol=1e-5, rtol=0)
    head = net.net.head.weight.detach()
    policy = head[:, :3] if shared else head[0::2, :3]
    critic = head[:, 3:4] if shared else head[1::2, :1]
    for rows, gain in ((policy, 0.01), (critic, 1.0)):
        for w in rows:
            expected = gain**2 * torch.eye(len(w))
            torch.testing.assert_close(w @ w.T, expected, atol=1e-5 * gain**2, rtol=1e-4)
    if not shared:
        assert not head[1::2, 1:].any()
    rows = net.net.torso.layers[0][0].weight
    assert all(not torch.equal(rows[a], rows[b]) for a in range(len(rows)) for b in range(a))


def test_a_convolution_starts_orthogonal_too() -> None:
    layer = nets.Conv2d(nets.InitStream(SEEDS), 4, 6, 3, 1)
    layer.orthogonal(nets.InitStream(SEEDS), math.sqrt(2))
    for w in layer.weight.detach().flatten(2):
        torch.testing.assert_close(w @ w.T, 2 * torch.eye(6), atol=1e-5, rtol=0)


def test_free_deviations_belong_to_the_policy() -> None:
    net = PolicyValue(shape(free_std=3, log_std=-0.5), SEEDS)
    assert net.log_std is not None and net.log_std.shape == (K, 1, 3)
    assert (net.log_std == -0.5).all()
    assert PolicyValue(shape(), SEEDS).log_std is None
