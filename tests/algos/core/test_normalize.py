"""Running statistics against numpy over all that was seen."""

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.algos.core.normalize import ObservationNormalizer, RewardScaler, RunningMoments

CPU = torch.device("cpu")


def batches(n: int, *shape: int) -> list[Tensor]:
    draw = np.random.default_rng(0)
    return [torch.from_numpy(draw.normal(3, 5, size=shape).astype(np.float32)) for _ in range(n)]


def test_moments_of_batches_are_those_of_all_rows() -> None:
    moments, data = RunningMoments(2, (3,), CPU), batches(5, 2, 40, 3)
    weights = [torch.from_numpy(np.random.default_rng(i).random((2, 40)) < 0.7) for i in range(5)]
    weights[2][1] = False  # a seed without a row that counts
    for x, weight in zip(data, weights, strict=True):
        moments.add(x, weight)
    for k in range(2):
        rows = torch.cat([x[k][w[k]] for x, w in zip(data, weights, strict=True)]).double()
        torch.testing.assert_close(moments.mean[k], rows.mean(0))
        torch.testing.assert_close(moments.var[k], rows.var(0, correction=0))
        assert moments.count[k] == len(rows)


def test_observations_are_normalised_and_clipped() -> None:
    normalizer = ObservationNormalizer(2, (3,), CPU, clip=2.0)
    (x,) = batches(1, 2, 400, 3)
    torch.testing.assert_close(normalizer(x), x.clamp(-2, 2))  # nothing is known yet
    normalizer.add(x, torch.ones(2, 400))
    y = normalizer(x)
    expected = ((x - x.mean(1, True)) / x.std(1, correction=0, keepdim=True)).clamp(-2, 2)
    torch.testing.assert_close(y, expected, atol=1e-5, rtol=1e-5)
    assert y.abs().max() == 2
    before = normalizer.moments.mean.clone()
    normalizer(x + 100)
    assert torch.equal(normalizer.moments.mean, before)
    other = ObservationNormalizer(2, (3,), CPU, clip=2.0)
    other.load(normalizer.state())
    assert torch.equal(other(x), y)


def test_rewards_are_divided_by_the_deviation_of_the_return() -> None:
    scaler, gamma, n = RewardScaler(2, 3, 0.9, CPU), 0.9, 6
    draw = np.random.default_rng(0)
    running, returns = np.zeros((2, 3)), []
    for _ in range(4):
        reward = draw.normal(1, 4, size=(2, n, 3)).astype(np.float32)
        ended = draw.random((2, n, 3)) < 0.2
        for t in range(n):
            running = running * gamma + reward[:, t]
            returns.append(running.copy())
            running = np.where(ended[:, t], 0, running)
        ours = scaler(*map(torch.from_numpy, (reward, ended, np.ones_like(ended))))
        scale = np.std(returns, axis=(0, 2))
        np.testing.assert_allclose(scaler.scale, scale, rtol=1e-4)
        np.testing.assert_allclose(ours, reward / scale[:, None, None], rtol=1e-4)


@pytest.mark.parametrize("clip", [0.5, 10.0])
def test_scaled_rewards_are_clipped_and_keep_their_sign(clip: float) -> None:
    scaler = RewardScaler(1, 1, 0.0, CPU, clip)
    reward = torch.tensor([[[1.0], [-2.0], [300.0]]])
    ours = scaler(reward, torch.zeros(1, 3, 1).bool(), torch.ones(1, 3, 1).bool())
    assert ours.abs().max() <= clip and torch.equal(ours.sign(), reward.sign())
