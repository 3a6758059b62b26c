"""Optimisers over one flat buffer ``[K, D]`` that the parameters of K networks are views of.

Each seed's row is one parameter to the optimiser (for Adam, torch's own), so every seed has a step
count of its own, a seed can sit out an update, gradients are clipped per seed, and an update costs
the same whatever the number of layers. As long as no seed has sat out, their rows are one parameter
together. Rows are whole vectors of the processor, so that their bits do not depend on it.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

_ALIGN = 64  # rows start at multiples of this, so that all are aligned alike

# What is remembered of past gradients, in the order in which the update takes it.
_MEMORY = {
    "adam": ("exp_avg", "exp_avg_sq"),
    "rmsprop": ("square_avg", "grad_avg"),
    "rmsprop_uncentred": ("square_avg",),
    "sgd": (),
}
KINDS = tuple(_MEMORY)


class FlatParams:
    """Lays the parameters of K networks into the rows of ``data [K, D]``, as views."""

    def __init__(self, parameters: Iterable[nn.Parameter]) -> None:
        self.parameters = list(parameters)
        k = self.parameters[0].shape[0]
        size = sum(p[0].numel() for p in self.parameters)
        width = -(-size // _ALIGN) * _ALIGN
        self.data = self.parameters[0].data.new_zeros(k, width)
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


def centred_rmsprop(
    row: Tensor, grad: Tensor, square: Tensor, mean: Tensor, *, lr: float, alpha: float, eps: float
) -> None:
    """Update a row as torch's centred RMSprop would, but never by NaN.

    Rounding can push the variance estimate below zero, after some 300 equal gradients at an alpha
    of 0.95; torch then takes its root.
    """
    square.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
    mean.lerp_(grad, 1 - alpha)
    variance = square.addcmul(mean, mean, value=-1).clamp_(min=0)
    row.addcdiv_(grad, variance.sqrt_().add_(eps), value=-lr)


class SeedOptimizer:
    """Adam, RMSprop or SGD for K networks at once.

    Adam is Kingma and Ba 2015, algorithm 1. RMSprop is centred as in Mnih et al. 2015, with ``eps``
    behind the square root, as MinAtar's published runs had it; uncentred it is torch's, as for A2C.
    SGD is plain.

    Args:
        params: what to train.
        kind: "adam", "rmsprop" (centred), "rmsprop_uncentred" or "sgd".
        lr: learning rate.
        eps: added to the root of the second moment.
        max_norm: bound on each seed's gradient norm, or None.
        betas: Adam's decay rates.
        members: rows of one seed, which lie side by side; their gradients are clipped as one.
        alpha: RMSprop's decay rate.
    """

    def __init__(
        self,
        params: FlatParams,
        kind: str,
        lr: float,
        eps: float = 1e-8,
        max_norm: float | None = None,
        betas: tuple[float, float] = (0.9, 0.999),
        members: int = 1,
        alpha: float = 0.99,
    ) -> None:
        self.members, self.alpha = members, alpha
        self.params, self.kind, self.lr, self.eps = params, kind, lr, eps
        self.max_norm, self.betas = max_norm, betas
        self.grad = torch.zeros_like(params.data)
        self._grad_views = params.views(self.grad)
        self.memory = {name: torch.zeros_like(params.data) for name in _MEMORY[kind]}
        self._steps = torch.zeros(len(params.data), device=params.data.device)
        self._abreast = True  # all rows have made the same number of steps
        memory = tuple(self.memory.values())
        self._together = [[x] for x in (params.data, self.grad, self._steps[0], *memory)]
        self._apart = [list(x.unbind(0)) for x in (params.data, self.grad, self._steps, *memory)]

    def backward(self, loss: Tensor, accumulate: bool = False) -> None:
        """Compute the gradient of each seed's loss ``[K]``, or add it to what is there.

        The losses are summed, not averaged: a mean would divide every learning rate by K.
        """
        parameters = self.params.parameters
        # a critic's own loss does not reach the policy's free parameters: their gradient is zero
        grads = torch.autograd.grad(loss.sum(), parameters, materialize_grads=True)
        for view, grad in zip(self._grad_views, grads, strict=True):
            view.add_(grad) if accumulate else view.copy_(grad)

    def grad_norm(self) -> Tensor:
        """Return each seed's gradient norm ``[K]``."""
        norm: Tensor = torch.linalg.vector_norm(
            self.grad.view(len(self.grad) // self.members, -1), dim=1
        )
        return norm

    @torch.no_grad()
    def step(self, mask: Tensor | None = None) -> Tensor:
        """Clip and apply the gradients.

        Args:
            mask: ``[K * members]`` bool; rows where it is False keep parameters, moments and
                step count.

        Returns:
            Gradient norms before clipping, ``[K]``.
        """
        norm = self.grad_norm()
        if self.max_norm is not None:
            shrink = (self.max_norm / (norm + 1e-6)).clamp(max=1.0)
            self.grad.view(len(norm), -1).mul_(shrink.unsqueeze(1))
        if mask is None and self._abreast:
            self._apply(*self._together)
            self._steps[1:] = self._steps[0]
        else:
            self._abreast = False
            live = range(len(self.grad)) if mask is None else mask.nonzero()[:, 0].tolist()
            self._apply(*([rows[k] for k in live] for rows in self._apart))
        return norm

    def _apply(
        self, rows: list[Tensor], grads: list[Tensor], steps: list[Tensor], *memory: list[Tensor]
    ) -> None:
        """Update some seeds' rows."""
        if self.kind == "adam":
            first, second = memory
            adam(
                rows,
                grads,
                first,
                second,
                [],
                steps,
                fused=True,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=self.lr,
                weight_decay=0.0,
                eps=self.eps,
                maximize=False,
            )
        elif self.kind == "rmsprop_uncentred":
            for row, grad, square in zip(rows, grads, *memory, strict=True):
                square.mul_(self.alpha).addcmul_(grad, grad, value=1 - self.alpha)
                row.addcdiv_(grad, square.sqrt().add_(self.eps), value=-self.lr)
        elif self.kind == "rmsprop":
            settings = {"lr": self.lr, "alpha": self.alpha, "eps": self.eps}
            for row, grad, square, mean in zip(rows, grads, *memory, strict=True):
                centred_rmsprop(row, grad, square, mean, **settings)
        else:
            for row, grad in zip(rows, grads, strict=True):
                row.add_(grad, alpha=-self.lr)

    def state(self) -> dict[str, Tensor]:
        """Return the memory of past gradients; the parameters are not the optimiser's own."""
        return {"steps": self._steps} | self.memory

    def load(self, state: dict[str, Tensor]) -> None:
        """Continue from what ``state`` returned."""
        for name, memory in self.memory.items():
            memory.copy_(state[name])
        self._steps.copy_(state["steps"])
        self._abreast = bool((self._steps == self._steps[0]).all())
