"""Networks of the off-policy agents: stacked perceptrons that learn, and copies that follow them.

Letters: K seeds, C critics per seed, M = K or K * C stacked networks, B batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..core.agent import State, group_members, ungroup_members
from ..core.nets import InitStream, Linear
from ..core.optim import FlatParams, SeedOptimizer
from ..core.rng import Member
from ..core.torso import Torso


class Perceptron(nn.Module):
    """M perceptrons with ReLU, ``[M, B, in] -> [M, B, out]``."""

    def __init__(
        self, members: Sequence[Member], name: str, n_in: int, hidden: Sequence[int], n_out: int
    ) -> None:
        super().__init__()
        init = InitStream(members, f"init/{name}")
        self.torso = Torso(init, (n_in,), hidden)
        self.head = Linear(init, self.torso.width, n_out)

    def forward(self, x: Tensor) -> Tensor:
        """Return the outputs."""
        return self.head.forward(self.torso.forward(x))


class Learner:
    """M perceptrons with their optimiser and, unless the agent does without, their targets.

    Args:
        members: one per network. count: networks per seed, which lie side by side.
        name: of the stream of initial parameters.
        sizes: numbers that go in, widths of the hidden layers, numbers that come out.
        lr: Adam's learning rate.
        has_target: whether a slow copy bootstraps; else ``target`` is the network itself.
        device: where they live.
    """

    def __init__(
        self,
        members: Sequence[Member],
        name: str,
        sizes: tuple[int, Sequence[int], int],
        lr: float,
        has_target: bool,
        device: torch.device,
        count: int = 1,
    ) -> None:
        self.count = count
        self.net = Perceptron(members, name, *sizes).to(device)
        self.optimizer = SeedOptimizer(FlatParams(self.net.parameters()), "adam", lr)
        self.target, self._target_params = self.net, self.optimizer.params
        if has_target:
            self.target = Perceptron(members, name, *sizes).to(device)
            self._target_params = FlatParams(self.target.parameters())

    @property
    def params(self) -> Tensor:
        """Every parameter, ``[M, D]``."""
        return self.optimizer.params.data

    @property
    def target_params(self) -> Tensor:
        """Every parameter of the targets, ``[M, D]``."""
        return self._target_params.data

    def descend(self, loss: Tensor) -> Tensor:
        """Make one step down each network's loss; returns gradient norms ``[M]``.

        Args:
            loss: ``[K]`` or ``[M]``; no network's parameters may matter to two of them.
        """
        self.optimizer.backward(loss)
        return self.optimizer.step()

    @torch.no_grad()
    def follow(self, tau: float) -> None:
        """Move the targets by ``tau`` of the way to the networks."""
        if self.target is not self.net:
            self.target_params.lerp_(self.params, tau)

    def weights(self) -> Tensor:
        """Return every parameter by seed, ``[K, count, D]``: what acting needs."""
        return self.params.view(-1, self.count, self.params.shape[1])

    def load_weights(self, weights: Tensor) -> None:
        """Act from now on as the networks whose ``weights`` these are."""
        self.params.copy_(weights.flatten(0, 1))

    def state(self) -> State:
        """Return by seed what learning needs beside the weights: Adam's memory and the targets."""
        state: State = {"optimizer": self.optimizer.state()}
        if self.target is not self.net:
            state["target"] = self.target_params
        return group_members(state, self.count)

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""
        state = ungroup_members(state)
        self.optimizer.load(state["optimizer"])
        if self.target is not self.net:
            self.target_params.copy_(state["target"])


class Critics(Learner):
    """C action-value functions for each of K seeds, side by side as K * C networks."""

    def __init__(
        self,
        seeds: Sequence[int],
        count: int,
        sizes: tuple[int, Sequence[int], int],
        lr: float,
        has_target: bool,
        device: torch.device,
    ) -> None:
        members = [(seed, critic) for seed in seeds for critic in range(count)]
        super().__init__(members, "critics", sizes, lr, has_target, device, count)
        self._first = Perceptron(seeds, "critics", *sizes).requires_grad_(False)
        for first, every in zip(self._first.parameters(), self.net.parameters(), strict=True):
            first.data = every.data[::count]  # a view

    def values(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return ``[K, C, B]`` for ``obs [K, B, obs]`` and ``action [K, B, A]``."""
        return self._of(self.net, obs, action)

    def judge(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return ``values`` whose gradient reaches the action alone: what the policy climbs."""
        self.net.requires_grad_(False)
        try:
            return self.values(obs, action)
        finally:
            self.net.requires_grad_(True)

    def judge_first(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return what the first critic alone would judge, ``[K, B]``, without asking the others."""
        return self._first.forward(torch.cat([obs, action], -1)).squeeze(-1)

    def target_values(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return what the targets say, ``[K, C, B]``."""
        return self._of(self.target, obs, action)

    def _of(self, net: Perceptron, obs: Tensor, action: Tensor) -> Tensor:
        x = torch.cat([obs, action], -1).repeat_interleave(self.count, 0)
        return net.forward(x).reshape(-1, self.count, x.shape[1])
