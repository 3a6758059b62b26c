"""Components that never acted, repeated seeds, and agents that never learned are told as such."""

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.cli import main
from prism.analysis.questions.pooled import IDLE
from prism.benchmark.store.schema import LEAVE_ONE_OUT, PRESET

PARTS = ("clip", "noisy", "double")


def rows(curves, label, part=None, env="lake", **columns):
    """Return the rows of a label: one curve per seed, the last value is the final score."""
    return [
        {"label": label, "kind": LEAVE_ONE_OUT if part else PRESET, "component": part}
        | {"base": "base", "full": "full", "env": env, "seed": seed, "global_step": 10 * (t + 1)}
        | {"eval/return": value, "loss/td": value / 3, "final": curve[-1]}
        | columns
        for seed, curve in enumerate(curves)
        for t, value in enumerate(curve)
    ]


def study(same=(), envs=("lake",), change=lambda frame: frame):
    """Return a study whose parts in ``same`` repeat the full agent's runs on these environments."""
    rng, found = np.random.default_rng(0), []
    for env in envs:
        full = rng.normal(size=(6, 4))
        found += rows(full, "full", env=env)
        for part in PARTS:
            curves = full if (part, env) in same else rng.normal(size=(6, 4))
            found += rows(curves, f"full - {part}", part, env=env)
    return analysis.load(change(pd.DataFrame(found)))


def test_identical_runs_are_said_and_not_counted():
    found = study({("double", "lake")})
    (headline,) = found.headlines()
    by_label = {e.component: e for e in headline.effects}
    double = by_label["double"]
    assert double.verdict == double.environments[0].verdict == IDLE
    assert double.note == "never acted here: the runs are identical"
    assert np.isnan([double.p, double.p_adjusted]).all()
    assert headline.family == headline.family_cells == 2
    frame = found.ablation()
    assert set(frame.family[frame.metric == "final"]) == {2}
    (said,) = [s for s in found.sentences() if s.label == "full - double"]
    assert said.text == (
        "removing double changes nothing: it never acted here: the runs are identical."
    )


def test_a_component_that_acts_on_one_of_two_environments_counts():
    found = study({("double", "lake")}, envs=("lake", "pond"))
    (headline,) = found.headlines()
    assert headline.family == 3
    assert headline.family_cells == 5
    (double,) = [e for e in headline.effects if e.component == "double"]
    lake, pond = double.environments
    assert lake.verdict == IDLE
    assert double.effect == pytest.approx(pond.effect / 2)


@pytest.mark.parametrize("column", ["eval/return", "loss/td", "final"])
def test_one_bit_makes_runs_different(column):
    def nudge(frame):
        place = frame.index[(frame.label == "full - double") & (frame.seed == 2)][-1]
        frame.loc[place, column] = np.nextafter(frame.loc[place, column], np.inf)
        if column == "final":
            frame.loc[frame.index[(frame.label == "full - double") & (frame.seed == 2)], column] = (
                frame.loc[place, column]
            )
        return frame

    (headline,) = study({("double", "lake")}, change=nudge).headlines()
    assert headline.family == 3


def test_scores_at_a_ceiling_are_not_identical_runs():
    """Flat curves of equal returns do not show that two agents are one."""
    frame = pd.DataFrame(
        rows(np.full((5, 4), 500.0), "full") + rows(np.full((5, 4), 500.0), "full - clip", "clip")
    )
    found = analysis.load(frame.drop(columns="loss/td"))
    (headline,) = found.headlines()
    assert headline.effects[0].verdict != IDLE
    text = " ".join(s.text for s in found.sentences())
    assert "0.0000" not in text
    assert "all runs score the same, n = 5" in text
    assert not any("same rows" in note for note in found.data.notes)


def test_a_diagnostic_of_zero_says_that_a_component_never_acted():
    def clipped(frame, share=0.0):
        mine = frame.label != "full - clip"
        return frame.assign(**{"loss/clipped": np.where(mine, share, np.nan)})

    for share, idle in ((0.0, True), (0.1, False)):
        found = study(change=lambda frame, share=share: clipped(frame, share))
        (headline,) = found.headlines()
        (clip,) = [e for e in headline.effects if e.component == "clip"]
        assert (clip.verdict == IDLE) == idle
        assert headline.family == 3 - idle
        assert (clip.note == "never acted here: loss/clipped is 0 in all 6 runs") == idle


def test_seeds_with_equal_rows_are_named():
    def repeat(frame):
        own = (frame.label == "full") & (frame.seed == 4)
        other = frame[(frame.label == "full") & (frame.seed == 1)]
        for column in ("eval/return", "loss/td", "final"):
            frame.loc[own, column] = other[column].to_numpy()
        return frame

    found = study(change=repeat)
    assert found.scores is not None
    (note,) = [note for note in found.data.notes if "same rows" in note]
    assert note.startswith("full on lake: seeds 1, 4 have the same rows to the bit")
    clean = study()
    assert clean.scores is not None
    assert not any("same rows" in note for note in clean.data.notes)


