"""Returns and advantages against sums written out step by step, in float64."""

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.algos.formulas import advantages

T, N = 9, 5
GAMMA = 0.9


class Rows:
    """Random rows of N lanes with terminations and truncations inside."""

    def __init__(self, seed: int = 0, ends: float = 0.3) -> None:
        draw = np.random.default_rng(seed)
        self.r, self.v, self.v_next = torch.from_numpy(draw.normal(size=(3, T, N)))
        ended = torch.from_numpy(draw.random((T, N)) < ends)
        self.terminated = ended & torch.from_numpy(draw.random((T, N)) < 0.5)
        self.ended = ended
        self.discount = GAMMA * (~self.terminated).double()
        self.carry = GAMMA * (~ended).double()


def errors(rows: Rows) -> Tensor:
    return rows.r + rows.discount * rows.v_next - rows.v


@pytest.mark.parametrize("lambda_", [0.0, 0.7, 0.95, 1.0])
@pytest.mark.parametrize("ends", [0.0, 0.3, 1.0])
def test_gae_is_the_weighted_sum_of_errors_within_the_episode(lambda_: float, ends: float) -> None:
    rows = Rows(ends=ends)
    delta = errors(rows)
    expected = torch.zeros(T, N).double()
    for t in range(T):
        for n in range(N):
            for k in range(t, T):  # equation 16, cut where the episode ended
                expected[t, n] += (GAMMA * lambda_) ** (k - t) * delta[k, n]
                if rows.ended[k, n]:
                    break
    ours = advantages.gae(rows.r, rows.v, rows.v_next, rows.discount, rows.carry, lambda_)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)
    assert ours.dtype == torch.float64


def test_returns_are_the_longest_n_step_returns() -> None:
    rows = Rows(1)
    expected = torch.zeros(T, N).double()
    for t in range(T):
        for n in range(N):
            for k in range(t, T):
                expected[t, n] += GAMMA ** (k - t) * rows.r[k, n]
                if rows.ended[k, n] or k == T - 1:
                    value = 0.0 if rows.terminated[k, n] else GAMMA * rows.v_next[k, n]
                    expected[t, n] += GAMMA ** (k - t) * value
                    break
    ours = advantages.returns(rows.r, rows.v_next, rows.discount, rows.carry)
    torch.testing.assert_close(ours, expected, rtol=1e-12, atol=1e-12)


def test_gae_of_lambda_one_is_the_return_less_the_value_where_values_agree() -> None:
    """Inside an episode the successor's value is the next row's own value."""
    rows = Rows(2)
    inside = ~rows.ended[:-1]
    rows.v_next[:-1] = torch.where(inside, rows.v[1:], rows.v_next[:-1])
    gae = advantages.gae(rows.r, rows.v, rows.v_next, rows.discount, rows.carry, 1.0)
    returns = advantages.returns(rows.r, rows.v_next, rows.discount, rows.carry)
    torch.testing.assert_close(gae, returns - rows.v, rtol=1e-12, atol=1e-12)


def test_a_truncation_bootstraps_and_a_termination_does_not() -> None:
    r, v = torch.ones(2, 1).double(), torch.tensor([[10.0], [20.0]]).double()
    carry = torch.zeros(2, 1).double()
    for discount, expected in ((torch.full_like(r, GAMMA), 1 + GAMMA * v), (0 * r, r)):
        torch.testing.assert_close(advantages.returns(r, v, discount, carry), expected)
        gae = advantages.gae(r, 0 * v, v, discount, carry, 0.95)
        torch.testing.assert_close(gae, expected)


def test_age_counts_from_the_episodes_start() -> None:
    carry = torch.tensor([1.0, 1, 0, 1, 0, 0, 1]).unsqueeze(1)
    assert advantages.age(carry).squeeze(1).tolist() == [0, 1, 2, 0, 1, 0, 0]


def test_standardise() -> None:
    x = torch.from_numpy(np.random.default_rng(0).normal(3, 7, size=(4, 50)))
    torch.testing.assert_close(
        advantages.standardise(x), (x - x.mean(1, True)) / (x.std(1, keepdim=True) + 1e-8)
    )


@pytest.mark.parametrize("rows", [2, 7, 8, 128, 1000])
def test_a_constant_batch_is_standardised_to_zeros(rows: int) -> None:
    """Whatever rounding makes of the mean of float32 numbers."""
    value = torch.from_numpy(np.random.default_rng(0).normal(scale=100, size=(5000, 1))).float()
    x = value.expand(-1, rows)
    centred = x - x.mean(-1, keepdim=True)
    assert rows == 2 or (centred != 0).any()  # the case that this is for
    assert not advantages.standardise(x).any()
    for std in ("population", "sample", None):
        assert not advantages.group_advantages(x, std).any()


def test_the_deviation_of_a_group_is_the_populations_or_the_samples() -> None:
    score = torch.tensor([[1.0, 2.0, 3.0, 6.0], [1e-30, 2e-30, 3e-30, 6e-30]]).double()
    for std, correction in (("population", 0), ("sample", 1)):
        expected = (score - score.mean(1, True)) / score.std(1, correction=correction, keepdim=True)
        torch.testing.assert_close(advantages.group_advantages(score, std), expected)
    centred = advantages.group_advantages(score, None)
    torch.testing.assert_close(centred, score - score.mean(1, True))


def test_group_advantages_are_invariant_and_sum_to_zero() -> None:
    score = torch.from_numpy(np.random.default_rng(0).normal(size=(3, 6, 8)))
    ours = advantages.group_advantages(score)
    by_hand = np.array([(g - g.mean()) / g.std() for g in score.view(-1, 8).numpy()])
    np.testing.assert_allclose(ours.view(-1, 8), by_hand, rtol=1e-12)
    torch.testing.assert_close(ours.sum(-1), torch.zeros(3, 6).double(), atol=1e-12, rtol=0)
    torch.testing.assert_close(advantages.group_advantages(score * 3 - 7), ours)
    torch.testing.assert_close(advantages.group_advantages(score * -2), -ours)


@pytest.mark.parametrize("value", [0.0, 0.1, -500.0, 1e-30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_group_of_equal_outcomes_says_nothing(value: float, dtype: torch.dtype) -> None:
    assert not advantages.group_advantages(torch.full((2, 7), value, dtype=dtype)).any()


def test_explained_variance_by_numpy() -> None:
    rng = np.random.default_rng(0)
    target, predicted = rng.normal(3, 2, (4, 50)), rng.normal(3, 1, (4, 50))
    predicted[1] = target[1]
    predicted[2] = target[2].mean()
    weight = rng.integers(0, 2, (4, 50)).astype(float)
    for w in (None, weight):
        rows = [np.full(50, True) if w is None else w[k] > 0 for k in range(4)]
        expected = [
            1 - np.var((target - predicted)[k, r]) / np.var(target[k, r])
            for k, r in enumerate(rows)
        ]
        args = [torch.from_numpy(x) for x in (predicted, target)]
        got = advantages.explained_variance(*args, None if w is None else torch.from_numpy(w))
        np.testing.assert_allclose(got, expected, rtol=1e-10, atol=1e-12)
    assert advantages.explained_variance(*args)[1] == 1
    same = torch.full((2, 30), 0.1)
    assert advantages.explained_variance(torch.linspace(0, 1, 60).view(2, 30), same).tolist() == [
        0.0,
        0.0,
    ]
