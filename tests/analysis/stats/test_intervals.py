"""Point estimates against published definitions, intervals against simulation."""

import csv

import numpy as np
import pytest
from scipy import stats as scipy_stats

from prism.analysis import stats

X = stats.tasks(np.array([[1, 2], [2, 2], [1, 1], [2, 1.0]]))
Y = stats.tasks(np.array([[1, 1], [2, 2], [3, 3.0]]))


def test_unit_oracle():
    """The oracle of rliable's tests."""
    for statistic in (stats.mean, stats.median, stats.iqm):
        assert statistic(X) == 1.5
        assert statistic(Y) == 2
    assert stats.probability_of_improvement(X, Y) == pytest.approx(1 / 3)
    assert stats.optimality_gap(X, gamma=1.5) == pytest.approx(1.5 - 1.25)


@pytest.mark.parametrize("shape", [(1, 1), (3, 1), (5, 7), (10, 26), (4, 60)])
def test_iqm_is_scipys_trimmed_mean(shape):
    matrix = np.random.default_rng(3).lognormal(size=shape)
    expected = scipy_stats.trim_mean(matrix, 0.25, axis=None)
    assert stats.iqm(stats.tasks(matrix)) == pytest.approx(expected, abs=1e-12)


def test_probability_of_improvement_is_mann_whitney():
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 5, 9).astype(float), rng.integers(0, 5, 7).astype(float)
    u = scipy_stats.mannwhitneyu(x, y).statistic
    assert stats.probability_of_improvement([x], [y]) == pytest.approx(u / 63)


def test_tasks_leave_missing_runs_out():
    ragged = stats.tasks(np.array([[1.0, 2.0], [np.nan, 4.0]]))
    assert [list(task) for task in ragged] == [[1], [2, 4]]
    assert stats.mean(ragged) == 2.0


# Medians of Rainbow's Table 6 (Hessel et al. 2018), 54 games, as recomputed from the table.
MEDIANS = {
    "DQN": 0.787, "DDQN": 1.152, "PriorDDQN": 1.374, "DuelDDQN": 1.474,
    "DistribDQN": 1.690, "NoisyDQN": 1.171, "Rainbow": 2.270,
}  # fmt: skip


def test_rainbows_medians(reference_data):
    with (reference_data / "atari57_random_human.csv").open() as file:
        ends = {
            row["game"]: (float(row["random"]), float(row["human"])) for row in csv.DictReader(file)
        }
    with (reference_data / "rainbow_table6_noops_54games.csv").open() as file:
        rows = list(csv.DictReader(file))
    for agent, median in MEDIANS.items():
        scores = [
            stats.normalise(np.array([float(row[agent])]), *map(np.array, ends[row["game"]]))
            for row in rows
        ]
        assert stats.median(scores) == pytest.approx(median, abs=6e-4)


# Final iteration, 55 games, human-normalised: median, IQM, mean, optimality gap.
DOPAMINE = {
    "c51": (1.092, 1.276, 3.105, 0.275), "rainbow": (1.472, 1.693, 3.793, 0.218),
    "iqn": (1.288, 1.757, 4.145, 0.207),
}  # fmt: skip


def test_dopamines_aggregates(reference_data):
    with (reference_data / "atari57_random_human.csv").open() as file:
        ends = {
            row["game"]: (float(row["random"]), float(row["human"])) for row in csv.DictReader(file)
        }
    data = np.load(reference_data / "dopamine_atari60_tf_jax.npz")
    games = [str(game).lower().replace("_", "") for game in data["games"]]
    known = {name.replace("_", ""): pair for name, pair in ends.items()}
    known["videopinball"] = (0.0, known["videopinball"][1])  # as in the table behind the oracle
    chosen = [i for i, g in enumerate(games) if g in known and g not in ("defender", "surround")]
    assert len(chosen) == 55
    agents = [str(agent).lower() for agent in data["agents"]]
    for agent, expected in DOPAMINE.items():
        final = data["scores"][:, agents.index(agent), :, 198].astype(float)
        samples = [stats.normalise(final[i], *map(np.array, known[games[i]])) for i in chosen]
        found = [f(samples) for f in (stats.median, stats.iqm, stats.mean, stats.optimality_gap)]
        assert found == pytest.approx(expected, abs=6e-4)


