"""Samplers against brute force and against exact frequencies, with fixed streams."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy.stats import chisquare
from torch import Tensor

from prism.algos.core.agent import Step
from prism.algos.core.replay import ReplayBuffer
from prism.algos.core.samplers import _FAN, Prioritized, SumTree, Uniform
from tests.helpers import SEEDS, copied

SPACE = spaces.Box(-1, 1, (1,), np.float32)
K = len(SEEDS)


def buffer_of(k: int = K, lanes: int = 2, capacity: int = 30, n: int = 2) -> ReplayBuffer:
    return ReplayBuffer(k, lanes, SPACE, ((), np.int64), capacity, n, 0.9)


def grow(buffer: ReplayBuffer, ticks: int = 1, reward: Tensor | None = None) -> None:
    zeros = torch.zeros(buffer.k, buffer.lanes)
    obs, no = zeros.unsqueeze(2), zeros.bool()
    for _ in range(ticks):
        rewards = zeros if reward is None else reward
        buffer.add(Step(obs, obs, zeros.long(), rewards, ~no, no, ~no, {}))


def priorities(index: Tensor, salt: int) -> Tensor:
    """Return a made-up priority per place, the same for a seed in any company."""
    k = torch.arange(len(index)).unsqueeze(1)
    return ((index * 7 + k * 3 + salt) % 11).float() / 2


class Mirror:
    """The leaves that a prioritised sampler should have: one dict per seed, start -> p^alpha."""

    def __init__(self, sampler: Prioritized) -> None:
        self.sampler, self.buffer = sampler, sampler.buffer
        self.leaves: list[dict[int, float]] = [{} for _ in range(self.buffer.k)]
        self.largest = [1.0] * self.buffer.k

    def sample(self) -> tuple[Tensor, Tensor]:
        first, end = self.buffer.oldest, self.buffer.oldest + len(self.buffer)
        for k, leaves in enumerate(self.leaves):
            for start in range(first, end):
                leaves.setdefault(start, self.largest[k])
            self.leaves[k] = {s: p for s, p in leaves.items() if first <= s < end}
        return self.sampler.sample(0.4)

    def update(self, index: Tensor, priority: Tensor) -> None:
        self.sampler.update(index, priority)
        for k, leaves in enumerate(self.leaves):
            start_of = {s % self.buffer.size: s for s in leaves}
            for i, p in zip(index[k].tolist(), priority[k].tolist(), strict=True):
                leaves[start_of[i]] = (p + self.sampler.eps) ** self.sampler.alpha
                self.largest[k] = max(self.largest[k], leaves[start_of[i]])

    def expected(self) -> Tensor:
        leaves = torch.zeros_like(self.sampler.tree.levels[0])
        for k, mine in enumerate(self.leaves):
            for start, p in mine.items():
                leaves[k, start % self.buffer.size] = p
        return leaves


def test_sum_tree_equals_brute_force() -> None:
    rng = np.random.default_rng(0)
    for size in (1, 5, 16, 17, 300, 5000):
        tree, leaves = SumTree(2, size), np.zeros((2, size))
        for _ in range(20):
            some = min(size, 9)
            places = [rng.choice(size, some, replace=False) for _ in range(2)]
            index = torch.from_numpy(np.stack(places))
            value = torch.from_numpy(rng.exponential(size=(2, some)))
            value *= torch.from_numpy(rng.random((2, some)) < 0.7)  # some leaves are zero
            tree.set(index, value)
            for k in range(2):
                leaves[k, index[k].numpy()] = value[k].numpy()
        assert np.array_equal(tree.levels[0][:, :size].numpy(), leaves)
        assert not tree.levels[0][:, size:].any()
        for below, above in zip(tree.levels, tree.levels[1:], strict=False):
            groups = below.unflatten(1, (-1, _FAN)).sum(-1)
            torch.testing.assert_close(above[:, : groups.shape[1]], groups, rtol=1e-14, atol=0)
        assert tree.total().tolist() == pytest.approx(leaves.sum(1).tolist(), rel=1e-12)
        mass = torch.from_numpy(rng.random((2, 200))) * tree.total().unsqueeze(1)
        leaf = tree.find(mass).numpy()
        for k in range(2):
            bounds = leaves[k].cumsum()
            exact = np.searchsorted(bounds, mass[k].numpy(), side="right")
            near = np.abs(bounds[np.minimum(exact, size - 1)] - mass[k].numpy()) < 1e-9
            assert ((leaf[k] == exact) | near).all()


def test_leaves_of_zero_are_never_drawn() -> None:
    tree = SumTree(1, 1000)
    index = torch.arange(0, 1000, 7).unsqueeze(0)
    tree.set(index, torch.full(index.shape, 1e-3, dtype=torch.float64))
    tree.set(torch.tensor([[0, 994]]), torch.zeros(1, 2, dtype=torch.float64))
    total = float(tree.total())
    edges = torch.tensor([[0.0, total, total * (1 + 1e-12), total / 2, 1e-3, 2e-3]]).double()
    mass = torch.cat([edges, torch.linspace(0, total, 5000).double().unsqueeze(0)], 1)
    assert (tree.get(tree.find(mass)) > 0).all()


@pytest.mark.parametrize("alpha", [0.0, 0.5, 1.0])
def test_frequencies_are_proportional_to_priority_to_the_alpha(alpha: float) -> None:
    buffer = buffer_of(capacity=12, n=1)
    grow(buffer, 6)
    sampler = Prioritized(buffer, SEEDS, 32, alpha)
    sampler.sample(0.0)
    index = torch.arange(12).expand(K, -1)
    priority = priorities(index, 1) + 0.5
    sampler.update(index, priority)
    places = torch.cat([sampler.sample(0.0)[0] for _ in range(600)], 1)
    exact = (priority.double() + sampler.eps) ** alpha
    exact = exact / exact.sum(1, keepdim=True)
    for k in range(K):
        counts = torch.bincount(places[k], minlength=buffer.size)
        assert not counts[12:].any()
        # stratified draws vary less than independent ones: the test can only be conservative
        assert chisquare(counts[:12], exact[k] * places.shape[1]).pvalue > 0.05
        wrong = (priority[k].double() + 1) ** (alpha + 0.3)
        assert chisquare(counts[:12], wrong / wrong.sum() * places.shape[1]).pvalue < 0.01


def test_draws_are_stratified() -> None:
    buffer = buffer_of(capacity=64, lanes=1, n=1)
    grow(buffer, 64)
    sampler = Prioritized(buffer, SEEDS, 8, 1.0)
    index, _ = sampler.sample(0.0)  # 64 equal leaves: one draw from every 8 of them
    assert (index // 8 == torch.arange(8)).all()


def test_weights_are_schauls() -> None:
    buffer = buffer_of(capacity=12, n=1)
    grow(buffer, 6)
    sampler = Prioritized(buffer, SEEDS, 32, 0.7)
    sampler.sample(0.0)
    index = torch.arange(12).expand(K, -1)
    sampler.update(index, priorities(index, 1) + 0.1)
    leaves = sampler.tree.levels[0][:, :12].clone()
    probability = leaves / leaves.sum(1, keepdim=True)
    for beta in (0.0, 0.4, 1.0):
        index, weight = sampler.sample(beta)
        exact = (12 * probability.gather(1, index)) ** -beta
        exact = exact / exact.amax(1, keepdim=True)
        torch.testing.assert_close(weight.double(), exact, rtol=1e-6, atol=0)
        assert (weight.amax(1) == 1).all() and weight.min() > 0
        assert (weight == 1).all() == (beta == 0)


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("n", [1, 3])
def test_leaves_follow_the_ring(lanes: int, n: int) -> None:
    """Across gaps between samples of any length, a wrap or several included."""
    buffer = buffer_of(lanes=lanes, capacity=20 * lanes, n=n)
    mirror = Mirror(Prioritized(buffer, SEEDS, 8, 0.5))
    for i, gap in enumerate((n, 1, 1, 7, 12, 1, 1, 19, 20, 21, 1, 22, 23, 24, 45, 2, 100, 1, 3)):
        grow(buffer, gap)
        index, _ = mirror.sample()
        torch.testing.assert_close(mirror.sampler.tree.levels[0], mirror.expected())
        first, end = buffer.oldest, buffer.oldest + len(buffer)
        allowed = {s % buffer.size for s in range(first, end)}
        assert set(index.flatten().tolist()) <= allowed
        mirror.update(index, priorities(index, i) * (1 + i))
        torch.testing.assert_close(mirror.sampler.tree.levels[0], mirror.expected())
        assert mirror.sampler.largest.flatten().tolist() == pytest.approx(mirror.largest)


def test_new_starts_get_the_largest_priority_so_far() -> None:
    buffer = buffer_of(capacity=40, lanes=1, n=1)
    sampler = Prioritized(buffer, SEEDS, 4, 0.5)
    grow(buffer, 4)
    index, _ = sampler.sample(0.0)
    assert (sampler.tree.get(torch.arange(4).expand(K, -1)) == 1).all()
    priority = torch.tensor([9.0, 100.0, 0.25]).unsqueeze(1).expand(-1, 4)
    sampler.update(index, priority)
    grow(buffer, 1)
    sampler.sample(0.0)
    new = sampler.tree.get(torch.full((K, 1), 4))
    assert new.flatten().tolist() == pytest.approx([3.0, 10.0, 1.0], rel=1e-6)


@pytest.mark.parametrize(
    "build",
    [lambda buffer, s: Uniform(buffer, s, 16), lambda buffer, s: Prioritized(buffer, s, 16, 0.6)],
    ids=["uniform", "prioritized"],
)
def test_draws_do_not_depend_on_the_company_and_differ_between_seeds(
    build: Callable[[ReplayBuffer, list[int]], Uniform | Prioritized],
) -> None:
    def draw(seeds: list[int], rows: Callable[[Tensor], Tensor]) -> list[tuple[Tensor, Tensor]]:
        buffer, out = buffer_of(len(seeds), capacity=300), []
        sampler = build(buffer, seeds)
        for i in range(60):
            grow(buffer, 1 + i % 5)
            if len(buffer):
                out.append(sampler.sample(0.4))
                # a priority that depends on the place alone is the same in any company
                sampler.update(out[-1][0], rows(out[-1][0].float().add(1).sqrt()))
        return out

    def same(x: Tensor) -> Tensor:
        return x

    together = draw(list(SEEDS), same)
    for k, seed in enumerate(SEEDS):
        for (index, weight), (i, w) in zip(together, draw([seed], same), strict=True):
            assert torch.equal(index[k : k + 1], i) and torch.equal(weight[k : k + 1], w)
    last = together[-1][0]
    assert all(not torch.equal(last[a], last[b]) for a, b in ((0, 1), (0, 2), (1, 2)))


def test_state_and_load_continue_to_the_bit() -> None:
    buffer = buffer_of()
    one = Prioritized(buffer, SEEDS, 8, 0.6)
    for i in range(12):
        grow(buffer, 2)
        index, _ = one.sample(0.4)
        one.update(index, priorities(index, i))
    grow(buffer, 3)  # not in the tree yet
    other = Prioritized(buffer, SEEDS, 8, 0.6)
    other.load(copied(one.state()))
    for i in range(12):
        grow(buffer, 2)
        pairs = [s.sample(0.4) for s in (one, other)]
        assert all(torch.equal(a, b) for a, b in zip(*pairs, strict=True))
        one.update(pairs[0][0], priorities(pairs[0][0], i))
        other.update(pairs[1][0], priorities(pairs[1][0], i))


def roulette(beta: float) -> float:
    """Return the value of a bet that is learned from a buffer of spins with the expected wins."""
    starts = 37 * 8
    buffer = buffer_of(1, lanes=1, capacity=starts, n=1)
    for i in range(starts):
        grow(buffer, 1, torch.full((1, 1), 35.0 if i % 37 == 0 else -1.0))
    sampler, value = Prioritized(buffer, [0], 32, 1.0), torch.zeros(1)
    everything = torch.arange(starts).unsqueeze(0)
    reward = buffer.gather(everything).reward
    sampler.sample(beta)
    for step in range(500):
        # the priorities of all, so that the probabilities are those of the present estimate
        sampler.update(everything, (reward - value).abs())
        index, weight = sampler.sample(beta)
        error = buffer.gather(index).reward - value
        value = value + 0.5 / (1 + step / 10) * (weight * error).mean(1)
    return float(value)


def test_roulette_needs_importance_weights() -> None:
    """A bet pays 35 with probability 1/37, else -1: it is worth -1/37, whatever is replayed.

    Replay in proportion to |TD error| sees the wins far more often; with beta = 1 the weights undo
    just that, with beta = 0 the estimate settles far above zero.
    """
    assert roulette(0.0) > 3
    assert roulette(1.0) == pytest.approx(-1 / 37, abs=0.1)
