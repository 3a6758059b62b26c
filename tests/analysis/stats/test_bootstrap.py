"""The bootstrap by counts equals resampling written out, and rliable's algorithm."""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prism.analysis import stats

SAMPLES = [np.random.default_rng(i).lognormal(size=n) for i, n in enumerate((5, 3, 8))]
STATISTICS = {
    "mean": stats.mean,
    "median": stats.median,
    "iqm": stats.iqm,
    "gap": stats.optimality_gap,
}


def written_out(task, counts):
    return np.repeat(task, counts)


@pytest.mark.parametrize("name", STATISTICS)
def test_counts_are_resamples(name):
    """To 1e-12: the weighted forms equal the plain ones on samples that are written out."""
    counts = stats.resamples(np.random.default_rng(1), SAMPLES, 50)
    found = STATISTICS[name](SAMPLES, counts)
    for b in range(50):
        resample = [written_out(task, c[:, b]) for task, c in zip(SAMPLES, counts, strict=True)]
        assert found[b] == pytest.approx(float(STATISTICS[name](resample)), abs=1e-12)


def test_counts_of_two_groups_are_resamples():
    other = [task[::-1] + 0.3 for task in SAMPLES]
    rng = np.random.default_rng(1)
    p, q = (stats.resamples(rng, group, 20) for group in (SAMPLES, other))
    found = stats.probability_of_improvement(SAMPLES, other, p, q)
    for b in range(20):
        x, y = (
            [written_out(task, c[:, b]) for task, c in zip(group, counts, strict=True)]
            for group, counts in ((SAMPLES, p), (other, q))
        )
        assert found[b] == pytest.approx(float(stats.probability_of_improvement(x, y)), abs=1e-12)


@pytest.mark.parametrize("n", [5, 64, 65, 300])
def test_draws_are_fair_and_complete(n):
    counts = stats.draw(np.random.default_rng(0), n, 4000)
    assert counts.shape == (n, 4000)
    assert (counts.sum(0, dtype=int) == n).all()
    share = (counts == 0).mean()
    assert share == pytest.approx((1 - 1 / n) ** n, abs=0.02)
    assert counts.mean(1) == pytest.approx(np.ones(n), abs=0.1)


def rliables_interval(matrix, statistic, repetitions, seed):
    """The algorithm of rliable 1.2: one fancy index and one call of the statistic a repetition."""
    rng = np.random.RandomState(seed)
    runs, tasks = matrix.shape
    draws = []
    for _ in range(repetitions):
        rows = rng.choice(runs, (runs, tasks), replace=True)
        draws.append(statistic(matrix[rows, np.arange(tasks)]))
    return np.quantile(draws, [0.025, 0.975])


def test_intervals_are_rliables_within_bootstrap_error():
    matrix = np.random.default_rng(2).lognormal(size=(5, 26))
    theirs = rliables_interval(matrix, lambda x: scipy_stats.trim_mean(x, 0.25, axis=None), 4000, 0)
    ours = stats.bootstrap(stats.iqm, stats.tasks(matrix), repetitions=50_000)
    width = ours.high - ours.low
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.06 * width)


def test_a_profile_is_the_share_above():
    above = np.array([0.0, 1.0, 100.0])
    found = stats.profile(SAMPLES, above=above)
    pooled = np.concatenate(SAMPLES)
    assert list(found) == [1, (pooled > 1).mean(), 0]


def test_clusters_move_together():
    """Two tasks that share the luck of the seed: only the cluster bootstrap sees it."""
    luck = np.random.default_rng(3).normal(size=40)
    samples, names = [luck, luck + 5], [list(range(40))] * 2
    alone = stats.bootstrap(stats.mean, samples)
    together = stats.bootstrap(stats.mean, samples, clusters=[names])
    ratio = (together.high - together.low) / (alone.high - alone.low)
    assert ratio == pytest.approx(np.sqrt(2), rel=0.1)
    assert together.method.startswith("cluster")


def test_bca_is_scipys():
    x = np.random.default_rng(5).lognormal(size=12)
    ours = stats.bootstrap(stats.mean, [x], method=stats.BCA, repetitions=40_000)
    theirs = scipy_stats.bootstrap(
        (x,), np.mean, n_resamples=20_000, method="BCa", rng=np.random.default_rng(0)
    ).confidence_interval
    width = ours.high - ours.low
    assert (ours.low, ours.high) == pytest.approx(tuple(theirs), abs=0.04 * width)
