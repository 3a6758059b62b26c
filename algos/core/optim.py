"""Optimisers over one flat buffer ``[M, D]`` that the parameters of M networks are views of.

M is K, or K * members where a seed has several networks; these lie side by side. Each network's row
is one parameter to the optimiser (for Adam, torch's own), so every one has a step count of its own,
can sit out an update and is clipped alone, and an update costs the same whatever the number of
layers. As long as none has sat out, the rows are one parameter together. Rows are whole vectors of
the processor, so that their bits do not depend on it.
"""

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.optim.adam import adam

from .agent import State
from .parts import HasParts

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
    """Lays the parameters of M networks into the rows of ``data [M, D]``, as views.

    Args:
        parameters: each leads with M. members: networks of a seed.
    """

    def __init__(self, parameters: Iterable[nn.Parameter], members: int = 1) -> None:
        self.parameters, self.members = list(parameters), members
        m = self.parameters[0].shape[0]
        size = sum(p[0].numel() for p in self.parameters)
        width = -(-size // _ALIGN) * _ALIGN
        self.data = self.parameters[0].data.new_zeros(m, width)
        for p, view in zip(self.parameters, self.views(self.data), strict=True):
            view.copy_(p.data)
            p.data = view

    def views(self, flat: Tensor) -> list[Tensor]:
        """Return the parts of ``flat [M, D]`` in the parameters' order and shapes."""
        out, begin = [], 0
        for p in self.parameters:
            end = begin + p[0].numel()
            out.append(flat[:, begin:end].view(p.shape))
            begin = end
        return out

    def by_seed(self, x: Tensor) -> Tensor:
        """Return ``x [M, ...]`` as ``[K, members, ...]``, on the same memory."""
        return x.view(-1, self.members, *x.shape[1:])


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


def uncentred_rmsprop(
    row: Tensor, grad: Tensor, square: Tensor, *, lr: float, alpha: float, eps: float
) -> None:
    """Update a row as torch's RMSprop would."""
    square.mul_(alpha).addcmul_(grad, grad, value=1 - alpha)
    row.addcdiv_(grad, square.sqrt().add_(eps), value=-lr)


class SeedOptimizer(HasParts):
    """Adam, RMSprop or SGD for M networks at once.

    Adam is Kingma and Ba 2015, algorithm 1. RMSprop is centred as in Mnih et al. 2015, with ``eps``
    behind the square root, as MinAtar's published runs had it; uncentred it is torch's, as for A2C.
    SGD is plain.

    Args:
        params: what to train.
        kind: "adam", "rmsprop" (centred), "rmsprop_uncentred" or "sgd".
        lr: learning rate.
        eps: added to the root of the second moment.
        max_norm: bound on each gradient norm, or None.
        betas: Adam's decay rates; alpha: RMSprop's.
        jointly: whether the networks of a seed have one gradient norm, and are clipped as one.

    Attributes:
        grad: ``[M, D]``.
        rates: learning rates of the networks in place of ``lr``, ``[M]``, or None.
        memory: what is remembered of past gradients by name, ``[K, members, D]`` each.
        steps: how many each network has made, ``[K, members]``.
    """

    PARTS = ("memory", "steps")

    def __init__(
        self,
        params: FlatParams,
        kind: str,
        lr: float,
        eps: float = 1e-8,
        max_norm: float | None = None,
        betas: Sequence[float] = (0.9, 0.999),
        alpha: float = 0.99,
        jointly: bool = False,
    ) -> None:
        self.params, self.kind, self.lr, self.eps = params, kind, lr, eps
        self.max_norm, self.betas, self.alpha = max_norm, betas, alpha
        self.rates: list[float] | None = None
        self._rows = params.members if jointly else 1  # that have one norm
        self.grad = torch.zeros_like(params.data)
        self._grad_views = params.views(self.grad)
        memory = [torch.zeros_like(params.data) for _ in _MEMORY[kind]]
        self.memory = dict(zip(_MEMORY[kind], map(params.by_seed, memory), strict=True))
        self._steps = torch.zeros(len(params.data), device=params.data.device)
        self.steps = params.by_seed(self._steps)
        self._abreast = True  # all rows have made the same number of steps
        self._together = [[x] for x in (params.data, self.grad, self._steps[0], *memory)]
        self._apart = [list(x.unbind(0)) for x in (params.data, self.grad, self._steps, *memory)]

    def backward(self, loss: Tensor, accumulate: bool = False, keep_graph: bool = False) -> None:
        """Compute the gradients of losses ``[K]`` or ``[M]``, or add them to what is there.

        The losses are summed, not averaged: a mean would divide every learning rate by K.
        ``keep_graph``: another optimiser descends the same losses next.
        """
        parameters = self.params.parameters
        # a critic's own loss does not reach the policy's free parameters: their gradient is zero
        grads = torch.autograd.grad(
            loss.sum(), parameters, retain_graph=keep_graph, materialize_grads=True
        )
        for view, grad in zip(self._grad_views, grads, strict=True):
            view.add_(grad) if accumulate else view.copy_(grad)

    def grad_norm(self) -> Tensor:
        """Return the gradient norms, ``[M]``, or ``[K]`` where the networks of a seed have one."""
        rows = self.grad.view(len(self.grad) // self._rows, -1)
        norm: Tensor = torch.linalg.vector_norm(rows, dim=1)
        return norm

    def clip(self) -> Tensor:
        """Clip the gradients; returns their norms before, as ``grad_norm``."""
        norm = self.grad_norm()
        if self.max_norm is not None:
            shrink = (self.max_norm / (norm + 1e-6)).clamp(max=1.0)
            self.grad.view(len(norm), -1).mul_(shrink.unsqueeze(1))
        return norm

    @torch.no_grad()
    def step(self, mask: Tensor | None = None) -> Tensor:
        """Clip and apply the gradients.

        Args:
            mask: ``[M]`` bool; networks where it is False keep parameters, memory and step count.

        Returns:
            Gradient norms before clipping, as ``grad_norm``.
        """
        norm = self.clip()
        if mask is None and self._abreast and self.rates is None:
            self._apply(self.lr, *self._together)
            self._steps[1:] = self._steps[0]
        else:
            self._abreast = False
            live = range(len(self.grad)) if mask is None else mask.nonzero()[:, 0].tolist()
            rates = [self.lr] * len(self.grad) if self.rates is None else self.rates
            for lr in dict.fromkeys(rates[k] for k in live):
                mine = [k for k in live if rates[k] == lr]
                self._apply(lr, *([rows[k] for k in mine] for rows in self._apart))
        return norm

    def _apply(
        self,
        lr: float,
        rows: list[Tensor],
        grads: list[Tensor],
        steps: list[Tensor],
        *memory: list[Tensor],
    ) -> None:
        """Update some networks' rows."""
        settings = {"lr": lr, "alpha": self.alpha, "eps": self.eps}
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
                lr=lr,
                weight_decay=0.0,
                eps=self.eps,
                maximize=False,
            )
        elif self.kind == "rmsprop_uncentred":
            for row, grad, square in zip(rows, grads, *memory, strict=True):
                uncentred_rmsprop(row, grad, square, **settings)
        elif self.kind == "rmsprop":
            for row, grad, square, mean in zip(rows, grads, *memory, strict=True):
                centred_rmsprop(row, grad, square, mean, **settings)
        else:
            for row, grad in zip(rows, grads, strict=True):
                row.add_(grad, alpha=-lr)

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""
        super().load(state)
        self._abreast = bool((self._steps == self._steps[0]).all())


class OptimizerConfig(Protocol):
    """The settings of an agent that say how it descends."""

    optimizer: str
    lr: float
    optimizer_eps: float
    betas: list[float]
    rmsprop_alpha: float
    grad_clip: float | None


def optimizer_of(
    config: OptimizerConfig, jointly: bool = False
) -> Callable[[FlatParams], SeedOptimizer]:
    """Return what makes the optimiser that a config describes; ``jointly``: see there."""
    return partial(
        SeedOptimizer,
        kind=config.optimizer,
        lr=config.lr,
        eps=config.optimizer_eps,
        max_norm=config.grad_clip,
        betas=config.betas,
        alpha=config.rmsprop_alpha,
        jointly=jointly,
    )
