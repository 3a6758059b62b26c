"""The coverage that reports state is measured again, by the functions that reports use."""

import numpy as np
import pytest
from scipy import special

from prism.analysis import stats
from prism.analysis.stats.coverage import (
    ERRORS,
    IQM,
    KINDS,
    LEVELS,
    MEASURED,
    SIZES,
    STUDENT,
    draw_scores,
    warning,
)

STUDIES = 3000
NOISE = 2.3  # %: three standard errors at 87 %, and the rounding of the table
BY_T = {"Welch t": stats.welch, "paired t": stats.paired}
PAIRS = list(MEASURED["Welch t"])


def coverage(kinds, n, interval, studies=STUDIES):
    """Return the % of simulated studies whose interval holds the true mean, or difference."""
    rng = np.random.default_rng([11, n])
    drawn = [draw_scores(kind, rng, (studies, n)) for kind in kinds]
    true = drawn[0][1] - (drawn[1][1] if len(drawn) > 1 else 0.0)
    found = [interval(*groups) for groups in zip(*(x for x, _ in drawn), strict=True)]
    return 100 * np.mean([e.low <= true <= e.high for e in found])


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_of_means(kind):
    found = [coverage((kind,), n, stats.mean_interval) for n in SIZES[1:]]
    assert found == pytest.approx(list(MEASURED[STUDENT][kind,])[1:], abs=NOISE)
    assert np.isnan(stats.mean_interval(np.array([1.0, 2.0])).low)


PEAKS = ("normal", "skewed", "bimodal", "even peaks")


@pytest.mark.parametrize("sizes", ERRORS)
def test_errors_at_corrected_levels(sizes):
    """The worst shape errs as often as is stated; what is stated decides where a t-test is made."""
    rng, found, repeats = np.random.default_rng(sizes), [], 40_000
    for kind in PEAKS:
        x, y = (draw_scores(kind, rng, (repeats, n))[0] for n in sizes)
        a, b = (z.var(-1, ddof=1) / n for z, n in zip((x, y), sizes, strict=True))
        df = (a + b) ** 2 / (a**2 / (sizes[0] - 1) + b**2 / (sizes[1] - 1))
        p = 2 * special.stdtr(df, -np.abs(x.mean(-1) - y.mean(-1)) / np.sqrt(a + b))
        found.append([(p < 0.05 / k).mean() * k for k in LEVELS])
    stated = np.array(ERRORS[sizes]) / 100
    noise = 4 * np.sqrt(stated * np.array(LEVELS) / repeats) + 0.002
    assert (np.abs(np.max(found, 0) - stated) < noise).all()
    assert stats.keeps_level(*sizes) == (max(ERRORS[sizes]) <= 7)


def test_the_errors_are_those_of_the_test():
    x, y = np.random.default_rng(0).normal(size=(2, 6))
    a, b = (z.var(ddof=1) / 6 for z in (x, y))
    df = (a + b) ** 2 / ((a**2 + b**2) / 5)
    p = 2 * special.stdtr(df, -abs(x.mean() - y.mean()) / np.sqrt(a + b))
    assert stats.welch(x, y).p == pytest.approx(p)


@pytest.mark.parametrize("method", BY_T)
@pytest.mark.parametrize("kinds", PAIRS, ids="-".join)
def test_coverage_of_differences(kinds, method):
    sizes = (2, 3, 5, 10)
    found = [coverage(kinds, n, BY_T[method]) for n in sizes]
    stated = [MEASURED[method][kinds][n - SIZES[0]] for n in sizes]
    assert found == pytest.approx(stated, abs=NOISE)


@pytest.mark.parametrize("kinds", [("normal", "normal"), ("tight normal", "bimodal")])
def test_coverage_of_the_studentised_bootstrap(kinds):
    def interval(x, y):
        return stats.student_bootstrap(x, y, repetitions=1000)

    sizes = (2, 3, 5, 10)
    found = [coverage(kinds, n, interval, 400) for n in sizes]
    stated = [MEASURED["studentised bootstrap"][kinds][n - SIZES[0]] for n in sizes]
    assert found == pytest.approx(stated, abs=6)


@pytest.mark.parametrize("kind", KINDS)
def test_coverage_of_an_iqm_over_environments(kind):
    rng = np.random.default_rng(3)
    true = stats.iqm([draw_scores(kind, rng, (1_000_000,))[0]])
    for n in (2, 5, 10):
        tasks = draw_scores(kind, rng, (300, 5, n))[0]
        found = [stats.bootstrap(stats.iqm, list(x), repetitions=500) for x in tasks]
        held = 100 * np.mean([e.low <= true <= e.high for e in found])
        assert held == pytest.approx(MEASURED[IQM][kind,][n - SIZES[0]], abs=6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", [5, 10])
def test_a_share_covers_what_it_says(kind, n):
    rng, held = np.random.default_rng(11), 0
    x, y, base = (draw_scores(kind, rng, (STUDIES, n))[0] for _ in range(3))
    gap = 6 * x.std()
    for f, a, b in zip(x + gap, y + gap / 2, base, strict=True):
        common = float(np.var(f, ddof=1)) / n
        share = stats.share(stats.welch(f, a), stats.welch(f, b), common)
        held += share.low <= 0.5 <= share.high
    assert held / STUDIES >= 0.93


@pytest.mark.parametrize("method", sorted({*stats.INTERVALS.values()}))
def test_every_interval_of_a_difference_was_measured_at_every_size(method):
    assert list(MEASURED[method]) == PAIRS
    assert {len(row) for row in MEASURED[method].values()} == {len(SIZES)}


def test_the_warning_quotes_the_worst_that_applies():
    said = warning([3, 8], {"paired t": [8], "Welch t": [20]})
    assert (
        "At n = 3 to 8, nominal 95% intervals of a mean cover the true mean in as few as 72% of"
        in said
    )
    assert (
        "Intervals of a difference (paired t) cover the true difference in at least 95% if" in said
    )
    assert "as few as 89% if the shapes differ" in said
    assert "Welch" not in said  # those rest on 20 runs
    assert "IQM" not in said
    assert "IQM over 5 environments cover as few as 90%" in warning([5], {}, aggregates=True)
    assert "as few as 80% if the shapes" in warning([2], {"Welch t": [2, 8]})
    assert warning([1, 20], {"Welch t": [20]}) == ""
