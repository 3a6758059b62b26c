"""Power is what simulation finds; a sweep that is looked at after every run keeps its level."""

import numpy as np
import pytest
from scipy import special

from prism.analysis import stats


def test_visible_effect_is_found_with_the_stated_power():
    n, rng = 10, np.random.default_rng(8)
    effect = stats.visible_effect(float(np.sqrt(2 / n)), 2 * n - 2)
    found = [
        stats.welch(rng.normal(effect, 1, n), rng.normal(0, 1, n)).detectable for _ in range(1500)
    ]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)


@pytest.mark.parametrize(("n", "spread"), [(3, 1.0), (5, 1.0), (10, 1.0), (10, 3.0)])
def test_power_is_what_is_found(n, spread):
    rng = np.random.default_rng(n)
    found = [
        stats.welch(rng.normal(1.5, 1, n), rng.normal(0, spread, n)).detectable for _ in range(1500)
    ]
    assert np.mean(found) == pytest.approx(stats.power(1.5, 1, spread, n), abs=0.035)


def test_runs_needed_by_colas_rule_and_exactly():
    """Colas et al. 2018, figure 8: sigma 1, effect 0.9, one-sided 5 %, power 80 % needs N = 17.

    They shift a central t. Welch's exact power is 0.7995 at 16, and agrees.
    """

    def colas(n):
        return (special.stdtrit(2 * n - 2, 0.95) + special.stdtrit(2 * n - 2, 0.8)) * np.sqrt(2 / n)

    assert next(n for n in range(2, 99) if colas(n) <= 0.9) == 17
    assert stats.runs_needed(0.9, 1, 1, sides=1) == 17
    assert stats.runs_needed(0.9, 1, 1) == 21
    assert stats.power(0.9, 1, 1, 21) >= 0.8 > stats.power(0.9, 1, 1, 20)
    assert stats.runs_needed(0.0, 1, 1) is None
    assert stats.runs_needed(1e-6, 1, 1) is None


def test_power_of_few_runs_by_brute_force():
    """At corrected levels too, where Satterthwaite's degrees of freedom are estimated."""
    rng, n, repeats = np.random.default_rng(1), 3, 200_000
    for effect, alpha in ((2.5, 0.05), (3.0, 0.05 / 6)):
        x, y = rng.normal(effect, 1, (repeats, n)), rng.normal(0, 1, (repeats, n))
        a, b = x.var(-1, ddof=1) / n, y.var(-1, ddof=1) / n
        edge = special.stdtrit((a + b) ** 2 / ((a**2 + b**2) / 2), 1 - alpha / 2)
        found = ((x.mean(-1) - y.mean(-1)) / np.sqrt(a + b) > edge).mean()
        assert stats.power(effect, 1, 1, n, alpha) == pytest.approx(found, abs=0.004)


def test_a_planted_effect_is_found_at_the_planned_power():
    n = stats.runs_needed(2.0, 1, 1, alpha=0.05 / 6)
    rng = np.random.default_rng(3)
    found = [
        stats.welch(rng.normal(2, 1, n), rng.normal(0, 1, n)).p < 0.05 / 6 for _ in range(1500)
    ]
    assert np.mean(found) >= 0.77


def test_spread_of_a_pilot_is_rarely_underestimated():
    rng = np.random.default_rng(0)
    above = [stats.spread_above(rng.normal(size=5)) >= 1 for _ in range(2000)]
    assert np.mean(above) == pytest.approx(0.8, abs=0.03)


def test_looking_after_every_run_keeps_the_level():
    rng, alarms = np.random.default_rng(6), 0
    for _ in range(300):
        x, y = rng.normal(size=(2, 40))
        alarms += any(stats.sequential(x[:n], y[:n]).stop for n in range(2, 41))
    assert alarms / 300 <= 0.05


def test_sequential_decisions():
    rng = np.random.default_rng(2)
    x, y = rng.normal(2, 1, 20), rng.normal(0, 1, 20)
    found = stats.sequential(x, y)
    assert found.stop
    assert found.text == "stop: they differ"
    assert found.low > 0
    for limit in (found.low, found.high):  # the interval holds what the test does not reject
        assert stats.sequential(x - limit, y).evidence == pytest.approx(20)
    same = stats.sequential(rng.normal(size=400), rng.normal(size=400), margin=0.5)
    assert same.text == "stop: no difference of 0.5 or more"
    assert not stats.sequential(x[:1], y).stop