def test_bootstrap_is_seeded_and_does_not_share_streams():
    rng = np.random.default_rng(1)
    samples = [rng.normal(size=10), rng.normal(size=7)]
    first, again = (stats.bootstrap(stats.iqm, samples) for _ in range(2))
    assert first == again
    assert stats.bootstrap(stats.iqm, samples, rng=1) != first
    assert first.low < first.value < first.high
    assert first.n == (10, 7)


def test_bootstrap_of_a_mean_has_the_plug_in_width():
    x = np.random.default_rng(2).normal(size=200)
    found = stats.bootstrap(stats.mean, [x])
    half = 1.96 * x.std() / np.sqrt(len(x))
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=0.04)


def test_bootstrap_is_stratified():
    """Two tasks far apart: resampling within tasks keeps the spread of the mean small."""
    rng = np.random.default_rng(0)
    samples = [rng.normal(0, 1, 10), rng.normal(1000, 1, 10)]
    found = stats.bootstrap(stats.mean, samples)
    assert found.high - found.low < 2


def test_one_run_has_no_interval():
    one = np.array([3.0])
    for found in (stats.bootstrap(stats.mean, [one]), stats.mean_interval(one)):
        assert found.value == 3
        assert np.isnan([found.low, found.high]).all()
        assert "one run" in found.note
    difference = stats.welch(one, np.array([1.0, 2.0]))
    assert np.isnan([difference.low, difference.high, difference.p]).all()
    assert not difference.detectable
    assert "1 of 2 tasks" in stats.bootstrap(stats.mean, [one, np.arange(3.0)]).note


def test_bootstrap_refuses_nan_and_empty_tasks():
    for bad in ([np.array([1.0, np.nan])], [np.array([])], []):
        with pytest.raises(ValueError, match="every task needs"):
            stats.bootstrap(stats.mean, bad)


def test_student_and_welch_are_scipys():
    rng = np.random.default_rng(5)
    x, y = rng.normal(1, 2, 8), rng.normal(0, 1, 5)
    mean = stats.mean_interval(x)
    expected = scipy_stats.ttest_1samp(x, 0).confidence_interval()
    assert (mean.low, mean.high) == pytest.approx(tuple(expected))
    test = scipy_stats.ttest_ind(x, y, equal_var=False)
    found = stats.welch(x, y)
    assert (found.p, found.df) == pytest.approx((test.pvalue, test.df))
    assert (found.low, found.high) == pytest.approx(tuple(test.confidence_interval()))


def test_groups_without_spread_get_the_smallest_exact_p():
    few = stats.welch(np.full(2, -500.0), np.full(2, -100.0))
    assert few.p == pytest.approx(1 / 3)
    assert not few.detectable
    assert stats.welch(np.full(5, -500.0), np.full(5, -100.0)).p == pytest.approx(2 / 252)
    assert stats.welch(np.full(5, 7.0), np.full(5, 7.0)).p == 1


def test_band_skips_missing_values():
    values = np.array([[1.0, 3.0, 2.0], [np.nan, 2.0, 2.0], [np.nan] * 3])
    centre, low, high, n = stats.band(values)
    assert list(n) == [3, 2, 0]
    assert list(centre[:2]) == [2, 2]
    assert np.isnan(centre[2])
    assert list(np.isnan(low)) == list(np.isnan(high)) == [False, True, True]


def test_share_is_refused_where_full_and_base_are_not_told_apart():
    rng = np.random.default_rng(0)
    full, base = rng.normal(size=5), rng.normal(size=5)
    part, whole = stats.welch(full, rng.normal(size=5)), stats.welch(full, base)
    assert whole.low < 0 < whole.high
    found = stats.share(part, whole, 0.1)
    assert np.isnan([found.value, found.low, found.high]).all()
    assert "is not significant" in found.note


def test_intervals_keep_to_the_bounds_of_a_score():
    x = np.array([500.0, 480.0, 9.0, 500.0])
    free, kept = stats.mean_interval(x), stats.mean_interval(x, bounds=(1.0, 500.0))
    assert free.high > 500
    assert (kept.low, kept.high) == (max(free.low, 1.0), 500.0)
    assert stats.mean_interval(x, bounds=(np.nan, 500.0)).low == free.low
