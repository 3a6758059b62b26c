"""Stacked layers: K networks of one shape as one module, each seed's result as if it were alone.

Every parameter leads with K. A matrix product of torch whose width or batch is 1 takes another
kernel, whose last bit depends on K, so such a dimension is padded to 2; acting on a single row a
seed is left to numpy. Convolutions loop over the seeds: on a CPU that is faster than a grouped
convolution, and bit-equal.
"""

import math
from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .rng import Member, RandomStream, generator

_FEW = 8  # rows up to which two thin products are cheaper than one set of noisy weights

Init = Callable[[Sequence[int]], Tensor]  # shape per seed -> uniform draws in [-1, 1), [K, *shape]


class Mode(Enum):
    """What a network is asked for; noisy layers, batch norm and dropout answer each differently."""

    LEARN = auto()  # noise, the batch's statistics, dropout
    SAMPLE = auto()  # noise, running statistics, no dropout
    MEAN = auto()  # mean weights, running statistics, no dropout


class InitStream:
    """Uniform draws in [-1, 1) for initial parameters, one stream per seed."""

    def __init__(self, seeds: Sequence[Member], purpose: str = "init") -> None:
        self._generators = [generator(seed, purpose) for seed in seeds]

    def __call__(self, shape: Sequence[int]) -> Tensor:
        """Return the next draws, ``[K, *shape]``."""
        draws = [g.random(tuple(shape), dtype=np.float32) for g in self._generators]
        return torch.from_numpy(np.stack(draws)).mul_(2).sub_(1)

    def orthogonal(self, rows: int, columns: int) -> Tensor:
        """Return matrices ``[K, rows, columns]`` with orthonormal rows or columns.

        Saxe et al. 2014; uniform over such matrices: the signs of QR's diagonal are taken out.
        """
        out = np.empty((len(self._generators), rows, columns), np.float32)
        for k, g in enumerate(self._generators):
            tall = g.standard_normal((max(rows, columns), min(rows, columns)))
            q, r = np.linalg.qr(tall)
            q = q * np.sign(np.diag(r))
            out[k] = q if rows >= columns else q.T
        return torch.from_numpy(out)


def _pad(x: Tensor, dim: int) -> Tensor:
    """Append zeros along a dimension of width 1, so that it is 2 wide."""
    return torch.cat([x, torch.zeros_like(x)], dim)


def _array(x: Tensor) -> np.ndarray:
    """Return a tensor of the host as an array, without a copy."""
    array: np.ndarray = x.detach().numpy()
    return array


def _product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    across = weight.transpose(1, 2)
    return torch.bmm(x, across) if bias is None else torch.baddbmm(bias, x, across)


