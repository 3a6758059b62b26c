"""The sum tree and the samplers against plain arrays, over random sizes, priorities and gaps."""

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from prism.algos.core.agent import Step
from prism.algos.core.replay import ReplayBuffer as Replay
from prism.algos.core.samplers import Prioritized, SumTree, Uniform
from tests.helpers import examples

SPACE = spaces.Box(-1, 1, (1,), np.float32)
PRIORITIES = st.one_of(st.just(0.0), st.floats(1e-6, 1e6), st.sampled_from([1e-12, 1.0, 1e12]))
WHOLE = st.integers(0, 1000).map(float)  # sums of these are exact


def rows(k: int, size: int, elements: st.SearchStrategy[float]) -> st.SearchStrategy[np.ndarray]:
    return arrays(np.float64, (k, size), elements=elements, fill=st.just(0.0))


@st.composite
def trees(
    draw: st.DrawFn, elements: st.SearchStrategy[float] = PRIORITIES
) -> tuple[SumTree, np.ndarray]:
    """Draw a tree after several updates, and the array of leaves that it should have."""
    k, size = draw(st.integers(1, 3)), draw(st.integers(1, 400))
    tree, leaves = SumTree(k, size), np.zeros((k, size))
    for _ in range(draw(st.integers(1, 4))):
        places = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=40, unique=True))
        value = draw(rows(k, len(places), elements))
        tree.set(torch.tensor(places).expand(k, -1), torch.from_numpy(value.copy()))
        leaves[:, places] = value
    return tree, leaves


@examples(60)
@given(trees())
def test_totals_and_leaves_are_those_of_the_array(drawn: tuple[SumTree, np.ndarray]) -> None:
    tree, leaves = drawn
    k, size = leaves.shape
    assert tree.total().tolist() == pytest.approx(leaves.sum(1).tolist(), rel=1e-12)
    every = torch.arange(size).expand(k, -1)
    assert np.array_equal(tree.get(every).numpy(), leaves)
    # the order in which leaves were set leaves no trace in the sums
    fresh = SumTree(k, size)
    fresh.set(every, torch.from_numpy(leaves))
    assert all(torch.equal(a, b) for a, b in zip(tree.levels, fresh.levels, strict=True))


