"""Networks of the off-policy agents: stacked perceptrons, and critics that judge actions.

Letters: K seeds, C critics per seed, M = K or K * C stacked networks, B batch.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from ..core.learner import Learner
from ..core.nets import InitStream, Linear, Mode
from ..core.optim import FlatParams, SeedOptimizer
from ..core.rng import Member
from ..core.torso import BARE, Around, Hidden, Torso

Sizes = tuple[int, Sequence[int], int]  # in, hidden, out


class Perceptron(nn.Module):
    """M perceptrons with ReLU, ``[M, B, in] -> [M, B, out]``.

    Args:
        members: one per network. name: of the stream of initial parameters.
        n_in: numbers that go in. hidden: widths of the hidden layers. n_out: numbers that come out.
        around: normalisation and dropout. role: "online" or "target", keys the streams of dropout.
    """

    def __init__(
        self,
        members: Sequence[Member],
        name: str,
        n_in: int,
        hidden: Sequence[int],
        n_out: int,
        around: Around = BARE,
        role: str = "online",
    ) -> None:
        super().__init__()
        init = InitStream(members, f"init/{name}")
        layer = Hidden(init, members, f"{name}/{role}", around)
        self.torso = Torso(init, (n_in,), hidden, layer=layer)
        self.head = Linear(init, self.torso.width, n_out)

    def forward(self, x: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Return the outputs."""
        return self.head.forward(self.torso.forward(x, mode))


class Critics(Learner[Perceptron]):
    """C action-value functions for each of K seeds, side by side as K * C networks.

    A critic takes an action's numbers and gives one value, ``[K, C, B]``; or it takes none and
    gives a value for each of A actions, ``[K, C, B, A]``.

    Args:
        seeds: the K seeds. count: C.
        sizes: numbers that go in, widths of the hidden layers, numbers that come out.
        optimizer, device, has_target: see ``Learner``. around: normalisation and dropout.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        count: int,
        sizes: Sizes,
        optimizer: Callable[[FlatParams], SeedOptimizer],
        device: torch.device,
        has_target: bool,
        around: Around = BARE,
    ) -> None:
        members = [(seed, critic) for seed in seeds for critic in range(count)]

        def build(name: str) -> Perceptron:
            return Perceptron(members, "critics", *sizes, around, name)

        super().__init__(build, optimizer, device, count, has_target)
        # what judges is held still: the gradient of its judgement reaches the action alone
        self._still = _views(self.online, members, (*sizes, around), 1)
        self._first = _views(self.online, members, (*sizes, around), count)
        self._single = sizes[-1] == 1

    def values(self, obs: Tensor, *action: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Return values for ``obs [K, B, obs]`` and, if critics take it, ``action [K, B, A]``.

        ``mode`` is ``Mode.LEARN`` for a batch that the critics are about to learn from.
        """
        return self._of(self.online, obs, *action, mode=mode)

    def judge(self, obs: Tensor, *action: Tensor) -> Tensor:
        """Return ``values`` whose gradient reaches the action alone: what the policy climbs."""
        return self._of(self._still, obs, *action)

    def judge_first(self, obs: Tensor, action: Tensor) -> Tensor:
        """Return what the first critic alone would judge, ``[K, B]``, without asking the others."""
        return self._first.forward(torch.cat([obs, action], -1)).squeeze(-1)

    def target_values(self, obs: Tensor, *action: Tensor) -> Tensor:
        """Return the targets' ``values``."""
        return self._of(self.target, obs, *action)

    def _of(self, net: Perceptron, *inputs: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        x = torch.cat(inputs, -1).repeat_interleave(self.members, 0)
        values = net.forward(x, mode)
        values = values.reshape(-1, self.members, *values.shape[1:])
        return values.squeeze(-1) if self._single else values


def _views(
    net: Perceptron,
    members: Sequence[Member],
    sizes: tuple[int, Sequence[int], int, Around],
    every: int,
) -> Perceptron:
    """Return every ``every``-th network on the same memory, without gradients of its own."""
    views = Perceptron(members[::every], "critics", *sizes).requires_grad_(False)
    for mine, theirs in (views.parameters(), net.parameters()), (views.buffers(), net.buffers()):
        for view, whole in zip(mine, theirs, strict=True):
            view.data = whole.data[::every]
    return views
