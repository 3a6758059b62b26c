"""Which starts of a replay buffer are learned from, and with what weight.

A sampler offers ``sample(beta) -> index [K, B], weight [K, B]`` and ``update(index, priority)``.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from .agent import State
from .nets import per_seed
from .parts import HasParts
from .replay import ReplayBuffer
from .rng import RandomStream

_FAN = 16  # children per node: few levels, and one node is one cache line or two


class Uniform(HasParts):
    """Every start alike (Lin 1992)."""

    PARTS = ("draws",)

    def __init__(self, buffer: ReplayBuffer, seeds: Sequence[int], batch: int) -> None:
        self.buffer = buffer
        self.draws = RandomStream(seeds, "replay", (batch,))
        self._ones = torch.ones(len(seeds), batch)

    def sample(self, beta: float) -> tuple[Tensor, Tensor]:
        """Return ``[K, B]`` places and weights of one."""
        # float64: a product with float32 draws would round up to the bound itself
        offset = (self.draws().double() * len(self.buffer)).long()
        return (offset + self.buffer.oldest) % self.buffer.size, self._ones

    def update(self, index: Tensor, priority: Tensor) -> None:
        """Ignore priorities."""


class Latest(HasParts):
    """Only the newest complete starts: learning without replay."""

    def __init__(self, buffer: ReplayBuffer, seeds: Sequence[int]) -> None:
        self.buffer = buffer
        self._ones = torch.ones(len(seeds), buffer.lanes)

    def sample(self, beta: float) -> tuple[Tensor, Tensor]:
        """Return the newest start of each lane, ``[K, N]``, and weights of one."""
        return self.buffer.latest(), self._ones

    def update(self, index: Tensor, priority: Tensor) -> None:
        """Ignore priorities."""


class SumTree:
    """K trees of partial sums over ``size`` leaves each, in float64; level 0 is the leaves."""

    def __init__(self, k: int, size: int) -> None:
        self.levels: list[Tensor] = []
        while not self.levels or size > 1:
            size = -(-size // _FAN) * _FAN
            self.levels.append(torch.zeros(k, size, dtype=torch.float64))
            size //= _FAN

    def set(self, index: Tensor, value: Tensor) -> None:
        """Set the leaves ``index [K, M]`` to ``value [K, M]`` and every sum above them."""
        self.levels[0].scatter_(1, index, value)
        for below, above in zip(self.levels, self.levels[1:], strict=False):
            index = index // _FAN
            above.scatter_(1, index, self._children(below, index).sum(-1))

    @staticmethod
    def _children(level: Tensor, node: Tensor) -> Tensor:
        k = torch.arange(len(level), device=level.device).unsqueeze(1)
        return level.view(len(level), -1, _FAN)[k, node]  # [K, M, FAN]

    def total(self) -> Tensor:
        """Return the sum of all leaves, ``[K]``."""
        return self.levels[-1].sum(-1)

    def get(self, index: Tensor) -> Tensor:
        """Return leaves ``[K, M]``."""
        return self.levels[0].gather(1, index)

    def find(self, mass: Tensor) -> Tensor:
        """Return the leaf in whose part of the running sum each ``mass [K, M]`` lies.

        A leaf of value zero is never returned unless all are zero.
        """
        node = torch.zeros_like(mass, dtype=torch.int64)
        for level in reversed(self.levels):
            sums = self._children(level, node).cumsum(-1)
            # Rounding must not carry the mass beyond the last child that has any.
            mass = torch.minimum(mass, sums[..., -1] * (1 - 1e-15))
            child = (sums <= mass.unsqueeze(-1)).sum(-1).clamp_(max=_FAN - 1)
            before = torch.where(child > 0, self._pick(sums, child - 1), 0.0)
            mass = mass - before
            node = node * _FAN + child
        return node

    @staticmethod
    def _pick(sums: Tensor, child: Tensor) -> Tensor:
        return sums.gather(-1, child.clamp(min=0).unsqueeze(-1)).squeeze(-1)

    def state(self) -> State:
        """Return the leaves, of which all else is made."""
        return {"leaves": self.levels[0]}

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""
        leaves = state["leaves"].to(self.levels[0].device)
        every = torch.arange(leaves.shape[1], device=leaves.device).expand(len(leaves), -1)
        self.set(every, leaves)


class Prioritized(HasParts):
    """Proportional prioritised replay (Schaul et al. 2016, algorithm 1 and section 3.3).

    P(i) is proportional to priority_i^alpha, new starts get the largest priority so far, draws are
    stratified over B equal parts of the mass, and weights (count P(i))^-beta are divided by the
    largest of the batch. All seeds share one tree structure.

    Args:
        alpha: 0 is uniform.
        eps: added to every priority, so that none is zero.
    """

    PARTS = ("draws", "tree", "largest", "begin", "end")

    def __init__(
        self,
        buffer: ReplayBuffer,
        seeds: Sequence[int],
        batch: int,
        alpha: float,
        eps: float = 1e-6,
    ) -> None:
        self.buffer, self.alpha, self.eps = buffer, alpha, eps
        self.draws = RandomStream(seeds, "replay", (batch,))
        self.tree = SumTree(len(seeds), buffer.size)
        self.largest = torch.ones(len(seeds), 1, dtype=torch.float64)
        self.end = 0  # running number of the first start that is not in the tree
        self.begin = 0  # running number of the first start that has not been taken out
        self._strata = torch.arange(batch, dtype=torch.float64)

    def _follow_buffer(self) -> None:
        """Put starts that became complete into the tree, and take overwritten ones out.

        Done at the next sample: the largest priority has not changed in between.
        """
        oldest = self.buffer.oldest
        end = oldest + len(self.buffer)
        # A place that a new start has taken over meanwhile is not emptied.
        first = max(self.begin, end - self.buffer.size)
        out = torch.arange(min(first, oldest), oldest) % self.buffer.size
        new = torch.arange(max(self.end, oldest), end)
        index = torch.cat([out, new % self.buffer.size]).expand(len(self.largest), -1)
        value = torch.zeros(index.shape, dtype=torch.float64)
        value[:, len(out) :] = self.largest
        self.tree.set(index, value)
        self.end, self.begin = end, oldest

    def sample(self, beta: float) -> tuple[Tensor, Tensor]:
        """Return ``[K, B]`` places and importance weights."""
        self._follow_buffer()
        total = self.tree.total().unsqueeze(1)
        mass = (self._strata + self.draws()) / len(self._strata) * total
        index = self.tree.find(mass)
        probability = self.tree.get(index) / total
        weight = per_seed(lambda p: p.pow(-beta), probability * len(self.buffer))
        return index, (weight / weight.amax(1, keepdim=True)).float()

    def update(self, index: Tensor, priority: Tensor) -> None:
        """Set the priorities ``[K, B]`` of what was just learned from."""
        raised = per_seed(lambda p: p.pow(self.alpha), priority.double() + self.eps)
        self.largest = torch.maximum(self.largest, raised.amax(1, keepdim=True))
        self.tree.set(index, raised)


Sampler = Uniform | Latest | Prioritized
