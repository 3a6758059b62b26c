"""The component study finds what was planted, refuses what cannot be said, and says it in words."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from prism.analysis import stats
from prism.analysis.load.data import load
from prism.analysis.questions import curves
from prism.analysis.questions.ablation import ablate
from prism.analysis.questions.design import COMPARISON, Choice
from prism.analysis.questions.scores import score_runs
from prism.analysis.report import figures, tables
from prism.analysis.report.sentences import sentences
from prism.benchmark.store import schema


def study(folder):
    data = load(folder)
    metric = curves.curve_metric(data)
    return ablate(data, score_runs(data, metric))


@pytest.fixture(scope="module")
def table(rainbow):
    return study(rainbow)


def cell(table, label, env="lake", metric="final"):
    rows = table[(table.label == label) & (table.env == env) & (table.metric == metric)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_planted_effects_are_found_and_inert_components_are_not(table, rainbow):
    for env, scale in (("lake", 1.0), ("pond", 0.5)):
        for part, truth in (("multi-step", 60 * scale), ("noisy", 30 * scale)):
            row = cell(table, f"Rainbow - {part}", env)
            assert row.effect_low < truth < row.effect_high
            assert row.p_adjusted < 0.01
        for part in ("double", "prioritized", "dueling", "distributional"):
            assert cell(table, f"Rainbow - {part}", env).p_adjusted > 0.05
        strongest = table[(table.env == env) & (table.metric == "final") & table.strongest]
        assert list(strongest.label) == ["Rainbow - multi-step"]


def test_share_of_the_gap(table):
    row = cell(table, "Rainbow - multi-step")
    assert row.share_low < 0.75 < row.share_high
    full, base = cell(table, "Rainbow"), cell(table, "DQN")
    assert row["share"] == pytest.approx(
        (full["mean"] - row["mean"]) / (full["mean"] - base["mean"])
    )
    assert np.isnan(full["share"])
    assert np.isnan(base["share"])


def test_area_under_a_straight_line(table):
    """Curves rise from 5 % to 100 % of the end, so their mean is 52.5 % of it."""
    for label in ("Rainbow", "Rainbow - noisy"):
        rows = cell(table, label), cell(table, label, metric="auc")
        assert rows[1]["mean"] == pytest.approx(0.525 * rows[0]["mean"])


def test_counts_and_ranks(table):
    final = table[(table.env == "lake") & (table.metric == "final")]
    assert (final.n == 10).all()
    assert (final.planned == 10).all()
    assert cell(table, "DQN")["rank"] == 8
    assert sorted(final["rank"]) == list(range(1, 9))
    assert not final.leads.any()  # the best is an inert ablation or the full agent: no test tells


def test_share_is_refused_but_the_raw_drop_is_not(writer):
    one = writer("flat")
    for seed in range(5):
        one.run(one.variant("DQN"), "lake", seed, 100)
        one.run(one.variant("Rainbow"), "lake", seed, 100)
        one.run(one.without("noisy"), "lake", seed, 50)
    row = cell(study(one.plan()), "Rainbow - noisy")
    assert np.isnan([row["share"], row.share_low, row.share_high]).all()
    assert "is not significant" in row.share_note
    assert row.effect == pytest.approx(50, abs=15)
    assert row.p_adjusted < 0.05


def test_share_is_refused_where_the_base_agent_is_better(writer):
    one = writer("upside-down")
    for seed in range(5):
        one.run(one.variant("DQN"), "lake", seed, 200)
        one.run(one.variant("Rainbow"), "lake", seed, 100)
        one.run(one.without("noisy"), "lake", seed, 50)
    row = cell(study(one.plan()), "Rainbow - noisy")
    assert np.isnan(row["share"])
    assert row.share_note == "the base agent scores significantly above the full agent"


def test_add_one_in_gains_over_the_base(writer):
    one = writer("add")
    added = one.variant("DQN + noisy", schema.ADD_ONE_IN, component="noisy", on=["noisy"])
    for seed in range(6):
        one.run(one.variant("DQN"), "lake", seed, 20)
        one.run(one.variant("Rainbow"), "lake", seed, 100)
        one.run(added, "lake", seed, 60)
    table = study(one.plan())
    row = cell(table, "DQN + noisy")
    assert (row.section, row.reference) == (schema.ADD_ONE_IN, "DQN")
    assert row.effect_low < 40 < row.effect_high
    assert row.share_low < 0.5 < row.share_high
    said = next(v for v in sentences(table) if v.label == "DQN + noisy")
    assert said.text.startswith("adding noisy to DQN raises the final score by ")
    assert said.kind == "better"


def test_a_study_without_components_is_a_comparison(writer):
    one = writer("compare")
    for label, score in (("C51", 90), ("QR-DQN", 89), ("PPO", 10)):
        for seed in range(6):
            one.run(one.variant(label, base=label, full=label), "lake", seed, score, noise=3)
    table = study(one.plan())
    assert set(table.section) == {COMPARISON}
    assert table["share"].isna().all()
    said = {v.label: v for v in sentences(table)}
    assert said["PPO"].kind == "worse"
    assert len(said) == 2


def test_one_run_is_not_judged(writer):
    one = writer("single")
    for label in ("DQN", "Rainbow"):
        one.run(one.variant(label), "lake", 0, 50)
    one.run(one.without("noisy"), "lake", 0, 10)
    table = study(one.plan())
    row = cell(table, "Rainbow - noisy")
    assert np.isnan([row.low, row.high, row.effect_low, row.p, row["share"]]).all()
    assert sentences(table)[0].kind == "unknown"
    assert "cannot be tested" in sentences(table)[0].text


def test_an_agent_without_a_finished_run_keeps_its_row(writer):
    one = writer("failed")
    one.rainbow(seeds=3, parts=1)
    for seed in range(3):
        one.run(one.without("noisy"), "lake", seed, 10, state=schema.FAILED, until=0.5)
    row = cell(study(one.plan()), "Rainbow - noisy")
    assert (row.n, row.planned) == (0, 3)
    assert np.isnan([row["mean"], row.effect, row["rank"]]).all()


def test_all_off_is_a_row_but_no_component(writer):
    one = writer("all-off")
    one.rainbow(seeds=5, parts=2)
    for seed in range(5):
        one.run(one.variant("Rainbow - all", schema.LEAVE_ONE_OUT), "lake", seed, 20)
    row = cell(study(one.plan()), "Rainbow - all")
    assert row.component == ""
    assert row.family == 2
    assert np.isfinite(row.effect)


def test_a_foundation_whose_full_agent_is_the_base_gives_no_share(writer):
    one = writer("foundation")
    replay = one.variant("DQN - replay", schema.LEAVE_ONE_OUT, full="DQN", component="replay")
    for seed in range(4):
        one.run(one.variant("DQN"), "lake", seed, 50)
        one.run(replay, "lake", seed, 10)
    row = cell(study(one.plan()), "DQN - replay")
    assert row.share_note == "the base agent is the full agent"
    assert row.effect > 20


def test_the_same_input_gives_the_same_table(rainbow, table):
    pd.testing.assert_frame_equal(study(rainbow), table)


def test_dropping_a_run_changes_the_table(rainbow, table):
    data = load(rainbow)
    data = dataclasses.replace(data, runs=data.runs[data.runs.run_id != "rainbow-lake-s3"])
    other = ablate(data, score_runs(data, schema.EVAL_RETURN))
    assert cell(other, "Rainbow").n == 9
    assert cell(other, "Rainbow - noisy").effect != cell(table, "Rainbow - noisy").effect


def test_words(table):
    said = [v.text for v in sentences(table) if v.env == "lake"]
    first = cell(table, "Rainbow - multi-step")
    assert said[0].startswith(
        f"removing multi-step lowers the final score by {first.effect:.1f} ["
        f"{first.effect_low:.1f}, {first.effect_high:.1f}] (Holm p < 0.001, "
    )
    assert "largest drop" in said[0]
    dueling = next(text for text in said if "dueling" in text)
    visible = cell(table, "Rainbow - dueling").visible
    assert f"smallest effect with 80% power at n = 10: {visible:.2f}" in dueling
    assert all(v.env for v in sentences(table))  # those over environments are of the headlines


def seeds_of(**seeds):
    """Runs of labels that lie ten apart, each with seeds of its own."""
    rng = np.random.default_rng(2)
    rows = [
        {"label": label, "env": "lake", "seed": s, "final": 10 * k + rng.normal()}
        for k, (label, own) in enumerate(seeds.items())
        for s in own
    ]
    return load(pd.DataFrame(rows))


def test_every_sentence_and_caption_says_the_n_of_both_sides(writer):
    """Two of eight runs of the full agent are left: no effect rests on eight."""
    one = writer("two-left")
    for seed in range(8):
        one.run(one.variant("DQN"), "lake", seed, 20)
        gone = {"state": "finished" if seed < 2 else "missing"}
        one.run(one.variant("Rainbow"), "lake", seed, 100, noise=1, **gone)
        for part, score in (("noisy", 70), ("double", 99)):
            one.run(one.without(part), "lake", seed, score, noise=1)
    data = load(one.plan())
    scores = score_runs(data, schema.EVAL_RETURN)
    found = ablate(data, scores)
    row = cell(found, "Rainbow - noisy")
    assert (row.n_of, row.n_against, row.paired) == (2, 8, False)
    said = {v.label: v.text for v in sentences(found)}
    assert "n = 2 against 8, 36% of" in said["Rainbow - noisy"]
    assert "power at n = 2 against 8: " in said["Rainbow - double"]
    captions = {p.name: p.caption for p in figures.figures(data, scores, found, schema.EVAL_RETURN)}
    assert "n = 2 to 8 runs per agent" in captions["contributions"]


def test_pairs_are_counted_as_pairs():
    data = seeds_of(A=range(10), B=range(5, 15), C=range(10))
    found = ablate(data, score_runs(data, schema.EVAL_RETURN), Choice(test="paired"))
    rows = found[found.metric == "final"].set_index("label")
    assert list(rows.n_of[["A", "B"]]) == [10, 5]
    assert [v.text.rpartition(", ")[2] for v in sentences(found)] == ["10 pairs).", "5 pairs)."]
    notes = " ".join(tables.ablation_tables(found)[0].notes)
    assert "p: paired t test of pairs of seeds (B: 5; A: 10); Holm" in notes
    assert "nan" not in notes  # the labels share too few seeds to say whether those correlate
    whole = seeds_of(A=range(5), B=range(5))
    found = ablate(whole, score_runs(whole, schema.EVAL_RETURN), Choice(test="paired"))
    correlation = found.correlation.iloc[0]
    expected = f"paired t test of 5 pairs, correlation of seeds r = {correlation:.2f}; Holm"
    assert expected in tables.ablation_tables(found)[0].notes[0]


def test_pairs_that_turn_the_order_round_are_told():
    """The best of all runs ends below another on the seeds that both ran."""
    rng = np.random.default_rng(0)
    high = [{"label": "A", "seed": s, "final": (100 if s < 5 else 10)} for s in range(10)]
    low = [{"label": "B", "seed": s, "final": 20} for s in range(5, 15)]
    frame = pd.DataFrame(high + low).assign(env="lake")
    data = load(frame.assign(final=frame.final + rng.normal(size=20)))
    found = ablate(data, score_runs(data, schema.EVAL_RETURN), Choice(test="paired"))
    (said,) = sentences(found)
    assert said.kind == "better"
    assert (
        "above A on the seeds that both ran (Holm p < 0.001, 5 pairs), although A has" in said.text
    )


def test_visible_effect_uses_the_measured_spread(table):
    row = cell(table, "Rainbow - double")
    half = (row.effect_high - row.effect_low) / 2
    assert half < row.visible < 4 * half
    assert (row.family, row.environments) == (12, 2)  # components x environments
    assert stats.visible_effect(1.0, 18, 6) > stats.visible_effect(1.0, 18, 1)


def lucky(one):
    ends = one.variant("DQN"), one.variant("Rainbow"), one.without("noisy")
    return zip(ends, (0, 100, 90), strict=True)


def test_a_test_that_could_not_speak_is_refused_with_the_n_it_needs(writer):
    one = writer("few")
    one.rainbow(seeds=4)
    data = load(one.plan())
    scores = score_runs(data, schema.EVAL_RETURN)
    row = cell(ablate(data, scores, Choice(test="permutation")), "Rainbow - multi-step")
    assert np.isnan([row.p, row.p_adjusted]).all()
    assert row.note.startswith(
        "test skipped: at n = 4, the smallest p of the permutation of Welch's t (exact) test"
    )
    assert row.note.endswith("needs n = 5")
    alone = cell(ablate(data, scores, Choice(correction=stats.NONE)), "Rainbow - noisy")
    assert alone.p == pytest.approx(2 / 70)  # four runs: the automatic test permutes


def test_pairs_only_where_seeds_matter(writer):
    """Seeds that share their luck are paired: the same drop gets a much smaller interval."""
    for name, shared in (("own", 0.0), ("shared", 40.0)):
        one, luck = writer(name), np.random.default_rng(7).normal(size=8)
        for label, score in lucky(one):
            for seed in range(8):
                one.run(label, "lake", seed, score + shared * luck[seed], noise=4)
        row = cell(study(one.plan()), "Rainbow - noisy")
        assert row.test == ("paired t" if shared else "Welch t")
        assert (row.correlation > 0.9) == bool(shared)
        assert row.effect_low < 10 < row.effect_high
        assert row.effect_high - row.effect_low < 20


def test_swapping_two_seeds_changes_a_paired_study(writer):
    one, luck = writer("luck"), np.random.default_rng(7).normal(size=8)
    for label, score in lucky(one):
        for seed in range(8):
            one.run(label, "lake", seed, score + 40 * luck[seed], noise=4)
    data = load(one.plan())
    scores = score_runs(data, schema.EVAL_RETURN)
    swapped = scores.copy()
    mine = swapped.index[swapped.label == "Rainbow"]
    swapped.loc[mine[:2], "seed"] = [1, 0]
    before, after = (cell(ablate(data, x), "Rainbow - noisy") for x in (scores, swapped))
    assert before.p != after.p


def luck_of_seeds(one, seeds=8):
    """Full 45 above base, an agent half-way; the luck that seeds share hides it from Welch."""
    luck = np.random.default_rng(7).normal(size=seeds)
    for label, score in ((one.variant("DQN"), 55), (one.variant("Rainbow"), 100)):
        for seed in range(seeds):
            one.run(label, "lake", seed, score + 60 * luck[seed], noise=4)
    for seed in range(seeds):
        one.run(one.without("noisy"), "lake", seed, 77.5 + 60 * luck[seed], noise=4)
        one.run(one.without("double"), "lake", seed, 100 + 60 * luck[seed], noise=4)
    return load(one.plan())


def test_a_table_has_one_test_for_all_its_differences(writer):
    """The share of full - base is judged by the pairs that the table shows, not by Welch's test."""
    data = luck_of_seeds(writer("one-test"))
    scores = score_runs(data, schema.EVAL_RETURN)
    found = ablate(data, scores)
    base, row = cell(found, "DQN"), cell(found, "Rainbow - noisy")
    assert base.test == row.test == "paired t"
    assert base.p < 0.05
    assert row.share_low < 0.5 < row.share_high
    assert row.share_high - row.share_low < 0.5
    apart = cell(ablate(data, scores, Choice(test="welch")), "Rainbow - noisy")
    assert np.isnan(apart["share"])
    assert apart.share_note.endswith(f"(Welch t, p = {cell_p(data, scores):.3f})")
    flips = cell(ablate(data, scores, Choice(test="paired-permutation")), "Rainbow - noisy")
    assert flips["share"] == row["share"]  # the same means, and sign flips tell them apart


