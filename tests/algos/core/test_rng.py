"""Streams: a seed's draws depend on (seed, purpose) and on nothing else."""

import numpy as np
import pytest
import torch

from prism.algos.core import rng
from prism.algos.core.rng import RandomStream, generator
from tests.helpers import SEEDS


def take(draws: RandomStream, n: int) -> torch.Tensor:
    return torch.stack([draws() for _ in range(n)], 1)  # [K, n, *shape]


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("shape", [(), (3,), (5, 2)])
def test_draws_do_not_depend_on_the_company(kind: str, shape: tuple[int, ...]) -> None:
    together = take(RandomStream(SEEDS, "noise", shape, kind), 50)
    for k, seed in enumerate(SEEDS):
        assert torch.equal(
            together[k : k + 1], take(RandomStream([seed], "noise", shape, kind), 50)
        )


def test_draws_of_two_seeds_or_two_purposes_differ() -> None:
    many = take(RandomStream(range(20), "act", (4,)), 8).flatten(1)
    assert len(torch.unique(many, dim=0)) == 20
    streams = [take(RandomStream([0], p, (4,)), 8) for p in ("act", "replay", "noise", "coin")]
    streams += [take(RandomStream([(0, i)], "act", (4,)), 8) for i in range(3)]
    assert len(torch.unique(torch.cat(streams).flatten(1), dim=0)) == 7


def test_blocks_of_a_stream_differ_and_follow_one_another(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rng, "_BLOCK_VALUES", 8)
    draws = RandomStream([1, 2], "act", (2,))
    assert draws.per_block == 4
    values = take(draws, 12)
    for b in range(3):
        for k, seed in enumerate((1, 2)):
            expected = generator(seed, "act", block=b).random((4, 2), np.float32)
            assert np.array_equal(values[k, 4 * b : 4 * b + 4], expected)
    assert len(torch.unique(values.flatten())) == values.numel()


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_state_continues_from_anywhere(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rng, "_BLOCK_VALUES", 10)
    for count in (0, 1, 4, 5, 6, 10, 13):
        whole = RandomStream(SEEDS, "act", (2,), kind)
        take(whole, count) if count else None
        state = dict(whole.state())
        other = RandomStream(SEEDS, "act", (2,), kind)
        other()  # a used one
        other.load(state)
        assert torch.equal(take(other, 12), take(whole, 12))


@pytest.mark.parametrize("kind", ["uniform", "normal"])
def test_how_much_is_held_changes_nothing(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rng, "_BLOCK_VALUES", 20)
    whole = take(RandomStream(SEEDS, "act", (2,), kind), 34)
    for most in (1, 18, 24, 42):  # of three seeds: one to seven draws at once
        monkeypatch.setattr(rng, "_HELD_VALUES", most)
        assert torch.equal(take(RandomStream(SEEDS, "act", (2,), kind), 34), whole)
        for count in (0, 1, 7, 10, 11, 20):
            used = RandomStream(SEEDS, "act", (2,), kind)
            take(used, count) if count else None
            other = RandomStream(SEEDS, "act", (2,), kind)
            other.load(used.state())
            assert torch.equal(take(other, 14), whole[:, count : count + 14])


def test_draws_have_their_distribution() -> None:
    uniform = take(RandomStream([5], "u", (100,)), 400)
    assert uniform.min() >= 0 and uniform.max() < 1
    assert float(uniform.mean()) == pytest.approx(0.5, abs=0.005)
    assert float(uniform.var()) == pytest.approx(1 / 12, abs=0.002)
    normal = take(RandomStream([5], "n", (100,), "normal"), 400)
    assert float(normal.mean()) == pytest.approx(0, abs=0.02)
    assert float(normal.var()) == pytest.approx(1, abs=0.03)
    a, b = take(RandomStream([5, 6], "n", (100,), "normal"), 400)
    assert abs(float((a * b).mean())) < 0.02  # neighbouring seeds are not correlated


def test_a_draw_may_be_wider_than_a_block() -> None:
    draws = RandomStream([3], "dropout", (40_000,))
    a, b = draws(), draws()
    assert a.shape == (1, 40_000) and not torch.equal(a, b)


def test_generators_split_by_every_part_of_their_key() -> None:
    keys = [(0, "env", ()), (0, "env", (0,)), (0, "env", (1,)), (1, "env", ()), (0, "eval", ())]
    first = [generator(s, p, *key).integers(2**62) for s, p, key in keys]
    first.append(generator(0, "env", block=1).integers(2**62))
    assert len(set(first)) == len(first)
