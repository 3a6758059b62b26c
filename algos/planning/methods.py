"""Dynamic programming, one sweep at a time (Sutton and Barto, chapter 4).

A method keeps ``q [K, S, A]``; ``sweep`` returns its successor and the residual, the largest change
``[K]``. All seeds compute the same, which is a test of the seed axis for free.
"""

from typing import Protocol

import torch
from torch import Tensor

from ..core.parts import HasParts, Part
from ..formulas.dynamic_programming import Model, backup, expected, greedy

_CLEARLY = 1e-9  # how much better an action must be to replace another: rounding must not


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
    """Evaluation sweeps until the values stand still, then one improvement (section 4.3).

    Args:
        model: the process. k: seeds. policy: the first one, ``[S, A]``.
        tolerance: the residual below which the policy is improved.
    """

    PARTS = ("v", "policy")

    def __init__(self, model: Model, k: int, policy: Tensor, tolerance: float) -> None:
        self.model, self.tolerance = model, tolerance
        self.v = model.p.new_zeros(k, model.p.shape[0])
        self.policy = policy.repeat(k, 1, 1)

    def sweep(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Evaluate once; improve the policies whose values stand still."""
        q = backup(self.v, self.model)
        v = expected(q, self.policy)
        residual = (v - self.v).abs().amax(-1)
        self.v.copy_(v)
        # an action as good as the best one stays, so that a stable policy is seen to be stable
        worse = v < q.amax(-1) - _CLEARLY
        stands = (residual <= self.tolerance)[:, None]
        improved = torch.where(worse[..., None], greedy(q, _CLEARLY), self.policy)
        self.policy.copy_(torch.where(stands[..., None], improved, self.policy))
        return q, residual

    def value(self, q: Tensor) -> Tensor:
        """Return the values under the policy, ``[K, S]``."""
        return expected(q, self.policy)
