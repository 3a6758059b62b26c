"""The headline: its level and power in simulated studies, its units, its environments."""

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis import stats
from prism.analysis.errors import AnalysisError
from prism.analysis.questions.pooled import (
    DEVIATION,
    GAP,
    REFERENCE,
    SHOWN,
    SUGGESTIVE,
    UNCLEAR,
    verdict,
)
from prism.analysis.stats.coverage import draw_scores
from prism.benchmark.store.schema import LEAVE_ONE_OUT, PRESET

PARTS = 6


def studies(
    count,
    environments,
    n=10,
    *,
    shape="normal",
    full_n=None,
    gap=None,
    drop=0.0,
    rng=0,
    parts=PARTS,
):
    """Load many studies at once: a full agent, its base if there is a gap, and its ablations.

    Every study is a family of its own. The scores of environment e are 10^e times as large, for e
    from 0 to 3, so that only normalised scores can be pooled. Removing "part 0" drops the score.

    Args:
        count: studies.
        environments: environments of each.
        n: runs of every label; of the full agent ``full_n``.
        shape: of the scores, as in ``draw_scores``.
        full_n: runs of the full agent, if not ``n``.
        gap: full minus base, in standard deviations; None: no base agent runs.
        drop: in standard deviations.
        rng: seed.
    """
    generator, full_n = np.random.default_rng(rng), full_n or n
    spread = float(draw_scores(shape, np.random.default_rng(0), (100_000,))[0].std())
    frames = []
    for i in range(count):
        agents = [(f"full {i}", PRESET, None, full_n, 0.0)]
        agents += [(f"base {i}", PRESET, None, n, gap)] if gap else []
        for k in range(PARTS):
            label, cost = f"full {i} - part {k}", drop if k == 0 else 0.0
            agents.append((label, LEAVE_ONE_OUT, f"part {k}", n, cost))
        for label, kind, part, runs, cost in agents:
            scores = draw_scores(shape, generator, (environments, runs))[0] / spread - cost
            scale = 10.0 ** (np.arange(environments) % 4)
            frames.append(
                pd.DataFrame(
                    {
                        "label": label,
                        "kind": kind,
                        "component": part,
                        "base": f"base {i}",
                        "full": f"full {i}",
                        "env": np.repeat([f"e{e}" for e in range(environments)], runs),
                        "seed": np.tile(np.arange(runs), environments),
                        "final": (scores * scale[:, None]).ravel(),
                    }
                )
            )
    return analysis.load(pd.concat(frames, ignore_index=True))


def alarms(results, part=None):
    """Return the share of studies with a shown effect, pooled and on any environment."""
    found = results.headlines()
    inert = [[e for e in h.effects if part is None or e.component == part] for h in found]
    pooled = [any(e.verdict == SHOWN for e in effects) for effects in inert]
    cells = [
        any(one.verdict == SHOWN for e in effects for one in e.environments) for effects in inert
    ]
    return np.mean(pooled), np.mean(cells)


def bound(level, count):
    """Return what a rate of ``level`` exceeds in one of a thousand simulations of ``count``."""
    return level + 3.1 * np.sqrt(level * (1 - level) / count)


@pytest.mark.parametrize(("environments", "count"), [(1, 60), (3, 20)])
def test_family_wise_error(environments, count):
    pooled, cells = alarms(studies(count, environments, rng=environments))
    assert pooled <= bound(0.05, count)
    assert cells <= bound(0.05, count)


def test_power_for_a_drop_on_all_environments():
    pooled, _ = alarms(studies(20, 5, drop=0.7, rng=1), part="part 0")
    assert pooled >= 0.65  # 0.80 in full


