"""Ranks over environments and probabilities of improvement."""

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.cli import main


def study(means, n=10, envs=("lake", "pond", "sea"), rng=0):
    generator = np.random.default_rng(rng)
    return pd.DataFrame(
        [
            {"label": label, "env": env, "seed": s, "final": mean + generator.normal()}
            for label, mean in means.items()
            for env in envs
            for s in range(n)
        ]
    )


def test_ranks_and_improvement_by_brute_force():
    data = study({"A": 0.0, "B": 0.6, "C": 5.0})
    found = analysis.load(data).standing().set_index("label")
    assert list(found.index) == ["C", "B", "A"]
    assert found.reference.unique() == ["C"]
    means = data.pivot_table(index="label", columns="env", values="final")
    expected = means.rank(ascending=False).mean(axis=1)
    assert dict(found["rank"]) == pytest.approx(dict(expected))
    assert (found["rank_low"] <= found["rank"]).all()
    assert found["first"]["C"] == 1
    assert found["first"].sum() == pytest.approx(1)
    assert np.isnan(found.improvement["C"])
    named = analysis.load(data).standing("A").set_index("label")
    wins = [
        (x[:, None] > y[None]).mean()
        for x, y in (
            [data.final[(data.label == label) & (data.env == env)].to_numpy() for label in "BA"]
            for env in ("lake", "pond", "sea")
        )
    ]
    assert named.improvement["B"] == pytest.approx(np.mean(wins))
    assert named.improvement_low["B"] < np.mean(wins) < named.improvement_high["B"]


def test_the_interval_of_improvement_covers():
    """Of two normal scores one standard deviation apart, P = Phi(1 / sqrt 2) = 0.760."""
    held = 0
    for rng in range(15):
        found = analysis.load(study({"A": 0.0, "B": 1.0}, rng=rng)).standing("A")
        row = found.set_index("label").loc["B"]
        held += row.improvement_low <= 0.760 <= row.improvement_high
    assert held >= 11


def test_a_label_that_lacks_an_environment_has_no_rank():
    data = study({"A": 0.0, "B": 1.0, "C": 2.0})
    found = analysis.load(data[(data.label != "C") | (data.env != "sea")])
    assert set(found.standing().label) == {"A", "B"}
    assert any("C has no rank" in note for note in found.data.notes)


def test_the_command(tmp_path, capsys):
    study({"A": 0.0, "B": 1.0}).to_csv(tmp_path / "runs.csv", index=False)
    assert main(["ranks", str(tmp_path / "runs.csv"), "--reference", "A"]) == 0
    text = capsys.readouterr().out
    assert "Ranks over 3 environments" in text
    assert "P(better than A)" in text
    assert main(["ranks", str(tmp_path / "runs.csv"), "--reference", "X"]) == 2
    assert "reference" in capsys.readouterr().err