def cell_p(data, scores):
    full, base = (scores.final[scores.label == x].to_numpy() for x in ("Rainbow", "DQN"))
    return stats.welch(full, base).p


def test_the_share_of_pairs_allows_for_seeds_that_only_one_side_has(writer):
    data = luck_of_seeds(writer("ragged"))
    scores = score_runs(data, schema.EVAL_RETURN)
    gone = (scores.label == "DQN") & (scores.seed > 5)
    gone |= (scores.label == "Rainbow - noisy") & (scores.seed < 2)
    row = cell(ablate(data, scores[~gone], Choice(test="paired")), "Rainbow - noisy")
    x = scores.pivot(index="seed", columns="label", values="final")
    part, whole = (x["Rainbow"] - x[label] for label in ("Rainbow - noisy", "DQN"))
    assert row["share"] == pytest.approx(part[2:].mean() / whole[:6].mean())
    # Fieller's limits r solve (part - r whole)^2 = t^2 var(part - r whole)
    covariance = np.cov(part[2:6], whole[2:6])[0, 1] * 4 / 36
    for r in (row.share_low, row.share_high):
        gap = part[2:].mean() - r * whole[:6].mean()
        variance = (part[2:].var() + r**2 * whole[:6].var()) / 6 - 2 * r * covariance
        assert gap**2 == pytest.approx(stats.student_quantile(5) ** 2 * variance)


