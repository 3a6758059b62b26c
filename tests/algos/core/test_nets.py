"""Stacked layers against torch's own with the same weights, one network at a time."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prism.algos.core import nets
from prism.algos.core.heads import NetShape, QNetwork
from prism.algos.core.nets import Mode
from prism.algos.core.torso import NORMS, Around, Hidden, Torso
from tests.helpers import SEEDS

K = len(SEEDS)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def affine(layer: nets.Linear, k: int) -> tuple[Tensor, Tensor]:
    """Return one network's weight ``[out, in]`` and bias ``[out]``, without what pads them."""
    bias = torch.zeros(layer.n_out) if layer.bias is None else layer.bias[k, 0, : layer.n_out]
    return layer.weight[k, : layer.n_out, : layer.n_in], bias


def shape(**changes: Any) -> NetShape:
    values: dict[str, Any] = {"obs": (4,), "actions": 3, "atoms": 5, "hidden": (8, 6), "conv": ()}
    values |= {"dueling": False, "noisy": False, "sigma0": 0.5, "norm": "none", "dropout": 0.0}
    return NetShape(**(values | {"batch": 7, "obs_scale": 1.0} | changes))


def network(name: str = "online", **changes: Any) -> QNetwork:
    return QNetwork(shape(**changes), SEEDS, name)


@pytest.mark.parametrize("batch", [1, 2, 7])
@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (1, 5), (6, 1), (6, 4)])
def test_linear(n_in: int, n_out: int, batch: int) -> None:
    layer = nets.Linear(nets.InitStream(SEEDS), n_in, n_out)
    x = noise(K, batch, n_in)
    y = layer(x)
    assert y.shape == (K, batch, n_out)
    for k in range(K):
        alone = nn.Linear(n_in, n_out)
        alone.weight.data, alone.bias.data = affine(layer, k)
        torch.testing.assert_close(y[k], alone(x[k]))
    # what pads a width of one takes no part in learning
    grads = torch.autograd.grad(y.square().sum(), layer.parameters())
    assert not grads[0][:, n_out:].any() and not grads[0][:, :, n_in:].any()
    assert grads[0][:, :n_out, :n_in].all() and grads[1][:, :, :n_out].all()


@pytest.mark.parametrize("batch", [1, 7])
def test_linear_without_bias(batch: int) -> None:
    layer, x = nets.Linear(nets.InitStream(SEEDS), 6, 4, biased=False), noise(K, batch, 6)
    y = layer(x)
    torch.testing.assert_close(y, x @ layer.weight.mT)
    with torch.no_grad():
        torch.testing.assert_close(layer(x), x @ layer.weight.mT)
    (ours,) = torch.autograd.grad(y.square().sum(), layer.parameters())
    (theirs,) = torch.autograd.grad((x @ layer.weight.mT).square().sum(), layer.parameters())
    torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("norm", NORMS)
def test_a_bias_before_batch_norm_is_left_out(norm: str) -> None:
    """What it adds, the batch's mean takes away."""
    layer = Hidden(nets.InitStream(SEEDS), SEEDS, "", Around(norm))(4, 6)
    x = noise(K, 7, 4)
    moved = x @ layer[0].weight.mT + 3.0
    through = torch.nn.functional.batch_norm(moved[0], None, None, training=True).relu()
    assert (layer[0].bias is None) == (norm == "batch")
    if norm == "batch":
        torch.testing.assert_close(layer[2](layer[1](layer[0](x), Mode.LEARN))[0], through)


def test_linear_starts_uniform_within_its_bound() -> None:
    layer = nets.Linear(nets.InitStream(SEEDS), 100, 300)
    for parameter in layer.parameters():
        values = parameter.detach() * 10  # in U(-1, 1)
        assert values.abs().max() <= 1 and values.abs().max() > 0.99
        assert abs(float(values.mean())) < 0.06 and float(values.var()) == pytest.approx(
            1 / 3, abs=0.03
        )
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(layer.weight[a], layer.weight[b])


@pytest.mark.parametrize(("kernel", "stride"), [(3, 1), (4, 2)])
def test_convolution(kernel: int, stride: int) -> None:
    layer = nets.Conv2d(nets.InitStream(SEEDS), 4, 6, kernel, stride)
    x = noise(K, 5, 4, 10, 10)
    y = layer(x)
    for k in range(K):
        alone = nn.Conv2d(4, 6, kernel, stride)
        alone.weight.data, alone.bias.data = layer.weight[k], layer.bias[k]
        torch.testing.assert_close(y[k], alone(x[k]))


