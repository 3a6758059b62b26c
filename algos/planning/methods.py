"""Dynamic programming, one sweep at a time (Sutton and Barto, chapter 4).

``sweep`` takes action values ``q [K, S, A]`` and returns the next ones, and the residual ``[K]``,
the largest change of a value. All seeds compute the same.
"""

from typing import Protocol

import torch
from torch import Tensor

from ..core.parts import HasParts, Part
from ..formulas.dynamic_programming import Model, backup, evaluate, expected, shared

# an action counts as better only by more than this share of the largest value, above rounding
CLEARLY = 1e-9


class Method(Part, Protocol):
    """What a planner repeats."""

    def sweep(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next ``q [K, S, A]`` and the residual ``[K]``."""

    def value(self, q: Tensor) -> Tensor:
        """Return the state values that ``q`` implies, ``[K, S]``."""


class ValueIteration(HasParts):
    """``v(s) <- max_a q(s, a)``, then q from v (Sutton and Barto, equation 4.10).

    Args:
        model: the process. k: seeds.
    """

    PARTS = ("v",)

    def __init__(self, model: Model, k: int) -> None:
        self.model = model
        self.v = model.p.new_zeros(k, model.p.shape[0])

    def sweep(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Back every state up once."""
        q = backup(self.v, self.model)
        before = self.v.clone()
        self.v.copy_(self.value(q))
        return q, (self.v - before).abs().amax(-1)

    def value(self, q: Tensor) -> Tensor:
        """Return the values that action values imply, ``[K, S]``."""
        return q.amax(-1)


class PolicyEvaluation(ValueIteration):
    """``v(s) <- sum_a pi(a | s) q(s, a)`` of one policy (equation 4.5).

    Args:
        model: the process. k: seeds. policy: ``[S, A]``.
    """

    def __init__(self, model: Model, k: int, policy: Tensor) -> None:
        super().__init__(model, k)
        self.policy = policy

    def value(self, q: Tensor) -> Tensor:
        """Return the mean under the policy."""
        return expected(q, self.policy)


class QIteration(HasParts):
    """``q(s, a) <- r + gamma max_a' q(s', a')``: value iteration in terms of action values."""

    def __init__(self, model: Model, k: int) -> None:
        self.model = model

    def sweep(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Back every state and action up once."""
        following = backup(q.amax(-1), self.model)
        change = torch.where(following > -torch.inf, following - q, 0.0)
        return following, change.abs().amax((-2, -1))

    def value(self, q: Tensor) -> Tensor:
        """Return the values of the best actions, ``[K, S]``."""
        return q.amax(-1)


class PolicyIteration(HasParts):
    """Solves for the values of a policy, then improves it (Howard 1960; section 4.3).

    The first policy is uniform: from each state it reaches an end that can be reached at all. Only
    clearly better actions replace others. So every later policy ends too, even undiscounted, unless
    a loop pays without end (Bertsekas and Tsitsiklis 1991, proposition 3). Solving for the values
    takes memory of the order of S squared.

    Args:
        model: the process. k: seeds. policy: the first one, ``[S, A]``.
    """

    PARTS = ("v", "policy", "stable")

    def __init__(self, model: Model, k: int, policy: Tensor) -> None:
        self.model = model
        self.v = model.p.new_zeros(k, model.p.shape[0])
        self.policy = policy.repeat(k, 1, 1)
        self.stable = torch.zeros(k, dtype=torch.bool, device=model.p.device)

    def sweep(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate the policies that were improved, and improve them.

        Raises:
            ArithmeticError: undiscounted, and a policy that never ends earns without bound.
        """
        q = q.clone()
        for k in (~self.stable).nonzero()[:, 0].tolist():
            q[k] = evaluate(self.model, self.policy[k])
        v = expected(q, self.policy)
        residual = (v - self.v).abs().amax(-1)
        self.v.copy_(v)
        clearly = CLEARLY * v.abs().amax(-1).clamp(min=1)[:, None]
        best = q.amax(-1)
        worse = v < best - clearly
        better = shared(q >= (best - clearly)[..., None])
        self.policy.copy_(torch.where(worse[..., None], better, self.policy))
        self.stable.copy_(~worse.any(-1))
        return q, residual

    def value(self, q: Tensor) -> Tensor:
        """Return the values under the policy, ``[K, S]``."""
        return expected(q, self.policy)