@examples(60)
@given(trees(), st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_a_mass_is_found_in_its_leaf(
    drawn: tuple[SumTree, np.ndarray], shares: list[float]
) -> None:
    """Also at the bounds 0 and the total; never in a leaf of zero."""
    tree, leaves = drawn
    assume((leaves.sum(1) > 0).all())
    mass = tree.total().unsqueeze(1) * torch.tensor([0.0, *shares, 1.0], dtype=torch.float64)
    found = tree.find(mass)
    assert (tree.get(found) > 0).all()
    for leaf, own, wanted in zip(leaves, found.numpy(), mass.numpy(), strict=True):
        ends = leaf.cumsum()
        slack = 1e-12 * ends[-1]
        assert (ends[own] - leaf[own] <= wanted + slack).all()
        assert (ends[own] >= wanted - slack).all()


@examples(60)
@given(trees(WHOLE), st.integers(1, 300), st.floats(0, 0.999))
def test_draws_are_proportional(
    drawn: tuple[SumTree, np.ndarray], count: int, offset: float
) -> None:
    """Of masses at equal distances, a leaf gets its share, rounded up or down."""
    tree, leaves = drawn
    assume((leaves.sum(1) > 0).all())
    even = (torch.arange(count, dtype=torch.float64) + offset) / count
    found = tree.find(even * tree.total().unsqueeze(1))
    for leaf, own in zip(leaves, found.numpy(), strict=True):
        drawn_times = np.bincount(own, minlength=len(leaf))
        share = leaf / leaf.sum() * count
        assert (np.abs(drawn_times - share) < 1 + 1e-6).all()


@st.composite
def gaps(draw: st.DrawFn) -> tuple[Replay, list[int]]:
    """Draw a buffer and how many ticks lie before each sample."""
    lanes, n = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    capacity = draw(st.integers(lanes, 40))
    shape = (draw(st.integers(1, 3)), lanes)
    buffer = Replay(*shape, SPACE, ((), np.int64), capacity, n, 0.9)
    gap = st.one_of(st.integers(1, 4), st.integers(1, 3 * buffer.rows))
    return buffer, draw(st.lists(gap, min_size=1, max_size=8))


def grow(buffer: Replay, ticks: int) -> None:
    zeros = torch.zeros(buffer.k, buffer.lanes)
    obs, no = zeros.unsqueeze(2), zeros.bool()
    for _ in range(ticks):
        buffer.add(Step(obs, obs, zeros.long(), zeros, no, no, ~no, {}))


@examples(30)
@given(gaps(), st.sampled_from([0.0, 0.5, 1.0]), st.data())
def test_priorities_follow_the_buffer(
    drawn: tuple[Replay, list[int]], alpha: float, data: st.DataObject
) -> None:
    """A start that can be sampled has a leaf: its last priority, else the largest so far."""
    buffer, ticks = drawn
    k, batch = buffer.k, 8
    sampler = Prioritized(buffer, list(range(k)), batch, alpha)
    known: list[dict[int, float]] = [{} for _ in range(k)]  # running number of a start -> leaf
    largest = [1.0] * k
    for gap in ticks:
        grow(buffer, gap)
        if not len(buffer):
            continue
        index, weight = sampler.sample(0.4)
        starts = range(buffer.oldest, buffer.oldest + len(buffer))
        place_of = {start % buffer.size: start for start in starts}
        leaves = np.zeros((k, sampler.tree.levels[0].shape[1]))
        for seed in range(k):
            known[seed] = {s: known[seed].get(s, largest[seed]) for s in starts}
            for start, value in known[seed].items():
                leaves[seed, start % buffer.size] = value
        np.testing.assert_allclose(sampler.tree.levels[0].numpy(), leaves, rtol=1e-12)
        assert set(index.flatten().tolist()) <= set(place_of)
        for seed in range(k):  # one draw from each of ``batch`` equal parts of the mass
            share = leaves[seed] / leaves[seed].sum()
            times = np.bincount(index[seed].numpy(), minlength=len(share))
            assert (np.abs(times - share * batch) < 2 + 1e-6).all()
            unscaled = (share[index[seed].numpy()] * len(buffer)) ** -0.4
            wanted = torch.from_numpy(unscaled / unscaled.max()).float()
            torch.testing.assert_close(weight[seed], wanted, rtol=1e-5, atol=0)
        priority = torch.from_numpy(data.draw(rows(k, buffer.size, st.floats(0, 100)))).float()
        own = priority.gather(1, index)  # a start drawn twice gets one priority
        sampler.update(index, own)
        for seed in range(k):
            for place, value in zip(index[seed].tolist(), own[seed].tolist(), strict=True):
                raised = (value + sampler.eps) ** alpha
                known[seed][place_of[place]] = raised
                largest[seed] = max(largest[seed], raised)


@examples(40)
@given(gaps(), st.sampled_from(["uniform", "prioritized"]))
def test_a_seed_draws_the_same_in_any_company(drawn: tuple[Replay, list[int]], kind: str) -> None:
    buffer, ticks = drawn
    capacity, k = (buffer.rows - buffer.n_step) * buffer.lanes, buffer.k
    shape = (buffer.lanes, SPACE, ((), np.int64), capacity, buffer.n_step, 0.9)
    buffers = [buffer, *(Replay(1, *shape) for _ in range(k))]
    seeds = [list(range(k)), *([seed] for seed in range(k))]
    samplers = [
        Uniform(own, of, 4) if kind == "uniform" else Prioritized(own, of, 4, 0.6)
        for own, of in zip(buffers, seeds, strict=True)
    ]
    for gap in ticks:
        for own in buffers:
            grow(own, gap)
        if not len(buffer):
            continue
        (index, weight), *alone = [sampler.sample(0.4) for sampler in samplers]
        for seed, (i, w) in enumerate(alone):
            assert torch.equal(index[seed : seed + 1], i) and torch.equal(
                weight[seed : seed + 1], w
            )
        for sampler, (i, _) in zip(samplers, [(index, weight), *alone], strict=True):
            sampler.update(i, i.float().add(1).sqrt())