def test_layer_norm() -> None:
    layer, x = nets.LayerNorm(K, 9), noise(K, 5, 9) * 3 + 1
    layer.scale.data, layer.shift.data = noise(K, 1, 9, seed=1), noise(K, 1, 9, seed=2)
    y = layer(x)
    for k in range(K):
        alone = nn.LayerNorm(9)
        alone.weight.data, alone.bias.data = layer.scale[k, 0], layer.shift[k, 0]
        torch.testing.assert_close(y[k], alone(x[k]))


def test_batch_norm_while_learning_and_while_acting() -> None:
    layer = nets.BatchNorm(K, 9)
    layer.scale.data, layer.shift.data = noise(K, 1, 9, seed=1), noise(K, 1, 9, seed=2)
    alone = [nn.BatchNorm1d(9) for _ in SEEDS]
    for k, norm in enumerate(alone):
        norm.weight.data, norm.bias.data = layer.scale[k, 0], layer.shift[k, 0]
    for i in range(20):
        x = noise(K, 5, 9, seed=i) * 3 + 1
        y = layer(x, Mode.LEARN)
        for k, norm in enumerate(alone):
            torch.testing.assert_close(y[k], norm(x[k]))
    before = layer.mean.clone(), layer.var.clone()
    y = layer(x)
    for k, norm in enumerate(alone):
        torch.testing.assert_close(layer.var[k, 0], norm.running_var)
        torch.testing.assert_close(y[k], norm.eval()(x[k]))
    assert torch.equal(layer.mean, before[0]) and torch.equal(layer.var, before[1])


def test_dropout_keeps_the_mean_and_is_off_while_acting() -> None:
    layer, x = nets.Dropout(0.3, SEEDS, "dropout", (64, 50)), torch.ones(K, 64, 50)
    out = torch.stack([layer(x, Mode.LEARN) for _ in range(20)])
    assert torch.unique(out).tolist() == pytest.approx([0, 1 / 0.7])
    assert float((out > 0).float().mean()) == pytest.approx(0.7, abs=0.01)
    assert not torch.equal(out[0], out[1]) and not torch.equal(out[0, 0], out[0, 1])
    assert layer(x) is x


@pytest.mark.parametrize("batch", [1, 3, 40])
@pytest.mark.parametrize(("n_in", "n_out"), [(1, 1), (5, 4)])
def test_noisy_weights_are_mean_plus_factorised_noise(n_in: int, n_out: int, batch: int) -> None:
    layer = nets.NoisyLinear(nets.InitStream(SEEDS), n_in, n_out, SEEDS, "noise", 0.5)
    for sigma in (layer.weight_sigma, layer.bias_sigma):
        sigma.data = noise(*sigma.shape).abs()
    layer.resample()
    x = noise(K, batch, n_in)
    y = layer(x)
    for k in range(K):
        e_in, e_out = layer.noise[k, 0].split([max(n_in, 2), max(n_out, 2)])
        e_in, e_out = e_in[:n_in], e_out[:n_out]
        mean, bias = affine(layer, k)
        sigma, bias_sigma = layer.weight_sigma[k, :n_out, :n_in], layer.bias_sigma[k, 0, :n_out]
        weight = mean + sigma * torch.outer(e_out, e_in)
        torch.testing.assert_close(y[k], x[k] @ weight.T + bias + bias_sigma * e_out)
        assert not torch.allclose(y[k], x[k] @ mean.T + bias)
    for k in range(K):
        weight, bias = affine(layer, k)
        torch.testing.assert_close(layer(x, Mode.MEAN)[k], x[k] @ weight.T + bias)


def test_noise_has_the_papers_moments_and_start() -> None:
    layer = nets.NoisyLinear(nets.InitStream(SEEDS), 16, 8, SEEDS, "noise", 0.5)
    assert (layer.weight_sigma == 0.5 / 4).all() and (layer.bias_sigma == 0.5 / 4).all()
    noises = []
    for _ in range(2000):
        layer.resample()
        noises.append(layer.noise[:, 0].clone())
    e = torch.stack(noises)  # f(x) = sign(x) sqrt(|x|): mean 0, variance E|x| = sqrt(2 / pi)
    assert abs(float(e.mean())) < 0.01
    assert float(e.var()) == pytest.approx((2 / np.pi) ** 0.5, abs=0.01)
    assert float(e.pow(4).mean()) == pytest.approx(1, abs=0.02)  # E x^2
    product = e[:, :, :16].unsqueeze(3) * e[:, :, 16:].unsqueeze(2)  # of one weight: variance 2/pi
    assert float(product.var()) == pytest.approx(2 / np.pi, abs=0.02)
    assert abs(float((e[1:] * e[:-1]).mean())) < 0.01  # fresh at every draw


