"""Main effects, interactions and Shapley values of complete factorials."""

import itertools
import json

import numpy as np
import pandas as pd
import pytest

from prism.analysis.load.data import load
from prism.analysis.questions.factorial import INTERACTION, MAIN, SHAPLEY, _contrasts, effects
from prism.analysis.questions.scores import score_runs
from prism.benchmark.store import schema


@pytest.fixture(scope="module")
def factors(tmp_path_factory):
    """Two components that add 30 and 10, and 20 more together; a third that is inert."""
    rows = []
    rng = np.random.default_rng(0)
    for a, b, c in itertools.product((0, 1), repeat=3):
        on = [name for name, x in zip(("double", "noisy", "dueling"), (a, b, c), strict=True) if x]
        for seed in range(12):
            score = 10 + 30 * a + 10 * b + 20 * a * b + rng.normal()
            facts = {"label": "+".join(["DQN", *on]), "env": "lake", "base": "DQN", "full": "All"}
            switches = {"on": json.dumps(["replay", *on])}
            rows.append({**facts, **switches, "seed": seed, "final": score})
    data = load(pd.DataFrame(rows))
    return effects(data, score_runs(data, schema.EVAL_RETURN))


def test_main_effects_interactions_and_shapley_values(factors):
    final = factors[factors.metric == "final"].set_index(["kind", "name"])
    truth = {
        (MAIN, "double"): 40, (MAIN, "noisy"): 20, (MAIN, "dueling"): 0,
        (INTERACTION, "double x noisy"): 10, (INTERACTION, "double x dueling"): 0,
        (SHAPLEY, "double"): 40, (SHAPLEY, "noisy"): 20, (SHAPLEY, "dueling"): 0,
    }  # fmt: skip
    for key, value in truth.items():
        row = final.loc[key]
        assert row.low <= value <= row.high, key
        assert (row.p_adjusted < 0.001) == (value != 0)
    assert final.loc[SHAPLEY].effect.sum() == pytest.approx(60, abs=1.5)  # full - base
    assert set(final.cells) == {8}


def test_shapley_values_add_up_exactly():
    rng = np.random.default_rng(3)
    names = ("a", "b", "c", "d")
    cells = [frozenset(s) for k in range(5) for s in itertools.combinations(names, k)]
    value = {s: rng.normal() for s in cells}
    found = {
        name: sum(w * value[s] for s, w in weights.items())
        for kind, name, weights in _contrasts(names)
        if kind == SHAPLEY
    }
    assert sum(found.values()) == pytest.approx(value[frozenset(names)] - value[frozenset()])
    orders = list(itertools.permutations(names))
    before = [frozenset(order[: order.index("b")]) for order in orders]
    added = [value[s | {"b"}] - value[s] for s in before]
    assert found["b"] == pytest.approx(np.mean(added))


def test_an_incomplete_factorial_gives_none(rainbow):
    data = load(rainbow)
    assert effects(data, score_runs(data, schema.EVAL_RETURN)).empty
