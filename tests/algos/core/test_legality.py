"""Masks behind observations, and policies over what is legal, against brute force in float64."""

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Spec
from prism.algos.core.distributions import (
    action_head,
    inverse_cdf,
    inverse_cdf_of_possible,
)
from prism.algos.core.explore import Boltzmann, EpsilonGreedy, Greedy
from prism.algos.core.legality import Legality, barred
from tests.helpers import SEEDS

A = 4
MASKS = torch.tensor([m for m in itertools.product([False, True], repeat=A) if any(m)])
VECTOR = spaces.Box(-np.ones(7, np.float32), np.ones(7, np.float32))
IMAGE: spaces.Box = spaces.Box(0, 1, (3, 2, 5), np.bool_)  # type: ignore[arg-type]


def draws(*size: int) -> Tensor:
    """Return uniform numbers in [0, 1)."""
    return torch.from_numpy(np.random.default_rng(0).random(size, np.float32))


def told(legality: Legality, obs: Tensor) -> Tensor:
    mask = legality.mask(obs)
    assert mask is not None
    return mask


def logits(seed: int) -> Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(size=(len(MASKS), A)) * 3)


def test_a_mask_behind_a_vector() -> None:
    legality, obs = (
        Legality.of(Spec(VECTOR, spaces.Discrete(A), 1, legal=A), "use"),
        draws(2, 5, 7),
    )
    obs[..., 3:] = (obs[..., 3:] > 0.5).float()
    assert legality.space(VECTOR).shape == (3,)
    assert torch.equal(legality.plain(obs), obs[..., :3])
    mask = legality.mask(obs)
    assert mask is not None and torch.equal(mask, obs[..., 3:] == 1)
    again = legality.renewed(obs, legality.plain(obs) * 2)
    assert torch.equal(again[..., :3], obs[..., :3] * 2) and torch.equal(
        told(legality, again), mask
    )
    ignoring = replace(legality, used=False)
    assert ignoring.mask(obs) is None and torch.equal(ignoring.plain(obs), obs[..., :3])


def test_a_mask_in_the_last_plane_of_an_image() -> None:
    legality = Legality.of(Spec(IMAGE, spaces.Discrete(7), 1, legal=7), "use")
    obs = draws(2, 5, 3, 2, 5) > 0.5
    assert legality.space(IMAGE).shape == (2, 2, 5) and legality.space(IMAGE).dtype == np.bool_
    assert torch.equal(legality.plain(obs), obs[:, :, :2])
    mask = legality.mask(obs)
    assert mask is not None and torch.equal(mask, obs[:, :, 2].flatten(2)[..., :7])
    again = legality.renewed(obs, legality.plain(obs).float())
    assert torch.equal(told(legality, again), mask) and again.shape == obs.shape


def test_without_masks_nothing_is_copied() -> None:
    legality, obs = Legality.of(Spec(VECTOR, spaces.Discrete(A), 1), "use"), draws(2, 5, 7)
    assert legality.plain(obs) is obs and legality.mask(obs) is None
    assert legality.space(VECTOR) is VECTOR and barred(obs, None) is obs


def test_a_masked_policy_is_the_policy_over_its_legal_actions() -> None:
    """Log-probability, entropy, KL and all their gradients; one legal action is no special case."""
    head = action_head(spaces.Discrete(A), masked=True)
    x, y = (logits(s).requires_grad_() for s in (0, 1))
    p, q = (head.build(barred(z, MASKS), None) for z in (x, y))
    ours: dict[str, Tensor] = {"entropy": p.entropy(), "kl": p.kl(q)}  # type: ignore[arg-type]
    for row, mask in enumerate(MASKS):
        legal = mask.nonzero()[:, 0]
        lp, lq = (z[row, legal].log_softmax(-1) for z in (x, y))
        brute = {"entropy": -(lp.exp() * lp).sum(), "kl": (lp.exp() * (lp - lq)).sum()}
        for name, value in brute.items():
            torch.testing.assert_close(ours[name][row], value, rtol=1e-12, atol=1e-12)
            mine, theirs = (
                torch.autograd.grad(z, [x, y], retain_graph=True, materialize_grads=True)
                for z in (ours[name][row], value)
            )
            for a, b in zip(mine, theirs, strict=True):
                torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)
        probability = p.log_p[row].exp()  # type: ignore[union-attr]
        assert torch.equal(probability[~mask], torch.zeros(int((~mask).sum())).double())
        for i, action in enumerate(legal):
            log_prob = p.log_prob(action.expand(len(MASKS)))[row]
            torch.testing.assert_close(log_prob, lp[i], rtol=1e-12, atol=1e-12)