def test_every_noisy_layer_has_a_stream_of_its_own() -> None:
    # equal widths: the hidden layer of the value stream has the shape of its output layer
    net = network(noisy=True, dueling=True, hidden=(6, 6), atoms=6, actions=1)
    assert len(nets.streams_of(net)) == 4
    net.resample()
    noises = [m.noise for m in net.modules() if isinstance(m, nets.NoisyLinear)]
    assert len(noises) == 4
    for i, a in enumerate(noises):
        assert not any(torch.equal(a, b) for b in noises[i + 1 :])
    other = network("target", noisy=True, dueling=True, hidden=(6, 6), atoms=6, actions=1)
    assert nets.streams_of(net).keys().isdisjoint(nets.streams_of(other))


@pytest.mark.parametrize("norm", ["none", "layer", "batch"])
@pytest.mark.parametrize("hidden", [(), (8,), (8, 6)])
def test_plain_network_is_torchs_sequence(hidden: tuple[int, ...], norm: str) -> None:
    net, x = network(hidden=hidden, norm=norm), noise(K, 7, 4)
    y = net(x, Mode.LEARN)
    assert y.shape == (K, 7, 3, 5)
    linears = [m for m in net.modules() if isinstance(m, nets.Linear)]
    for k in range(K):
        h = x[k]
        for i, layer in enumerate(linears):
            h = nn.functional.linear(h, *affine(layer, k))
            if i == len(linears) - 1:
                break
            if norm == "layer":
                h = nn.functional.layer_norm(h, h.shape[-1:])
            elif norm == "batch":
                h = nn.functional.batch_norm(h, None, None, training=True)
            h = h.relu()
        torch.testing.assert_close(y[k], h.unflatten(1, (3, 5)))


def test_image_network_is_torchs_sequence() -> None:
    frames = {"obs": (4, 10, 10), "conv": ((6, 3, 1), (5, 4, 2)), "obs_scale": 255.0}
    net = network(hidden=(8,), **frames)
    x = torch.randint(0, 256, (K, 5, 4, 10, 10), dtype=torch.uint8, generator=torch.Generator())
    first, second = net.torso.convs
    hidden, last = (m for m in net.modules() if isinstance(m, nets.Linear))
    for k in range(K):
        h = nn.functional.conv2d(x[k] / 255.0, first.weight[k], first.bias[k]).relu()
        h = nn.functional.conv2d(h, second.weight[k], second.bias[k], stride=2).relu().flatten(1)
        h = nn.functional.linear(h, *affine(hidden, k)).relu()
        h = nn.functional.linear(h, *affine(last, k))
        torch.testing.assert_close(net(x)[k], h.unflatten(1, (3, 5)))


def test_dueling_mean_over_actions_is_the_value_stream() -> None:
    net, x = network(dueling=True), noise(K, 7, 4)
    h = net.torso.layers[0](x)
    value, advantage = net.value(h), net.advantage(h).unflatten(2, (3, 5))
    y = net(x)
    torch.testing.assert_close(y.mean(2), value)
    torch.testing.assert_close(
        y - y.mean(2, keepdim=True), advantage - advantage.mean(2, keepdim=True)
    )
    assert (y.std(2) > 1e-3).any()


def test_noise_and_dropout_only_where_they_belong() -> None:
    net, x = network(noisy=True), noise(K, 7, 4)
    assert not isinstance(net.torso.layers[0][0], nets.NoisyLinear)  # the head alone is noisy
    greedy = net(x, Mode.MEAN)
    net.resample()
    assert torch.equal(net(x, Mode.MEAN), greedy)
    loud = net(x)
    net.resample()
    assert not torch.equal(loud, greedy) and not torch.equal(net(x), loud)
    net = network(dropout=0.5)
    assert torch.equal(net(x), net(x))
    assert not torch.equal(net(x, Mode.LEARN), net(x, Mode.LEARN))
    assert torch.equal(net(x), net(x))


@pytest.mark.parametrize("batch", [1, 7])
def test_torso_is_torchs_sequence(batch: int) -> None:
    init = nets.InitStream(SEEDS)
    torso = Torso(init, (4,), (8, 6), layer=Hidden(init, SEEDS, "", activation="tanh"))
    x = noise(K, batch, 4)
    y = torso(x)
    assert torso.width == 6 and y.shape == (K, batch, 6)
    for k in range(K):
        h = x[k]
        for layer in torso.layers:
            h = nn.functional.linear(h, *affine(layer[0], k)).tanh()
        torch.testing.assert_close(y[k], h)