class _Affine(torch.autograd.Function):
    """``x [K, B, in]``, ``weight [K, out, in]``, ``bias [K, 1, out]`` or None -> ``[K, B, out]``.

    Autograd's own backward computes the weights' gradient as ``[in, out]``, which is ten times as
    slow where the output is narrow, and has to be transposed into place.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.biased = bias is not None
        return _product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        x, weight = ctx.saved_tensors
        by_x = torch.bmm(grad, weight) if ctx.needs_input_grad[0] else None
        if not ctx.needs_input_grad[1]:  # frozen: only what stands before it learns
            return by_x, None, None
        if weight.shape[1] > weight.shape[2]:  # the wider side goes last: a matter of speed
            by_weight = torch.bmm(x.transpose(1, 2), grad).transpose(1, 2)
        else:
            by_weight = torch.bmm(grad.transpose(1, 2), x)
        return by_x, by_weight, grad.sum(1, keepdim=True) if ctx.biased else None


class Linear(nn.Module):
    """K affine maps, ``[K, B, in] -> [K, B, out]``.

    ``weight [K, out, in]`` and ``bias [K, 1, out]`` are drawn from U(-1/sqrt(in), 1/sqrt(in)). The
    weights lie transposed, as torch's do: a narrow output is then four times as fast. Without
    ``biased`` the maps are linear.
    """

    bias: nn.Parameter | None

    def __init__(self, init: Init, n_in: int, n_out: int, biased: bool = True) -> None:
        super().__init__()
        self.n_in, self.n_out = n_in, n_out
        bound = 1 / math.sqrt(n_in)
        self.weight = nn.Parameter(init((max(n_out, 2), max(n_in, 2))) * bound)
        self.bias = nn.Parameter(init((1, max(n_out, 2))) * bound) if biased else None
        self._mean = self.weight, self.bias  # a plain attribute: acting spares the module's look-up

    @torch.no_grad()
    def orthogonal(self, init: InitStream, gain: float) -> None:
        """Start over from orthogonal weights times ``gain``, and biases of zero."""
        self.weight.zero_()
        self.weight[:, : self.n_out, : self.n_in] = init.orthogonal(self.n_out, self.n_in) * gain
        if self.bias is not None:
            self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return self._affine(x, *self._mean)

    def _affine(self, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        batch, learning = x.shape[1], torch.is_grad_enabled()
        if self.n_in == 1:
            x = _pad(x, 2)
        if batch == 1 and x.is_cpu and not learning:
            product = np.matmul(_array(x), _array(weight).mT)
            y = torch.from_numpy(product if bias is None else product + _array(bias))
        else:
            if batch == 1:
                x = x.expand(-1, 2, -1)
            affine = _Affine.apply if learning else _product
            y = affine(x, weight, bias)
        return y if self.n_out > 1 and y.shape[1] == batch else y[:, :batch, : self.n_out]


def _signed_root(x: np.ndarray) -> np.ndarray:
    root: np.ndarray = np.sign(x) * np.sqrt(np.abs(x))
    return root


class NoisyLinear(Linear):
    """Affine maps with factorised Gaussian noise on weights and biases.

    Fortunato et al. 2018, equations 9 to 11:
    ``w = mu + sigma * f(e_in) f(e_out)^T`` with ``f(x) = sign(x) sqrt(|x|)``; mu is drawn from
    U(-1/sqrt(in), 1/sqrt(in)), sigma begins at ``sigma0 / sqrt(in)``. ``resample`` draws new noise.
    """

    def __init__(
        self,
        init: Init,
        n_in: int,
        n_out: int,
        seeds: Sequence[Member],
        purpose: str,
        sigma0: float,
    ) -> None:
        super().__init__(init, n_in, n_out)
        assert self.bias is not None
        sigma = sigma0 / math.sqrt(n_in)
        self.weight_sigma = nn.Parameter(torch.full_like(self.weight, sigma))
        self.bias_sigma = nn.Parameter(torch.full_like(self.bias, sigma))
        self._sigma = self.weight_sigma, self.bias_sigma
        self._n_in = self.weight.shape[2]
        widths = self._n_in + self.weight.shape[1]
        self.draws = RandomStream(
            seeds, purpose, (1, widths), "normal", self.weight.device, _signed_root
        )
        self.noise = torch.zeros(len(seeds), 1, widths)

    def resample(self) -> None:
        """Draw new noise for every seed."""
        self.noise = self.draws().to(self.weight.device)

    def forward(self, x: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Apply the layer."""
        if mode is Mode.MEAN:
            return self._affine(x, *self._mean)
        (mean, bias_mean), (sigma, bias_sigma) = self._mean, self._sigma
        assert bias_mean is not None
        e_in, e_out = self.noise[..., : self._n_in], self.noise[..., self._n_in :]
        bias = torch.addcmul(bias_mean, bias_sigma, e_out)
        if x.shape[1] <= _FEW:  # x (mu + sigma e_in e_out) without forming the weights
            scaled = x * e_in[..., : x.shape[2]]
            noise = self._affine(scaled, sigma, torch.zeros_like(bias)) * e_out[..., : self.n_out]
            return self._affine(x, mean, bias) + noise
        weight = torch.addcmul(mean, sigma, e_out.transpose(1, 2) * e_in)
        return self._affine(x, weight, bias)


