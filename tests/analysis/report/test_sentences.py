"""The ablation in sentences, where there is little to say."""

import pandas as pd

from prism import analysis


def test_an_environment_without_a_scored_run_says_so():
    rows = [
        {"label": label, "env": env, "seed": seed, "final": 1.0 * seed}
        | {"state": "failed" if env == "pond" else "finished"}
        for label in "ABCDE"
        for env in ("lake", "pond")
        for seed in range(3)
    ]
    sentences = analysis.load(pd.DataFrame(rows)).sentences()
    assert [s.text for s in sentences if s.env == "pond"] == ["no agent has a scored run."]
    assert len([s for s in sentences if s.env == "lake"]) == 4
    assert not any("None" in s.text or "nan" in s.text for s in sentences)