@pytest.mark.slow
@pytest.mark.parametrize(
    ("environments", "count", "gap"),
    [(1, 3000, None), (5, 2000, None), (26, 800, None), (57, 500, None), (5, 2000, 2.0),
     (57, 500, 3.0)],
)  # fmt: skip
def test_family_wise_error_in_full(environments, count, gap):
    """At most 5.5 %, and no more than chance allows above it."""
    found = [
        alarms(studies(100, environments, rng=[environments, block], gap=gap))
        for block in range(count // 100)
    ]
    pooled, cells = np.mean(found, 0)
    print(f"{environments} environments, gap {gap}: pooled {pooled:.4f}, cells {cells:.4f}")
    assert pooled <= 0.055
    assert cells <= 0.055


@pytest.mark.slow
def test_power_in_full():
    found = [
        alarms(studies(100, 5, drop=0.7, rng=[1, block]), part="part 0")[0] for block in range(10)
    ]
    print(f"power: {np.mean(found):.3f}")
    assert np.mean(found) >= 0.75


@pytest.mark.slow
@pytest.mark.parametrize(
    ("n", "full_n", "environments"), [(3, 3, 1), (10, 3, 1), (3, 10, 1), (3, 3, 5), (10, 3, 5)]
)
def test_two_peaked_scores_of_few_or_unequal_runs(n, full_n, environments):
    found = [
        alarms(studies(50, environments, n=n, full_n=full_n, shape="bimodal", rng=[n, b]))
        for b in range(20)
    ]
    pooled, cells = np.mean(found, 0)
    print(f"n {n}, full {full_n}, {environments}: pooled {pooled:.4f}, cells {cells:.4f}")
    assert pooled <= 0.06
    assert cells <= 0.06


def frame(effects, n=10, rng=0, **columns):
    """Return a study of one component: the drop on every environment, with noise of sd 1."""
    generator, rows = np.random.default_rng(rng), []
    for env, drop in effects.items():
        for label, score in (("DQN", -6), ("Rainbow", 0), ("Rainbow - noisy", -drop)):
            for seed, noise in enumerate(generator.normal(size=n)):
                part = "noisy" if "-" in label else None
                kind = LEAVE_ONE_OUT if part else PRESET
                rows.append(
                    {"label": label, "kind": kind, "component": part, "base": "DQN"}
                    | {"full": "Rainbow", "env": env, "seed": seed, "final": score + noise}
                    | columns
                )
    return pd.DataFrame(rows)


def only(found):
    (headline,) = found.headlines()
    (effect,) = headline.effects
    return headline, effect


def test_one_environment_is_that_environment():
    found = analysis.load(frame({"lake": 2.0}))
    headline, effect = only(found)
    rows = found.ablation()
    row = rows[(rows.label == "Rainbow - noisy") & (rows.metric == "final")].iloc[0]
    (place,) = effect.environments
    assert headline.unit == GAP
    assert (effect.p, effect.p_adjusted) == (row.p, row.p_adjusted)
    assert (place.points, place.points_low, place.points_high) == pytest.approx(
        (row.effect, row.effect_low, row.effect_high)
    )
    assert effect.effect == place.effect == pytest.approx(row["share"])


def test_the_pooled_effect_is_the_mean_and_its_test_a_contrast():
    """In standard deviations: the effect is a linear contrast of the means of all cells."""
    data = frame({"lake": 1.0, "pond": 0.5, "sea": 0.0}).query("label != 'DQN'")
    headline, effect = only(analysis.load(data))
    groups, weights = [], []
    for env in ("lake", "pond", "sea"):
        cells = [data.final[(data.env == env) & (data.label == x)].to_numpy() for x in
                 ("Rainbow", "Rainbow - noisy")]  # fmt: skip
        spread = np.sqrt(np.mean([x.var(ddof=1) for x in cells]))
        groups += cells
        weights += [1 / spread / 3, -1 / spread / 3]
    expected = stats.contrast(groups, weights)
    assert headline.unit == DEVIATION
    assert headline.test == "stratified Welch t"
    assert (effect.effect, effect.low, effect.high, effect.p) == pytest.approx(
        (expected.value, expected.low, expected.high, expected.p)
    )
    assert effect.n == effect.n_reference == (10, 10)


def test_the_unit_is_the_same_everywhere():
    """A gap that is not told on one environment is none on any; then reference scores, then sd."""
    weak = frame({"lake": 2.0, "pond": 2.0})
    flat = (weak.env == "pond") & (weak.label == "DQN")
    weak.loc[flat, "final"] += 6
    assert only(analysis.load(frame({"lake": 2.0, "pond": 2.0})))[0].unit == GAP
    assert only(analysis.load(weak))[0].unit == DEVIATION
    headline, effect = only(analysis.load(weak.assign(random=-10.0, reference=10.0)))
    assert headline.unit == REFERENCE
    assert effect.effect == pytest.approx(np.mean([e.points for e in effect.environments]) / 20)


def test_units_do_not_depend_on_the_scale_of_an_environment():
    data = frame({"lake": 2.0, "pond": 1.0})
    large = data.assign(final=data.final.where(data.env == "lake", 1000 * data.final))
    one, other = (only(analysis.load(x))[1] for x in (data, large))
    assert (one.effect, one.low, one.p) == pytest.approx((other.effect, other.low, other.p))


@pytest.mark.slow
def test_the_bias_of_a_mean_of_gaps_is_removed():
    """Lucky runs of the full agent are in the drop and in the gap, on all of many environments."""
    found = studies(6, 30, gap=3.0, rng=5).headlines()
    assert {h.unit for h in found} == {GAP}
    moved = [
        (e.effect - np.mean([one.effect for one in e.environments])) / (e.high - e.low) * 2 * 1.96
        for h in found
        for e in h.effects
    ]
    # an effect of 0 lies cov(drop, gap) / gap^2 too low, here 1 / (2 * 6.7) standard errors of each
    assert np.mean(moved) == pytest.approx(
        np.sqrt(30) * (1 - 1 / 30) / 2 / (3 * np.sqrt(5)), rel=0.1
    )


def test_seeds_that_matter_are_paired():
    data = frame({"lake": 0.5, "pond": 0.5})
    luck = np.random.default_rng(3).normal(size=(2, 10)) * 20
    shared = data.assign(
        final=data.final
        + [luck[int(e == "pond"), s] for e, s in zip(data.env, data.seed, strict=True)]
    )
    one, other = (only(analysis.load(x)) for x in (data, shared))
    assert one[0].test == "stratified Welch t"
    assert other[0].test == "stratified paired t"
    points = [np.mean([e.points for e in effect.environments]) for _, effect in (one, other)]
    assert points[0] == pytest.approx(points[1])
    assert other[1].high - other[1].low < 1


def test_helps_here_hurts_there():
    _, effect = only(analysis.load(frame({"lake": 3.0, "pond": -3.0, "sea": 3.0})))
    assert effect.mixed
    assert (effect.costs_on, effect.helps_on) == (["lake", "sea"], ["pond"])
    assert effect.i2 > 0.9
    assert effect.p_spread < 1e-6
    assert effect.wide_low < 0 < effect.wide_high
    assert effect.wide_high - effect.wide_low > effect.high - effect.low
    text = analysis.load(frame({"lake": 3.0, "pond": -3.0, "sea": 3.0})).sentences()[0].text
    assert "above 0 on lake, sea and below 0 on pond" in text
    _, same = only(analysis.load(frame({"lake": 1.0, "pond": 1.0, "sea": 1.0})))
    assert not same.mixed
    assert same.p_spread > 0.05


def test_heterogeneity_by_brute_force():
    """The spread is DerSimonian and Laird's where variances are known, the p is Welch's."""
    from scipy import stats as scipy_stats

    rng = np.random.default_rng(0)
    means, n = np.array([0.0, 1.0, 2.0, 4.0]), 1000
    groups = [m + s * rng.normal(size=n) for m, s in zip(means, (1, 2, 1, 3), strict=True)]
    parts = [stats.paired(x, np.zeros(n)) for x in groups]
    found = stats.pool(parts)
    y, v = np.array([p.value for p in parts]), np.array([p.se**2 for p in parts])
    w = 1 / v
    q = (w * (y - (w * y).sum() / w.sum()) ** 2).sum()
    tau = np.sqrt((q - 3) / (w.sum() - (w**2).sum() / w.sum()))
    assert found.spread == pytest.approx(tau, rel=1e-3)
    assert found.i2 == pytest.approx(1 - 3 / q, rel=1e-3)
    assert (found.wide_low, found.wide_high) == pytest.approx(
        tuple(scipy_stats.ttest_1samp(y, 0).confidence_interval())
    )


def test_equal_effects_rarely_look_different():
    rng = np.random.default_rng(4)
    found = [
        stats.pool([stats.welch(*rng.normal(size=(2, 10))) for _ in range(20)]).p_spread < 0.05
        for _ in range(400)
    ]
    assert np.mean(found) <= bound(0.05, 400)


def test_stratified_permutation_keeps_its_level_and_finds():
    rng = np.random.default_rng(2)
    found = []
    for _ in range(150):
        strata = [draw_scores("bimodal", rng, (13,))[0] for _ in range(3)]
        found.append(stats.permuted([(x[:10], x[10:]) for x in strata], [1.0] * 3, False)[0])
    assert np.mean(np.array(found) < 0.05) <= bound(0.05, 150)
    apart = [(rng.normal(3, 1, 3), rng.normal(0, 1, 3)) for _ in range(5)]
    assert stats.permuted(apart, [1.0] * 5, False)[0] < 0.001
    pairs = [(rng.normal(3, 1, 3), rng.normal(0, 1, 3)) for _ in range(2)]
    assert stats.permuted(pairs, [1.0] * 2, True)[1] == 2 / 64


def test_classes():
    assert verdict(0.001, 0.01) == SHOWN
    assert verdict(0.01, 0.06) == SUGGESTIVE
    assert verdict(0.2, 0.6) == verdict(np.nan, np.nan) == UNCLEAR


def test_the_frames_hold_what_the_objects_say():
    found = studies(1, 3, drop=2.0, rng=7)
    (headline,) = found.headlines()
    rows, cells = headline.frame(), headline.cells()
    assert list(rows.effect) == sorted(rows.effect, reverse=True)
    assert rows.component[0] == "part 0"
    assert (rows.family == PARTS).all()
    assert len(cells) == 3 * PARTS
    assert headline.family_cells == 3 * PARTS
    assert set(cells.env) == {"e0", "e1", "e2"}


def test_agents_are_compared_with_the_best_over_all_environments(tmp_path):
    rng = np.random.default_rng(1)
    rows = [
        {"label": label, "env": env, "seed": s, "final": mean + rng.normal()}
        for label, mean in (("A", 3.0), ("B", 2.5), ("C", 0.0))
        for env in ("lake", "pond")
        for s in range(10)
    ]
    found = analysis.load(pd.DataFrame(rows))
    (headline,) = found.headlines()
    assert headline.family == 3  # all pairs
    assert [e.label for e in headline.effects] == ["C", "B"]
    assert {e.reference for e in headline.effects} == {"A"}
    (named,) = found.headlines(reference="C")
    assert named.family == 2
    assert [e.label for e in named.effects] == ["B", "A"]
    assert all(e.effect < 0 for e in named.effects)
    with pytest.raises(AnalysisError, match=r"reference"):
        found.headlines(reference="D")
    with pytest.raises(AnalysisError, match=r"reference: DQN: no agents are compared"):
        analysis.load(frame({"lake": 1.0})).headlines(reference="DQN")


def agents(scores, env="lake"):
    """Return runs of agents on one environment: label -> scores."""
    parts = [
        pd.DataFrame({"label": label, "env": env, "seed": range(len(x)), "final": x})
        for label, x in scores.items()
    ]
    return pd.concat(parts, ignore_index=True)


def test_a_label_of_two_runs_hides_no_difference():
    """It has the highest mean by luck, and does not become what the others are compared with."""
    rng = np.random.default_rng(0)
    scores = {"DQN": rng.normal(9.4, 0.1, 10), "PPO": rng.normal(254, 100, 10)}
    found = analysis.load(agents(scores | {"X": np.array([150.0, 500.0])}))
    (headline,) = found.headlines()
    by_label = {e.label: e for e in headline.effects}
    assert by_label["DQN"].reference == "PPO"
    assert by_label["DQN"].verdict == SHOWN
    assert by_label["X"].verdict != SHOWN
    rows = found.ablation()
    assert set(rows.reference[rows.metric == "final"]) == {"PPO"}


@pytest.mark.slow
@pytest.mark.parametrize("k", [6, 14, 20])
def test_family_wise_error_of_comparisons_with_the_best(k):
    rng, said, count = np.random.default_rng(k), 0, 400
    for _ in range(count):
        found = analysis.load(agents({f"a{i}": rng.normal(size=10) for i in range(k)}))
        (headline,) = found.headlines()
        assert headline.family == k * (k - 1) / 2
        said += any(e.verdict == SHOWN for e in headline.effects)
    print(f"{k} agents: {said / count:.4f}")
    assert said / count <= 0.055
