"""Tests against scipy, their level under correction, what they refuse, ranks with ties."""

from math import comb

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prism.analysis import stats

RNG = np.random.default_rng(9)
X, Y = RNG.normal(1, 2, 6), RNG.normal(0, 1, 5)


def test_corrections():
    assert stats.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert stats.holm([0.5, np.nan, 0.02])[[0, 2]] == pytest.approx([0.5, 0.04])
    assert np.isnan(stats.holm([0.5, np.nan])[1])
    p = [0.01, 0.04, 0.03, 0.005, 0.8]
    found = stats.benjamini_hochberg([*p, np.nan])
    assert list(found[:-1]) == pytest.approx(list(scipy_stats.false_discovery_control(p)))
    assert np.isnan(found[-1])


def welch_size(a, b, axis=-1):
    return np.abs(scipy_stats.ttest_ind(a, b, equal_var=False, axis=axis).statistic)


def test_permutation_is_scipys_exact_one():
    found = stats.permutation(X, Y)
    every = {"vectorized": True, "n_resamples": np.inf, "alternative": "greater"}
    theirs = scipy_stats.permutation_test((X, Y), welch_size, **every)
    assert found.p == pytest.approx(theirs.pvalue, abs=1e-12)
    assert found.smallest == pytest.approx(1 / 462)


@pytest.mark.parametrize("n", [5, 10, 40])
def test_mann_whitney_is_exact_at_every_n_without_ties(n):
    x = np.arange(n) * 1.1
    found = stats.mann_whitney(x + 100.0, x)
    assert found.p == pytest.approx(2 / comb(2 * n, n))
    assert found.p == pytest.approx(found.smallest)
    assert found.method == "Mann-Whitney (exact)"


def test_mann_whitney_with_ties_is_scipys_asymptotic_one():
    x, y = np.round(X), np.round(Y)
    assert len(np.unique([*x, *y])) < 11
    found = stats.mann_whitney(x, y)
    assert found.p == scipy_stats.mannwhitneyu(x, y, method="asymptotic").pvalue
    assert found.method == "Mann-Whitney (asymptotic)"


def test_paired_is_scipys_and_sign_flips_are_exact():
    found, theirs = stats.paired(X[:5], Y), scipy_stats.ttest_rel(X[:5], Y)
    assert found.p == pytest.approx(theirs.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval()))
    flips = stats.sign_flips(np.arange(1.0, 6), np.zeros(5))
    assert (flips.p, flips.smallest) == (2 / 32, 2 / 32)


@pytest.mark.parametrize("name", ["permutation", "mann-whitney", "paired-permutation"])
def test_the_smallest_p_is_reached_and_never_passed(name):
    test = {**stats.UNPAIRED, **stats.PAIRED}[name]
    n = 5
    apart = test(np.arange(n) + 100.0, np.arange(n) * 1.1)
    assert apart.p == pytest.approx(apart.smallest)
    assert stats.smallest_p(name, n, n) == pytest.approx(apart.smallest)
    needed = stats.runs_to_reach(name, 0.001)
    assert (
        stats.smallest_p(name, needed, needed)
        <= 0.001
        < stats.smallest_p(name, needed - 1, needed - 1)
    )


def test_contrast_of_two_cells_is_welch():
    ours, welch = stats.contrast([X, Y, X], [1, -1, 0]), stats.welch(X, Y)
    assert (ours.value, ours.low, ours.p, ours.df) == pytest.approx(
        (welch.value, welch.low, welch.p, welch.df)
    )


def test_effect_sizes():
    assert stats.a12(np.array([1.0, 2]), np.array([0.0, 1])) == 0.875
    d = (X.mean() - Y.mean()) / np.sqrt((5 * X.var(ddof=1) + 4 * Y.var(ddof=1)) / 9)
    assert stats.hedges_g(X, Y) == pytest.approx(d * (1 - 3 / 35))


def test_seeds_that_matter_are_found():
    rng = np.random.default_rng(0)
    luck = rng.normal(size=10)
    r, p = stats.seeds_matter([luck * 3 + rng.normal(size=10) for _ in range(5)])
    assert r == pytest.approx(0.9, abs=0.1)
    assert p < 1e-6
    found = [stats.seeds_matter(rng.normal(size=(5, 10)))[1] < 0.05 for _ in range(1000)]
    assert np.mean(found) == pytest.approx(0.05, abs=0.02)
    labels = rng.normal(size=(3, 8)) + np.array([[0], [50], [100]])  # labels do not look like seeds
    assert stats.seeds_matter(labels)[1] > 0.01


def test_ranks_that_the_data_allow():
    rng = np.random.default_rng(1)
    groups = [rng.normal(mean, 1, 10) for mean in (0, 0, 50, 0, 100)]
    assert stats.rank_intervals(groups) == [(3, 5), (3, 5), (2, 2), (3, 5), (1, 1)]


STUDIES = 1500


@pytest.mark.parametrize("pairing", [False, True])
def test_false_alarms_of_the_default_test(pairing):
    """Six inert components, one full agent: any alarm in at most 5.5 % of studies, paired or not.

    The choice to pair is made from the same data, by the seeds' F-test, as ``ablation`` does.
    """
    rng, alarms = np.random.default_rng(4), 0
    for _ in range(STUDIES):
        scores = rng.normal(size=(7, 5)) + pairing * 2 * rng.normal(size=5)
        pair = stats.seeds_matter(scores)[1] < 0.05
        test = stats.paired if pair else stats.welch
        alarms += stats.holm([test(scores[0], other).p for other in scores[1:]]).min() < 0.05
    assert alarms / STUDIES <= 0.055
