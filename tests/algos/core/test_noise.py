"""Exploration noise: its moments, its inertia, where it forgets, and its streams."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from prism.algos.core.noise import Gaussian, Noise, NoNoise, OrnsteinUhlenbeck, Warmup
from tests.helpers import CPU, copied

SEEDS, GRID = (3, 11, 42), (2, 2)
NOBODY = torch.zeros(3, 2, dtype=torch.bool)
ORIGIN = torch.zeros(3, *GRID)

KINDS: dict[str, Callable[[tuple[int, ...]], Noise]] = {
    "gaussian": lambda seeds: Gaussian(seeds, GRID, 0.1, CPU),
    "ornstein_uhlenbeck": lambda seeds: OrnsteinUhlenbeck(seeds, GRID, 0.2, 0.5, 0.1, CPU),
    "none": lambda seeds: NoNoise(),
}


def track(noise: Noise, ticks: int) -> Tensor:
    out = []
    for _ in range(ticks):
        out.append(noise(ORIGIN))
        noise.restart(NOBODY)
    return torch.stack(out)


def test_gaussian_noise_has_its_std_and_no_memory() -> None:
    x = track(KINDS["gaussian"](SEEDS), 4000)
    assert x.std().item() == pytest.approx(0.1, rel=0.02) and abs(x.mean().item()) < 2e-3
    assert abs((x[1:] * x[:-1]).mean().item()) < 2e-4


def test_ornstein_uhlenbeck_follows_its_recursion_and_its_stationary_law() -> None:
    noise = OrnsteinUhlenbeck(SEEDS, GRID, 0.2, 0.5, 0.1, CPU)
    twin = OrnsteinUhlenbeck(SEEDS, GRID, 0.2, 0.5, 0.1, CPU)
    x, previous = track(noise, 20_000), torch.zeros(3, *GRID)
    for i in range(50):
        previous = previous - 0.5 * previous * 0.1 + 0.2 * math.sqrt(0.1) * twin.draws()
        torch.testing.assert_close(x[i], previous)
    keep = 1 - 0.5 * 0.1  # an AR(1) process
    std = 0.2 * math.sqrt(0.1) / math.sqrt(1 - keep**2)
    late = x[500:].flatten(1)
    assert late.std().item() == pytest.approx(std, rel=0.05)
    correlation = (late[1:] * late[:-1]).mean() / late.square().mean()
    assert correlation.item() == pytest.approx(keep, abs=0.01)


def test_inertia_ends_with_the_episode_of_its_lane_alone() -> None:
    noise = OrnsteinUhlenbeck(SEEDS, GRID, 0.2, 0.5, 0.1, CPU)
    track(noise, 10)
    before, ended = noise.x.clone(), NOBODY.clone()
    ended[1, 0] = True
    noise.restart(ended)
    assert not noise.x[1, 0].any()
    assert torch.equal(noise.x[~ended], before[~ended])


@pytest.mark.parametrize("kind", KINDS)
def test_noise_stays_in_the_box_and_follows_the_seed(kind: str) -> None:
    edge = torch.full((3, *GRID), 0.99)
    together, alone = KINDS[kind](SEEDS), KINDS[kind]((11,))
    for _ in range(200):
        x = together(edge)
        assert torch.equal(x[1:2], alone(edge[1:2])) and x.abs().max() <= 1
        together.restart(NOBODY)
        alone.restart(NOBODY[1:2])
    if kind != "none":
        assert not torch.equal(x[0], x[1]) and not torch.equal(x[0], edge[0])


@pytest.mark.parametrize("kind", KINDS)
def test_state_and_load_continue(kind: str) -> None:
    noise, other = KINDS[kind](SEEDS), KINDS[kind](SEEDS)
    track(noise, 17)
    other.load(copied(noise.state()))
    assert torch.equal(track(noise, 30), track(other, 30))


def test_the_warm_up_is_uniform_and_ends() -> None:
    warmup = Warmup(SEEDS, GRID, 3000, CPU)
    draws = [warmup(step) for step in range(3000)]
    x = torch.stack([d for d in draws if d is not None])
    assert len(x) == 3000 and x.min() >= 0 and x.max() <= 1
    counts = torch.histc(x, 10, 0, 1) / x.numel()
    assert (counts - 0.1).abs().max() < 0.005
    assert warmup(3000) is None


def test_ornstein_uhlenbeck_forgets_what_is_not_finite() -> None:
    noise = OrnsteinUhlenbeck(SEEDS, GRID, 0.2, 0.5, 0.1, CPU)
    noise.x[0] = torch.inf
    noise.x[1, 0] = torch.nan
    noise.restart(~NOBODY)
    assert torch.equal(noise.x, ORIGIN)
