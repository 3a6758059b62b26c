"""A sequential test of a study: what is open, what is decided, and how often wrongly."""

import json

import numpy as np
import pandas as pd
import pytest

from prism import analysis
from prism.analysis.errors import AnalysisError
from prism.analysis.questions import adaptive
from prism.benchmark.store.schema import LEAVE_ONE_OUT, PRESET

SEEDS = [5, 10, 15]


class Runs:
    """Scores of agents, of which as many seeds are shown as are planned for the open ones."""

    def __init__(self, means, rng=0, envs=("lake",), parts=False):
        self.rng, self.parts = np.random.default_rng(rng), parts
        self.scores = {
            (label, env): mean + self.rng.normal(size=SEEDS[-1])
            for label, mean in means.items()
            for env in envs
        }
        self.n = dict.fromkeys(means, SEEDS[0])

    def frame(self):
        rows = []
        for (label, env), scores in self.scores.items():
            part = label.partition(" - ")[2] or None if self.parts else None
            ends = {"base": "base", "full": "full"} if self.parts else {}
            for seed, score in enumerate(scores[: self.n[label]]):
                rows.append(
                    {"label": label, "env": env, "seed": seed, "final": score, "component": part}
                    | {"kind": LEAVE_ONE_OUT if part else PRESET, **ends}
                )
        return pd.DataFrame(rows)

    def looked(self, reference=None):
        """Look until all is decided or the last look is made; return the records."""
        record, records = adaptive.begun(SEEDS, reference), []
        for n in SEEDS:
            for label in record["open"] or (self.n if record["open"] is None else ()):
                self.n[label] = n
            found = analysis.load(self.frame()).headlines(reference=reference)
            record = adaptive.after(record, found)
            records.append(record)
            if not record["open"]:
                break
        return records


def test_decided_components_get_no_more_seeds_and_open_ones_do():
    means = {"full": 10.0, "full - a": 0.0, "full - b": 10.0}
    runs = Runs(means, parts=True)
    records = runs.looked()
    assert [record["open"] for record in records] == [["full", "full - b"]] * 3
    assert runs.n == {"full": 15, "full - a": 5, "full - b": 15}
    again = {t["other"]: t["p"] for t in records[1]["looks"][1]}
    assert again["full - a"] is None
    assert again["full - b"] is not None
    text = adaptive.told(records[-1])
    assert text[0] == "look 3 of 3, 15 seeds"
    assert text[1].startswith("decided   full scores above full - a (p < 0.001")
    assert text[2] == "open      full, full - b"
    assert text[3] == "error     family-wise at most 5%, over 2 comparisons and 3 planned looks"


def test_an_agent_that_is_behind_another_is_out_and_the_rest_go_on():
    runs = Runs({"A": 10.0, "B": 9.9, "C": 0.0, "D": 0.1}, envs=("lake", "pond"))
    records = runs.looked()
    assert records[0]["open"] == ["A", "B"]  # whether C is above D does not matter
    assert runs.n == {"A": 15, "B": 15, "C": 5, "D": 5}
    tested = {(t["one"], t["other"]) for t in records[1]["looks"][1] if t["p"] is not None}
    assert tested == {("A", "B")}


def test_it_stops_at_the_first_look_that_decides_all():
    records = Runs({"A": 10.0, "B": 0.0}).looked()
    assert len(records) == 1
    assert records[0]["open"] == []


def test_a_reference_is_compared_with_everyone():
    records = Runs({"A": 10.0, "B": 0.0, "C": 0.1}).looked(reference="B")
    assert records[0]["open"] == ["B", "C"]


def test_identical_agents_are_decided_once_and_for_all():
    frame = Runs({"A": 1.0, "B": 1.0}).frame()
    steps = [
        {**row, "global_step": t, "eval/return": row["final"] * t}
        for row in frame[frame.label == "A"].to_dict("records")
        for t in (1, 2)
    ]
    both = pd.DataFrame(steps + [{**row, "label": "B"} for row in steps])
    record = adaptive.after(adaptive.begun(SEEDS, None), analysis.load(both).headlines())
    assert record["open"] == []
    assert "decided   A and B: the runs are identical" in adaptive.told(record)
    more = both[(both.label == "A") | (both.seed < 3)]  # they differ in n now
    later = adaptive.after(record, analysis.load(more).headlines())
    assert later["open"] == []


def test_a_record_survives_its_file_and_another_is_refused():
    (*_, record) = Runs({"A": 1.0, "B": 1.0}).looked()
    assert adaptive.checked(json.loads(json.dumps(record))) == record
    broken = [
        [], {}, {**record, "more": 1}, {**record, "seeds": [5.0]}, {**record, "open": [1]},
        {**record, "looks": [[{}]]}, {**record, "looks": record["looks"] * 2},
    ]  # fmt: skip
    for value in broken:
        with pytest.raises(AnalysisError, match="no record of looks"):
            adaptive.checked(value)


def wrong(count, means, parts, rng):
    """Return how often studies without any difference decide one."""
    found = 0
    for i in range(count):
        (*_, record) = Runs(means, rng=[rng, i], parts=parts).looked()
        found += any(p < 0.05 for p, _ in adaptive.corrected(record).values())
    return found / count


@pytest.mark.slow
@pytest.mark.parametrize("parts", [True, False])
def test_family_wise_error_of_whole_studies(parts):
    labels = ["full", *(f"full - {x}" for x in "abc")]
    rate = wrong(600, dict.fromkeys(labels, 0.0), parts, rng=5)
    print(f"{'components' if parts else 'all pairs'}: {rate:.4f}")
    assert rate <= 0.05