class Conv2d(nn.Module):
    """K convolutions without padding, ``[K, B, C, H, W] -> [K, B, out, H', W']``."""

    def __init__(self, init: Init, n_in: int, n_out: int, kernel: int, stride: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(n_in * kernel * kernel)
        self.weight = nn.Parameter(init((n_out, n_in, kernel, kernel)) * bound)
        self.bias = nn.Parameter(init((n_out,)) * bound)
        self.stride = stride

    @torch.no_grad()
    def orthogonal(self, init: InitStream, gain: float) -> None:
        """Start over from orthogonal weights times ``gain``, and biases of zero."""
        flat = init.orthogonal(self.weight.shape[1], self.weight[0, 0].numel())
        self.weight.copy_(flat.view_as(self.weight) * gain)
        self.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        seeds = zip(x.unbind(0), self.weight.unbind(0), self.bias.unbind(0), strict=True)
        return torch.stack([F.conv2d(xk, w, b, self.stride) for xk, w, b in seeds])


class LayerNorm(nn.Module):
    """Layer normalisation over features (Ba et al. 2016), ``[K, B, H] -> [K, B, H]``."""

    def __init__(self, k: int, width: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(k, 1, width))
        self.shift = nn.Parameter(torch.zeros(k, 1, width))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer."""
        return torch.addcmul(self.shift, F.layer_norm(x, x.shape[-1:]), self.scale)


class BatchNorm(nn.Module):
    """Batch normalisation per seed (Ioffe and Szegedy 2015), ``[K, B, H] -> [K, B, H]``.

    Learning uses the batch's statistics and updates the running ones; acting uses the running ones.
    """

    mean: Tensor
    var: Tensor

    def __init__(self, k: int, width: int, momentum: float = 0.1, eps: float = 1e-5) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(k, 1, width))
        self.shift = nn.Parameter(torch.zeros(k, 1, width))
        self.momentum, self.eps = momentum, eps
        self.register_buffer("mean", torch.zeros(k, 1, width))
        self.register_buffer("var", torch.ones(k, 1, width))

    def forward(self, x: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Apply the layer."""
        if mode is Mode.LEARN:
            # One reduction per seed: over all seeds at once its order would depend on K.
            pairs = [torch.var_mean(xk, 0, correction=0) for xk in x.unbind(0)]
            var = torch.stack([v for v, _ in pairs]).unsqueeze(1)
            mean = torch.stack([m for _, m in pairs]).unsqueeze(1)
            with torch.no_grad():
                self.mean.lerp_(mean, self.momentum)
                # Algorithm 2 of the paper: inference takes the unbiased estimate.
                unbiased = var * (x.shape[1] / max(x.shape[1] - 1, 1))
                self.var.lerp_(unbiased, self.momentum)
        else:
            mean, var = self.mean, self.var
        return (x - mean) * (var + self.eps).rsqrt() * self.scale + self.shift


class Dropout(nn.Module):
    """Dropout (Srivastava et al. 2014) whose masks come from each seed's stream; learning only."""

    def __init__(
        self, p: float, seeds: Sequence[Member], purpose: str, shape: Sequence[int]
    ) -> None:
        super().__init__()
        self.p = p
        self.draws = RandomStream(seeds, purpose, shape)

    def forward(self, x: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Apply the layer."""
        if mode is not Mode.LEARN:
            return x
        keep = self.draws().to(x.device) >= self.p
        return x * keep / (1 - self.p)


_MODAL = (NoisyLinear, BatchNorm, Dropout)


def innermost(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return a module's innermost layers in order; a plain tuple spares calls and look-ups."""
    inner = (nn.Sequential, nn.ModuleList)
    if not isinstance(module, inner):
        return (module,)
    return tuple(layer for child in module for layer in innermost(child))


def through(layers: tuple[nn.Module, ...], x: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
    """Apply layers one after another."""
    for layer in layers:
        x = layer.forward(x, mode) if isinstance(layer, _MODAL) else layer.forward(x)
    return x


def streams_of(net: nn.Module) -> dict[str, RandomStream]:
    """Return the random streams of a network's layers by purpose; they belong to its state."""
    layers = [layer for layer in net.modules() if isinstance(layer, NoisyLinear | Dropout)]
    return {layer.draws.purpose: layer.draws for layer in layers}


def per_seed(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply an elementwise function to each seed's ``[K, ...]`` slice in a call of its own.

    A transcendental function differs in its last bit between a vector loop and its tail, and where
    the tail lies depends on the whole size; on one seed's slice it does not depend on K.
    """
    return torch.stack([function(xk) for xk in x.unbind(0)])
