"""What the tests of tables and figures share."""

import pytest

from prism.analysis.load.data import load
from prism.analysis.questions.ablation import ablate
from prism.analysis.questions.scores import score_runs
from prism.benchmark.store import schema


@pytest.fixture(scope="session")
def parts(rainbow):
    data = load(rainbow)
    scores = score_runs(data, schema.EVAL_RETURN)
    return data, scores, ablate(data, scores)
