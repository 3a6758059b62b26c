"""The coverage that reports state is measured again."""

import numpy as np
import pytest

from analysis import stats
from analysis.stats.coverage import KINDS, MEASURED, SIZES, draw_scores, warning, worst

STUDIES = 1500


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n", SIZES)
def test_coverage_is_what_reports_say(kind, n):
    rng, place = np.random.default_rng(11), SIZES.index(n)
    x, true = draw_scores(kind, rng, (STUDIES, n))
    _, low, high, _ = stats.band(x)
    student = np.mean((low <= true) & (true <= high))
    part, base = (draw_scores(kind, rng, (STUDIES, n))[0] for _ in range(2))
    gap = 6 * x.std()
    welch = fieller = 0
    for f, a, b in zip(x + gap, part + gap / 2, base, strict=True):
        drop = stats.welch(f, a)
        share = stats.share(drop, stats.welch(f, b), float(np.var(f, ddof=1)) / n)
        welch += drop.low <= gap / 2 <= drop.high
        fieller += share.low <= 0.5 <= share.high
    found = 100 * np.array([student, welch / STUDIES, fieller / STUDIES])
    methods = ("mean, Student", "difference, Welch", "share of a difference, Fieller")
    assert found == pytest.approx([MEASURED[m][kind][place] for m in methods], abs=2.0)


def test_differences_cover_what_they_say_at_every_kind_and_size():
    """Tests and verdicts rest on these."""
    assert min(worst("difference, Welch", n) for n in SIZES) >= 93


def test_the_warning_names_the_worst_case():
    assert "82 %" in warning(5)
    assert "90 %" in warning(10)
