"""Optimisers over one flat buffer ``[K, D]`` that the parameters of K networks are views of.

A stock optimiser has one step count for all seeds, which is wrong as soon as some skip an update; here ``step`` and ``mask`` are per seed, gradients are clipped per seed, and an update costs
a handful of operations whatever the number of layers. Only products, sums and square roots are used:
they give every seed the same bits whatever K is (``pow`` on short rows does not).
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

KINDS = ("adam", "rmsprop", "sgd")
_ALIGN = 64  # rows start at multiples of this, so that no seed's row lies in a vector loop's tail


class FlatParams:
    """Lays the parameters of K networks into the rows of ``data [K, D]``, as views."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        k = self.parameters[0].shape[0]
        size = sum(p[0].numel() for p in self.parameters)
        width = -(-size // _ALIGN) * _ALIGN
        self.data = torch.zeros(k, width, device=self.parameters[0].device)
        for p, view in zip(self.parameters, self.views(self.data), strict=True):
            view.copy_(p.data)
            p.data = view

    def views(self, flat: Tensor) -> list[Tensor]:
        """Return the parts of ``flat [K, D]`` in the parameters' order and shapes."""
        out, begin = [], 0
        for p in self.parameters:
            end = begin + p[0].numel()
            out.append(flat[:, begin:end].view(p.shape))
            begin = end
        return out


class FlatOptimizer:
    """Adam, centred RMSprop or SGD on ``FlatParams``.

    Adam is Kingma and Ba 2015, algorithm 1. RMSprop is centred as in Mnih et al. 2015, but adds
    ``eps`` behind the square root, as torch does and as MinAtar's published runs did. SGD is plain.

    Args:
        params: what to train.
        kind: "adam", "rmsprop" or "sgd".
        lr: learning rate; may be changed between steps.
        eps: added to the root of the second moment.
        max_norm: bound on each seed's gradient norm, or None.
        betas: Adam's decay rates; ``betas[1]`` is RMSprop's alpha.
    """

    def __init__(
        self,
        params: FlatParams,
        kind: str,
        lr: float,
        eps: float = 1e-8,
        max_norm: float | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"optimizer must be one of {', '.join(KINDS)}, got {kind!r}")
        self.params, self.kind, self.lr, self.eps = params, kind, lr, eps
        self.max_norm, self.betas = max_norm, betas
        self.grad = torch.zeros_like(params.data)
        self._grad_views = params.views(self.grad)
        moments = {"adam": 2, "rmsprop": 2, "sgd": 0}[kind]
        self.moments = [torch.zeros_like(params.data) for _ in range(moments)]
        k = params.data.shape[0]
        # beta**step, kept as a running product per seed
        self.powers = torch.ones(k, 2, device=params.data.device)
        self._decay = torch.tensor(betas, device=params.data.device)

    def backward(self, loss: Tensor) -> None:
        """Compute the gradient of each seed's loss ``[K]``.

        The losses are summed, not averaged: a mean would divide every learning rate by K.
        """
        grads = torch.autograd.grad(loss.sum(), self.params.parameters)
        for view, grad in zip(self._grad_views, grads, strict=True):
            view.copy_(grad)

    def grad_norm(self) -> Tensor:
        """Return each seed's gradient norm ``[K]``."""
        return torch.stack([g.square().sum() for g in self.grad.unbind(0)]).sqrt()

    @torch.no_grad()
    def step(self, mask: Tensor | None = None) -> Tensor:
        """Clip and apply the gradients.

        Args:
            mask: ``[K]`` bool; seeds where it is False keep parameters, moments and step count.

        Returns:
            Gradient norms before clipping, ``[K]``.
        """
        grad = self.grad
        norm = self.grad_norm()
        if self.max_norm is not None:
            grad.mul_((self.max_norm / (norm + 1e-6)).clamp(max=1.0).unsqueeze(1))
        if mask is None:
            self._apply(grad)
            return norm
        kept = [t.clone() for t in (self.params.data, self.powers, *self.moments)]
        self._apply(grad)
        live = mask.unsqueeze(1)
        for now, before in zip((self.params.data, self.powers, *self.moments), kept, strict=True):
            now.copy_(torch.where(live, now, before))
        return norm

    def _apply(self, grad: Tensor) -> None:
        data = self.params.data
        if self.kind == "sgd":
            data.add_(grad, alpha=-self.lr)
            return
        first, second = self.moments
        beta1, beta2 = self.betas
        if self.kind == "adam":
            self.powers.mul_(self._decay)
            first.mul_(beta1).add_(grad, alpha=1 - beta1)
            second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            bias1, bias2 = (1 - self.powers).unbind(1)
            denominator = second.sqrt().mul_(bias2.rsqrt().unsqueeze(1)).add_(self.eps)
            data.addcdiv_(first * (-self.lr / bias1).unsqueeze(1), denominator)
        else:
            first.mul_(beta2).add_(grad, alpha=1 - beta2)
            second.mul_(beta2).addcmul_(grad, grad, value=1 - beta2)
            variance = torch.addcmul(second, first, first, value=-1).clamp_(min=0)
            data.addcdiv_(grad, variance.sqrt_().add_(self.eps), value=-self.lr)

    def state(self) -> dict[str, Tensor]:
        """Return the memory of past gradients; the parameters are not the optimiser's own."""
        return {"powers": self.powers} | {f"moment{i}": m for i, m in enumerate(self.moments)}

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what ``state`` returned."""
        for key, tensor in self.state().items():
            tensor.copy_(state[key])