def test_second_derivatives_of_the_kl_are_finite() -> None:
    """The Fisher products of a trust region."""
    head = action_head(spaces.Discrete(A), masked=True)
    x = logits(0).requires_grad_()
    p = head.build(barred(x, MASKS), None)
    kl = head.build(barred(x, MASKS), None).detach().kl(p)  # type: ignore[arg-type]
    (slope,) = torch.autograd.grad(kl.sum(), x, create_graph=True)
    (product,) = torch.autograd.grad((slope * logits(2)).sum(), x)
    prob = p.log_p.exp().detach()  # type: ignore[union-attr]
    fisher = torch.diag_embed(prob) - prob.unsqueeze(-1) * prob.unsqueeze(-2)
    torch.testing.assert_close(product, (fisher @ logits(2).unsqueeze(-1)).squeeze(-1))


def test_several_numbers_are_masked_each() -> None:
    head = action_head(spaces.MultiDiscrete([2, 2]), masked=True)
    mask = torch.tensor([True, False, False, True])
    p = head.build(barred(torch.zeros(50, 4), mask), None)
    assert torch.equal(p.sample(draws(50, 2)), torch.tensor([0, 1]).expand(50, 2))
    assert torch.equal(p.mode(), torch.tensor([0, 1]).expand(50, 2)) and not p.entropy().any()


def test_rounding_takes_no_illegal_action() -> None:
    """The probabilities of three actions sum to less than the largest draw; the last one is not."""
    p = torch.tensor([0.3, 0.3, 0.4 - 3e-7, 0.0])
    u = torch.tensor([1 - 2.0**-24])
    assert p.sum() < u and int(inverse_cdf(p, u)) == 3
    assert int(inverse_cdf_of_possible(p, u)) == 2
    first = torch.tensor([0.0, 1.0, 0.0])
    assert int(inverse_cdf_of_possible(first, torch.zeros(1))) == 1


def test_samples_follow_the_legal_probabilities() -> None:
    head, n = action_head(spaces.Discrete(A), masked=True), 20_000
    x = barred(torch.tensor([1.0, 0.0, 2.0, 0.5]), torch.tensor([True, False, True, True]))
    p = head.build(x.expand(n, A), None)
    u = (torch.arange(n).unsqueeze(-1) + 0.5) / n
    share = torch.bincount(p.sample(u), minlength=A) / n
    torch.testing.assert_close(share, x.softmax(-1), atol=1e-4, rtol=0)
    # where every action is possible, it is the plain one
    plain = draws(n, A).softmax(-1)
    assert torch.equal(inverse_cdf_of_possible(plain, u * 0.999), inverse_cdf(plain, u * 0.999))


Q = torch.tensor([[0.3, 0.9, 0.1, 0.8]] * len(MASKS)).unsqueeze(0)


@pytest.mark.parametrize("kind", ["epsilon_greedy", "boltzmann", "greedy"])
def test_behaviour_takes_what_is_legal(kind: str) -> None:
    n, k = len(MASKS), len(SEEDS)
    acts: dict[str, Any] = {
        "epsilon_greedy": EpsilonGreedy(SEEDS, n, A, masked=True),
        "boltzmann": Boltzmann(SEEDS, n),
        "greedy": Greedy(),
    }
    legal = MASKS.expand(k, n, A)
    values = barred(Q.expand(k, n, A), legal)
    counts = torch.zeros(k, n, A)
    for _ in range(300):
        action = acts[kind](lambda: values, 0.5, legal)
        assert legal.gather(-1, action.unsqueeze(-1)).all()
        counts.scatter_add_(-1, action.unsqueeze(-1), torch.ones(k, n, 1))
    best = torch.nn.functional.one_hot(values.argmax(-1), A)
    uniform = legal / legal.sum(-1, keepdim=True)
    expected = {
        "epsilon_greedy": 0.5 * best + 0.5 * uniform,
        "boltzmann": (values / 0.5).softmax(-1),
        "greedy": best.float(),
    }[kind]
    torch.testing.assert_close(counts.mean(0) / 300, expected.mean(0), atol=0.06, rtol=0)


def test_epsilon_greedy_among_all_is_the_plain_one() -> None:
    plain, masked = (EpsilonGreedy(SEEDS, 5, A, masked=m) for m in (False, True))
    q, legal = draws(len(SEEDS), 5, A), torch.ones(len(SEEDS), 5, A, dtype=torch.bool)
    for _ in range(200):
        assert torch.equal(plain(lambda: q, 0.5), masked(lambda: q, 0.5, legal))
