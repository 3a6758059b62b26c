"""Bellman operators and their fixed points (Sutton and Barto, chapter 4), in float64.

Shape letters: S states, A actions, B branches. A ``Model`` holds the outcomes of every state and
action; values may have any leading axes.
"""

from typing import NamedTuple

import torch
from torch import Tensor


class Model(NamedTuple):
    """A process as its branches, with the discount of each: zero behind a termination.

    All but the successors may have leading axes: several processes over the same branches."""

    p: Tensor  # [S, A, B]
    r: Tensor  # [S, A, B]
    discount: Tensor  # [S, A, B]
    successor: Tensor  # [S, A, B] int64
    legal: Tensor | None = None  # [S, A] bool; an illegal action is worth -inf; None: all are legal


def backup(v: Tensor, model: Model) -> Tensor:
    """Return ``q(s, a) = sum_s' p (r + discount v(s'))`` for ``v [..., S]``, as ``[..., S, A]``."""
    return barred((model.p * (model.r + model.discount * v[..., model.successor])).sum(-1), model)


def barred(q: Tensor, model: Model) -> Tensor:
    """Return ``q [..., S, A]`` with -inf for the actions that are illegal."""
    return q if model.legal is None else q.masked_fill(~model.legal, -torch.inf)


def expected(q: Tensor, policy: Tensor) -> Tensor:
    """Return ``v(s) = sum_a pi(a | s) q(s, a)``; what pi never takes does not count."""
    return (policy * torch.where(policy > 0, q, 0.0)).sum(-1)


def shared(among: Tensor) -> Tensor:
    """Return the policy that is uniform over the actions ``among [..., A]`` (bool), in float64."""
    return among / among.sum(-1, keepdim=True, dtype=torch.float64)


def greedy(q: Tensor, tolerance: float = 0.0) -> Tensor:
    """Return the greedy policy of ``q [..., A]`` as probabilities, shared among the best actions.

    Actions within ``tolerance`` of the best count as equal.
    """
    return shared(q >= q.amax(-1, keepdim=True) - tolerance)


def ending(q: Tensor, model: Model, tolerance: float) -> Tensor:
    """Return the best actions ``[..., S]`` of ``q [..., S, A]``, of equals one that gets to an end.

    Undiscounted, a greedy policy may go round in circles that cost nothing (Bertsekas and
    Tsitsiklis 1991). So of the actions within ``tolerance`` of the best, as a share of the largest
    value (of 1 where all are smaller), a state takes one that may end the episode or lead to a
    state that has found such an action. Discounted, any action may, and this is the argmax.
    """
    action, lives = q.argmax(-1), model.p > 0
    largest = torch.where(q > -torch.inf, q, 0.0).abs().amax((-2, -1), keepdim=True).clamp(min=1)
    best = q >= q.amax(-1, keepdim=True) - tolerance * largest
    ends = (lives & (model.discount < 1)).any(-1)
    found = torch.zeros_like(action, dtype=torch.bool)
    while True:
        leads = best & (ends | (lives & found[..., model.successor]).any(-1))
        new = leads.any(-1) & ~found
        if not new.any():
            return action
        action = torch.where(new, q.masked_fill(~leads, -torch.inf).argmax(-1), action)
        found = found | new


def soft(q: Tensor, epsilon: float) -> Tensor:
    """Return the epsilon-greedy policy of ``q [..., A]`` (Sutton and Barto 5.4)."""
    return epsilon * shared(q > -torch.inf) + (1 - epsilon) * greedy(q)


def soft_maximum(q: Tensor, epsilon: float) -> Tensor:
    """Return the value of the epsilon-greedy policy, which needs no look at the ties."""
    return epsilon * expected(q, shared(q > -torch.inf)) + (1 - epsilon) * q.amax(-1)


def optimal(
    model: Model, epsilon: float = 0.0, tolerance: float = 1e-13, sweeps: int = 200_000
) -> Tensor:
    """Return the action values ``[..., S, A]`` of the best epsilon-soft policy, by value iteration.

    Raises:
        ArithmeticError: no convergence, as where a loop pays and nothing is discounted, or values
            that are not finite.
    """
    v = torch.zeros_like(model.p[..., 0, 0])
    for _ in range(sweeps):
        q = backup(v, model)
        following = soft_maximum(q, epsilon)
        change, v = (following - v).abs().max(), following
        if change <= tolerance * max(1.0, float(v.abs().max())):
            return backup(v, model)
        if not change.isfinite():
            raise ArithmeticError("the values of value iteration are not finite")
    raise ArithmeticError(f"value iteration has not converged in {sweeps} sweeps")


def evaluate(model: Model, policy: Tensor) -> Tensor:
    """Return the action values ``[S, A]`` of ``policy [S, A]``, exactly: a linear system.

    Undiscounted, a policy that never ends has no finite values (Bertsekas and Tsitsiklis 1991),
    unless it gets to where nothing is ever paid again: there they are 0.

    Raises:
        ArithmeticError: undiscounted, and the policy never ends where something is paid.
    """
    states, weight = model.p.shape[0], policy[..., None] * model.p
    moves = torch.zeros(states, states, dtype=model.p.dtype, device=model.p.device)
    moves.scatter_add_(1, model.successor.flatten(1), (weight * model.discount).flatten(1))
    r = (policy * (model.p * model.r).sum(-1)).sum(-1)
    endless = ~_reaching(((weight > 0) & (model.discount < 1)).flatten(1).any(1), moves > 0)
    silent = ~_reaching(r != 0, moves > 0)
    if (endless & ~_reaching(silent, moves > 0)).any():
        raise ArithmeticError("the policy's values are not finite: it never ends")
    moves[endless & silent] = 0
    system = torch.eye(states, dtype=r.dtype, device=r.device) - moves
    v, info = torch.linalg.solve_ex(system, r)
    if info.any() or not (system @ v - r).abs().max() <= 1e-6 * v.abs().max().clamp(min=1):
        raise ArithmeticError("the policy's values cannot be computed: it hardly ever ends")
    return backup(v, model)


def _reaching(goal: Tensor, moves: Tensor) -> Tensor:
    """Return which states get to ``goal [S]`` (bool) by ``moves [S, S]`` (bool)."""
    while True:
        following = goal | (moves & goal).any(1)
        if torch.equal(following, goal):
            return goal
        goal = following


def finite_horizon(model: Model, horizon: int, policy: Tensor | None = None) -> Tensor:
    """Return the values ``[horizon + 1, S]`` with h steps to go; best, or of a policy."""
    values = [torch.zeros_like(model.p[:, 0, 0])]
    for _ in range(horizon):
        q = backup(values[-1], model)
        values.append(q.amax(-1) if policy is None else expected(q, policy))
    return torch.stack(values)
