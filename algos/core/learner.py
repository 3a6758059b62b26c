"""What learns by gradients: networks of K seeds, their optimiser and, where wanted, a target."""

from collections.abc import Callable
from typing import Generic, TypeVar

import torch
from torch import Tensor, nn

from .nets import streams_of
from .optim import FlatParams, SeedOptimizer
from .parts import HasParts

Net = TypeVar("Net", bound=nn.Module)


class Weights(HasParts):
    """All that M networks have learned, on the networks' own memory.

    Args:
        net: the networks. members: of a seed.

    Attributes:
        flat: the parameters, ``[M, D]``.
        params: the same by seed, ``[K, members, D]``.
        running: statistics that no gradient moves, by name, ``[K, members, ...]``.
    """

    PARTS = ("params", "running")

    def __init__(self, net: nn.Module, members: int) -> None:
        self.flat = FlatParams(net.parameters(), members)
        self.params = self.flat.by_seed(self.flat.data)
        self.running = {name: self.flat.by_seed(x) for name, x in net.named_buffers()}

    def approach(self, other: "Weights", tau: float) -> None:
        """Go by ``tau`` of the way to other weights."""
        pairs = zip(self._tensors(), other._tensors(), strict=True)
        for ours, theirs in pairs:
            ours.lerp_(theirs, tau)

    def _tensors(self) -> list[Tensor]:
        return [self.params, *self.running.values()]


class Learner(HasParts, Generic[Net]):
    """M networks that are trained together and, unless the agent does without, a copy that lags.

    M is K * members: the networks of a seed lie side by side.

    Args:
        build: makes M networks, given what keys their random streams: "online" or "target".
        optimizer: makes the optimiser of their parameters.
        device: where they live.
        members: networks of a seed.
        has_target: whether there is a copy; it begins equal.

    Attributes:
        online: the networks that learn.
        target: the copy; without one, the online networks themselves.
    """

    POLICY = ("weights",)
    PARTS = ("optimizer", "target_weights", "streams")

    def __init__(
        self,
        build: Callable[[str], Net],
        optimizer: Callable[[FlatParams], SeedOptimizer],
        device: torch.device,
        members: int = 1,
        has_target: bool = False,
    ) -> None:
        self.members = members
        self.online = self.target = build("online").to(device)
        self.weights = Weights(self.online, members)
        self.optimizer = optimizer(self.weights.flat)
        self.target_weights: Weights | None = None
        if has_target:
            self.target = build("target").to(device)
            self.target_weights = Weights(self.target, members)
            self.update_target()
        self.streams = streams_of(self.online) | streams_of(self.target)

    @property
    def networks(self) -> tuple[Net, ...]:
        """The online networks and, if there is one, their copy."""
        return (self.online,) if self.target_weights is None else (self.online, self.target)

    @property
    def params(self) -> Tensor:
        """Every parameter of the online networks, ``[M, D]``."""
        return self.weights.flat.data

    @property
    def target_params(self) -> Tensor:
        """Every parameter of the target, ``[M, D]``."""
        return (self.target_weights or self.weights).flat.data

    def step(self, loss: Tensor, mask: Tensor | None = None) -> Tensor:
        """Make one step down losses ``[K]`` or ``[M]``; returns gradient norms before clipping.

        Args:
            loss: no network's parameters may matter to two of them.
            mask: ``[M]`` bool, the networks that learn; None: all.
        """
        self.optimizer.backward(loss)
        return self.optimizer.step(mask)

    @torch.no_grad()
    def update_target(self, tau: float = 1.0) -> None:
        """Move the target by ``tau`` of the way to the online networks (1: a hard update)."""
        if self.target_weights is not None:
            self.target_weights.approach(self.weights, tau)