@pytest.mark.parametrize(
    ("choice", "said"),
    [
        (Choice(), "95% paired t interval (8 pairs of seeds; not corrected for the number of "
         "comparisons). Filled bars: significant by the paired t test, after Holm correction."),
        (Choice("welch", stats.NONE), "95% Welch t interval (n = 8 runs per agent; not corrected "
         "for the number of comparisons). Filled bars: significant by the Welch t test, "
         "uncorrected."),
    ],
)  # fmt: skip
def test_captions_name_the_test_that_was_made(writer, choice, said):
    data = luck_of_seeds(writer("caption"))
    scores = score_runs(data, schema.EVAL_RETURN)
    found = ablate(data, scores, choice)
    captions = {p.name: p.caption for p in figures.figures(data, scores, found, schema.EVAL_RETURN)}
    assert captions["contributions"].endswith(said)
    interval = said.partition("% ")[2].partition(" (")[0]
    assert f"Rainbow minus the agent [95% {interval}, " in tables.ablation_tables(found)[0].notes[0]


def test_places_of_the_contributions(table):
    row = cell(table, "Rainbow - multi-step")
    assert (row.place, row.place_low, row.place_high) == (1, 1, 1)
    inert = cell(table, "Rainbow - dueling")
    assert (inert.place_low, inert.place_high) == (3, 6)
    assert cell(table, "DQN").rank_low == cell(table, "DQN").rank_high == 8
