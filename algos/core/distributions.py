"""Distributions over actions, stacked: every method acts on any leading axes ``[...]``.

Noise is an argument, so that all chance comes from the streams of ``rng.py``.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor
from torch.nn import functional as F

_LOG_2PI = math.log(2 * math.pi)


def inverse_cdf(p: Tensor, u: Tensor) -> Tensor:
    """Return the actions ``[...]`` at which the sums of ``p [..., A]`` pass ``u [..., 1]``."""
    # without the last one: rounding must not invent an action
    return (p.cumsum(-1)[..., :-1] <= u).sum(-1)


def inverse_cdf_of_possible(p: Tensor, u: Tensor) -> Tensor:
    """Return the same, and never an action of probability 0, however sums are rounded."""
    possible = p > 0
    passed = possible & (p.cumsum(-1) > u)
    last = p.shape[-1] - 1 - possible.flip(-1).int().argmax(-1)
    return torch.where(passed.any(-1), passed.int().argmax(-1), last)


class Categorical(NamedTuple):
    """One of A actions; ``log_p [..., A]`` are normalised log-probabilities."""

    log_p: Tensor

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-probability of ``action [...]``."""
        return self.log_p.gather(-1, action.unsqueeze(-1)).squeeze(-1)

    def entropy(self) -> Tensor:
        """Return the entropy in nats, ``[...]``."""
        return -(self.log_p.exp() * self.log_p).sum(-1)

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), ``[...]``."""
        return (self.log_p.exp() * (self.log_p - other.log_p)).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Return actions ``[...]`` from uniform ``noise [..., 1]``, by the inverse CDF."""
        return inverse_cdf(self.log_p.exp(), noise)

    def mode(self) -> Tensor:
        """Return the likeliest action, the first of equals."""
        return self.log_p.argmax(-1)

    def detach(self) -> "Categorical":
        """Return it without its graph."""
        return Categorical(self.log_p.detach())


class MaskedCategorical(Categorical):
    """One of the actions that are legal; the others' logits were the lowest finite number."""

    def sample(self, noise: Tensor) -> Tensor:
        """Return legal actions ``[...]`` from uniform ``noise [..., 1]``, by the inverse CDF."""
        return inverse_cdf_of_possible(self.log_p.exp(), noise)


class MultiCategorical(NamedTuple):
    """D independent categoricals; actions are ``[..., D]``."""

    parts: tuple[Categorical, ...]

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the joint log-probability of ``action [..., D]``."""
        log_probs = [p.log_prob(action[..., d]) for d, p in enumerate(self.parts)]
        return torch.stack(log_probs).sum(0)

    def entropy(self) -> Tensor:
        """Return the joint entropy in nats, ``[...]``."""
        return torch.stack([p.entropy() for p in self.parts]).sum(0)

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), ``[...]``."""
        pairs = zip(self.parts, other.parts, strict=True)
        return torch.stack([p.kl(q) for p, q in pairs]).sum(0)

    def sample(self, noise: Tensor) -> Tensor:
        """Return actions ``[..., D]`` from uniform ``noise [..., D]``."""
        actions = [p.sample(noise[..., d : d + 1]) for d, p in enumerate(self.parts)]
        return torch.stack(actions, -1)

    def mode(self) -> Tensor:
        """Return the likeliest action."""
        return torch.stack([p.mode() for p in self.parts], -1)

    def detach(self) -> "MultiCategorical":
        """Return it without its graph."""
        return MultiCategorical(tuple(p.detach() for p in self.parts))


class DiagGaussian(NamedTuple):
    """A normal distribution with a diagonal covariance; actions are ``[..., D]``, unbounded."""

    mean: Tensor  # [..., D]
    log_std: Tensor  # broadcastable to it

    def log_prob(self, action: Tensor) -> Tensor:
        """Return the log-density of ``action [..., D]``."""
        z = (action - self.mean) * (-self.log_std).exp()
        return -(0.5 * z.square() + self.log_std).sum(-1) - 0.5 * _LOG_2PI * self.mean.shape[-1]

    def entropy(self) -> Tensor:
        """Return the differential entropy in nats, ``[...]``."""
        total = self.log_std.expand_as(self.mean).sum(-1)
        return total + 0.5 * (1 + _LOG_2PI) * self.mean.shape[-1]

    def kl(self, other: Self) -> Tensor:
        """Return KL(self || other), ``[...]``."""
        square = (2 * self.log_std).exp() + (self.mean - other.mean).square()
        ratio = square * (-2 * other.log_std).exp()
        return (other.log_std - self.log_std + 0.5 * (ratio - 1)).sum(-1)

    def sample(self, noise: Tensor) -> Tensor:
        """Return actions ``[..., D]`` from standard normal ``noise [..., D]``."""
        return torch.addcmul(self.mean, self.log_std.exp(), noise)

    def mode(self) -> Tensor:
        """Return the mean."""
        return self.mean

    def detach(self) -> "DiagGaussian":
        """Return it without its graph."""
        return DiagGaussian(self.mean.detach(), self.log_std.detach())


Distribution = Categorical | MultiCategorical | DiagGaussian


@dataclass(frozen=True)
class ActionHead:
    """How a network's output becomes a distribution over an action space.

    Attributes:
        outputs: numbers per state that the network gives.
        action: shape and dtype of an action of one lane.
        noise: width and kind ("uniform", "normal") of the noise that ``sample`` takes.
        free_std: D where log standard deviations are parameters of their own, else 0.
        build: ``(output [..., outputs], log_std or None) -> distribution``.
    """

    outputs: int
    action: tuple[tuple[int, ...], type]
    noise: tuple[int, str]
    free_std: int
    build: Callable[[Tensor, Tensor | None], Distribution]


def action_head(space: spaces.Space, masked: bool = False) -> ActionHead:
    """Return the head for an action space.

    Args:
        space: of one lane's actions.
        masked: whether outputs may be barred (``core/legality.py``).

    Raises:
        ValueError: a space that is not Discrete, MultiDiscrete or a Box of one dimension.
    """
    categorical = _masked if masked else _categorical
    if isinstance(space, spaces.Discrete):
        n = int(space.n)
        return ActionHead(n, ((), np.int64), (1, "uniform"), 0, categorical)
    if isinstance(space, spaces.MultiDiscrete) and space.nvec.ndim == 1:
        counts = [int(n) for n in space.nvec]

        def multi(output: Tensor, log_std: Tensor | None) -> MultiCategorical:
            return MultiCategorical(
                tuple(categorical(x, None) for x in torch.split(output, counts, -1))
            )

        d = len(counts)
        return ActionHead(sum(counts), ((d,), np.int64), (d, "uniform"), 0, multi)
    if isinstance(space, spaces.Box) and len(space.shape) == 1:
        d = space.shape[0]
        return ActionHead(d, ((d,), np.float32), (d, "normal"), d, _gaussian)
    raise ValueError(f"no distribution over {space}")


def _categorical(output: Tensor, log_std: Tensor | None) -> Categorical:
    return Categorical(F.log_softmax(output, -1))


def _masked(output: Tensor, log_std: Tensor | None) -> Categorical:
    return MaskedCategorical(F.log_softmax(output, -1))


def _gaussian(output: Tensor, log_std: Tensor | None) -> DiagGaussian:
    assert log_std is not None
    return DiagGaussian(output, log_std)
