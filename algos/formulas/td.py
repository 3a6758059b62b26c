"""Temporal-difference errors and their losses. All functions act on any leading axes."""

import torch
from torch import Tensor
from torch.nn import functional as F


def huber(error: Tensor, delta: float = 1.0) -> Tensor:
    """Return ``error^2 / 2`` near zero, a line of slope ``delta`` beyond ``delta`` (Huber 1964)."""
    return F.huber_loss(error, torch.zeros_like(error), reduction="none", delta=delta)


def squared(error: Tensor) -> Tensor:
    """Return ``error^2 / 2``, so that it differs from ``huber`` in shape only."""
    return 0.5 * error.square()


def bootstrap(r_t: Tensor, discount_t: Tensor, v_t: Tensor) -> Tensor:
    """Return ``r_t + discount_t * v_t``; ``discount_t`` is zero behind a termination."""
    return r_t + discount_t * v_t


def select(values: Tensor, a: Tensor) -> Tensor:
    """Return ``values[..., a, :]`` of ``values [..., A, Z]`` for ``a [...]``, as ``[..., Z]``."""
    index = a[..., None, None].expand(*a.shape, 1, values.shape[-1])
    return torch.gather(values, -2, index).squeeze(-2)
