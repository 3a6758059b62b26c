"""Networks of the off-policy agents: stacked perceptrons, and critics that judge actions.

Letters: K seeds, C critics per seed, M = K or K * C stacked networks, B batch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..core.learner import Learner
from ..core.nets import InitStream, Linear
from ..core.optim import FlatParams, SeedOptimizer
from ..core.rng import Member
from ..core.torso import Torso

Sizes = tuple[int, Sequence[int], int]  # in, hidden, out


class Perceptron(nn.Module):
    """M perceptrons with ReLU, ``[M, B, in] -> [M, B, out]``.

    Args:
        members: one per network. name: of the stream of initial parameters.
        n_in: numbers that go in. hidden: widths of the hidden layers. n_out: numbers that come out.
    """

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


class Critics(Learner[Perceptron]):
    """C action-value functions for each of K seeds, side by side as K * C networks.

    A critic takes an action's numbers and gives one value, ``[K, C, B]``; or it takes none and
    gives a value for each of A actions, ``[K, C, B, A]``.

    Args:
        seeds: the K seeds. count: C.
        sizes: numbers that go in, widths of the hidden layers, numbers that come out.
        optimizer, device, has_target: see ``Learner``.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        count: int,
        sizes: Sizes,
        optimizer: Callable[[FlatParams], SeedOptimizer],
        device: torch.device,
        has_target: bool,
    ) -> None:
        members = [(seed, critic) for seed in seeds for critic in range(count)]

        def build(name: str) -> Perceptron:
            return Perceptron(members, "critics", *sizes)

        super().__init__(build, optimizer, device, count, has_target)
        # what judges is held still: the gradient of its judgement reaches the action alone
        self._still = _views(self.online, members, sizes, 1)
        self._first = _views(self.online, members, sizes, count)
        self._single = sizes[-1] == 1

    def values(self, obs: Tensor, *action: Tensor) -> Tensor:
        """Return values for ``obs [K, B, obs]`` and, if critics take it, ``action [K, B, A]``."""
        return self._of(self.online, obs, *action)

    def judge(self, obs: Tensor, *action: Tensor) -> Tensor:
        """Return ``values`` whose gradient reaches the action alone: what the policy climbs."""
        return self._of(self._still, obs, *action)

    def judge_first(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return what the first critic alone would judge, ``[K, B]``, without asking the others."""
        return self._first.forward(torch.cat([obs, action], -1)).squeeze(-1)

    def target_values(self, obs: Tensor, *action: Tensor) -> Tensor:
        """Return the targets' ``values``."""
        return self._of(self.target, obs, *action)

    def _of(self, net: Perceptron, *inputs: Tensor) -> Tensor:
        x = torch.cat(inputs, -1).repeat_interleave(self.members, 0)
        values = net.forward(x)
        values = values.reshape(-1, self.members, *values.shape[1:])
        return values.squeeze(-1) if self._single else values


def _views(net: Perceptron, members: Sequence[Member], sizes: Sizes, every: int) -> Perceptron:
    """Return every ``every``-th network on the same memory, without gradients of its own."""
    views = Perceptron(members[::every], "critics", *sizes).requires_grad_(False)
    for view, whole in zip(views.parameters(), net.parameters(), strict=True):
        view.data = whole.data[::every]
    return views