def test_two_agents_that_are_one():
    rng = np.random.default_rng(0)
    one, other = rng.normal(9, 1, (6, 4)), rng.normal(0, 1, (6, 4))
    frame = pd.DataFrame([*rows(one, "A"), *rows(one, "B"), *rows(other, "C")])
    found = analysis.load(frame.drop(columns=["base", "full"]))
    (headline,) = found.headlines()
    assert headline.family == 2
    text = {s.label: s.text for s in found.sentences()}
    assert text["B"] == "B and A are one agent here: the runs are identical."


@pytest.mark.parametrize("metric", ["updates", "score"])
def test_an_agent_that_never_learned_is_flagged_everywhere(metric, tmp_path, capsys):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame(
        [
            *rows(rng.normal(60, 1, (6, 4)), "full"),
            *rows(rng.normal(0.2, 1, (6, 4)), "full - noisy", "noisy"),
            *rows(rng.normal(50, 1, (6, 4)), "full - double", "double"),
        ]
    )
    if metric == "updates":
        frame["updates"] = np.where(frame.label == "full - noisy", 0, 100)
        flag = "never learned: no update in 6 of 6 runs"
    else:
        frame = frame.assign(random=0.0, reference=100.0)
        flag = "scores no more than the random policy"
    found = analysis.load(frame)
    (headline,) = found.headlines()
    notes = {e.component: e.note for e in headline.effects}
    assert flag in notes["noisy"]
    assert flag not in notes["double"]
    said = {s.label: s.text for s in found.sentences()}
    assert said["full - noisy"].endswith(f"full - noisy {flag}.")
    assert flag not in said["full - double"]
    frame.to_csv(tmp_path / "runs.csv", index=False)
    for command in ("table", "ablation"):
        assert main([command, str(tmp_path / "runs.csv")]) == 0
        assert flag in " ".join(capsys.readouterr().out.split())


def bare(same=True, envs=("lake", "pond"), seeds=6, **columns):
    """Return a frame of base, full, one part off, and all parts off, which repeats the base."""
    rng, found = np.random.default_rng(1), []
    for env in envs:
        base = rng.normal(size=(6, 4))
        found += rows(base, "base", env=env) + rows(rng.normal(size=(6, 4)) + 2, "full", env=env)
        found += rows(rng.normal(size=(6, 4)), "full - noisy", "noisy", env=env)
        twin = base if same or env == "lake" else rng.normal(size=(6, 4))
        found += rows(twin[:seeds], "full - all", env=env, kind=LEAVE_ONE_OUT, **columns)
    return pd.DataFrame(found)


def test_all_parts_off_that_is_the_base_agent_has_one_row_everywhere(tmp_path, capsys):
    found = analysis.load(bare())
    (note,) = [x for x in found.data.notes if "full - all" in x]
    assert note == "full - all is base, run by run to the bit: it has no row of its own"
    labels = {"base", "full", "full - noisy"}
    for frame in (found.scores, found.ablation(), found.curves(), found.standing()):
        assert set(frame.label) == labels
    assert set(found.runs.label) == {*labels, "full - all"}
    assert found.data.counts() == {"scored": 48}
    page = found.report(tmp_path / "report")
    tables = "".join(x.read_text() for x in (page.parent / "tables").iterdir())
    assert "full - all" not in tables
    assert (page.parent / "report.md").read_text().count("full - all") == 1
    same = found.compare(found)
    assert set(same.label) == {*labels, "full - all"}  # every run is compared with its older self


@pytest.mark.parametrize("change", [{"same": False}, {"seeds": 5}])
def test_all_parts_off_that_differs_somewhere_keeps_its_rows(change):
    found = analysis.load(bare(**change))
    assert "full - all" in set(found.scores.label)
    assert not any("row of its own" in note for note in found.data.notes)


def test_a_twin_does_not_make_the_seeds_matter():
    """Copies of the base agent's scores would correlate by seed."""
    with_twin = analysis.load(bare()).ablation()
    without = bare()
    alone = analysis.load(without[without.label != "full - all"]).ablation()
    pd.testing.assert_frame_equal(with_twin, alone)


def test_the_names_of_a_twin_and_the_order_of_labels(tmp_path, capsys):
    bare().to_csv(tmp_path / "runs.csv", index=False)
    words = ["report", str(tmp_path / "runs.csv"), "--out", str(tmp_path / "out")]
    more = ["--rename", "base=plain", "--order", "full - all", "plain"]
    assert main([*words, *more]) == 0
    assert "full - all is plain, run by run" in capsys.readouterr().out
