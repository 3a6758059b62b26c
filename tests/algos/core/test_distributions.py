"""Distributions against torch's own."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor
from torch import distributions as td

from prism.algos.core.distributions import ActionHead, Distribution, action_head

SPACES = {
    "discrete": spaces.Discrete(4),
    "multi": spaces.MultiDiscrete([2, 5, 3]),
    "box": spaces.Box(-1, 1, (3,)),
}


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=shape))


def build(name: str, seed: int = 0) -> tuple[ActionHead, Distribution, Any]:
    """Return our distribution and torch's, of the same numbers ``[2, 6, P]``."""
    head = action_head(SPACES[name])
    out, log_std = draw(2, 6, head.outputs, seed=seed), 0.3 * draw(2, 1, 3, seed=seed + 1)
    if name == "box":
        theirs: Any = td.Independent(td.Normal(out, log_std.exp().expand_as(out)), 1)
    elif name == "discrete":
        theirs = td.Categorical(logits=out)
    else:
        theirs = [td.Categorical(logits=x) for x in out.split([2, 5, 3], -1)]
    return head, head.build(out, log_std), theirs


def noise(head: ActionHead, *shape: int) -> Tensor:
    g = np.random.default_rng(5)
    width, kind = head.noise
    values = g.random((*shape, width)) if kind == "uniform" else g.normal(size=(*shape, width))
    return torch.from_numpy(values)


def each(theirs: Any, method: str, *arguments: Any) -> Tensor:
    """Call torch's method, summed over the parts of a multi-categorical."""
    if not isinstance(theirs, list):
        return getattr(theirs, method)(*arguments)
    split = [[a[..., d] for a in arguments] for d in range(len(theirs))]
    return sum(getattr(part, method)(*own) for part, own in zip(theirs, split, strict=True))


@pytest.mark.parametrize("name", SPACES)
def test_log_probability_entropy_and_divergence_are_torchs(name: str) -> None:
    head, ours, theirs = build(name)
    _, other, their_other = build(name, 7)
    action = ours.sample(noise(head, 2, 6))
    assert action.shape == (2, 6, *head.action[0])
    torch.testing.assert_close(ours.log_prob(action), each(theirs, "log_prob", action))
    torch.testing.assert_close(ours.entropy(), each(theirs, "entropy"))
    pairs = zip(theirs, their_other, strict=True) if name == "multi" else [(theirs, their_other)]
    expected = sum(td.kl_divergence(p, q) for p, q in pairs)
    torch.testing.assert_close(ours.kl(other), expected)  # type: ignore[arg-type]
    assert ours.kl(ours).abs().max() < 1e-12  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["discrete", "multi"])
def test_samples_come_in_proportion(name: str) -> None:
    head, ours, theirs = build(name)
    actions = torch.stack([ours.sample(n) for n in noise(head, 20_000, 2, 6)])
    parts = theirs if name == "multi" else [theirs]
    for d, part in enumerate(parts):
        own = actions[..., d] if name == "multi" else actions
        for a in range(part.logits.shape[-1]):
            share = (own == a).double().mean(0)
            torch.testing.assert_close(share, part.probs[..., a], atol=0.02, rtol=0)


def test_samples_of_a_gaussian_have_its_moments() -> None:
    head, ours, _ = build("box")
    actions = torch.stack([ours.sample(n) for n in noise(head, 20_000, 2, 6)])
    torch.testing.assert_close(actions.mean(0), ours.mean, atol=0.05, rtol=0)  # type: ignore
    std = ours.log_std.exp().expand(2, 6, 3)  # type: ignore[union-attr]
    torch.testing.assert_close(actions.std(0), std, atol=0.05, rtol=0)


def test_rounding_invents_no_action() -> None:
    head = action_head(spaces.Discrete(3))
    ours = head.build(torch.zeros(1, 1, 3), None)
    almost_one = torch.full((1, 1, 1), np.nextafter(np.float32(1), np.float32(0)))
    assert int(ours.sample(almost_one)) == 2 and int(ours.sample(0 * almost_one)) == 0


@pytest.mark.parametrize("name", SPACES)
def test_the_mode_is_the_likeliest(name: str) -> None:
    head, ours, _ = build(name)
    best = ours.log_prob(ours.mode())
    for n in noise(head, 50, 2, 6):
        assert (ours.log_prob(ours.sample(n)) <= best + 1e-12).all()


def test_what_has_no_distribution() -> None:
    for space in (spaces.Box(-1, 1, (2, 2)), spaces.MultiBinary(3)):
        with pytest.raises(ValueError, match="no distribution over"):
            action_head(space)
