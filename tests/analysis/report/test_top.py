"""The answer at the top of a report says what the numbers do."""

from dataclasses import replace

import numpy as np
import pytest

from prism import analysis
from prism.analysis.questions.pooled import SHOWN, Headline
from prism.analysis.report.top import _answer
from tests.analysis.questions.test_pooled import frame


@pytest.fixture(scope="module")
def headline() -> Headline:
    (found,) = analysis.load(frame({"lake": 3.0})).headlines()
    return found


def answer(headline: Headline, **points: float) -> str:
    """Return the answer where removing each component costs so many points, all shown."""
    (effect,) = headline.effects
    (one,) = effect.environments
    effects = tuple(
        replace(
            effect, component=name, effect=value, verdict=SHOWN,
            environments=(replace(one, points=value),),
        )
        for name, value in sorted(points.items(), key=lambda item: -item[1])
    )  # fmt: skip
    return "".join(text for text, _ in _answer(replace(headline, effects=effects)))


@pytest.mark.parametrize(
    ("points", "said"),
    [
        ({"noisy": 3.0}, "Removing noisy costs 3.00 points. "),
        ({"noisy": 3.0, "double": 3.0}, "Removing noisy or double costs 3.00 points each. "),
        (
            {"noisy": 3.0, "double": 2.0},
            "Removing noisy costs 3.00 points, the largest estimate. Double costs too. ",
        ),
        (
            {"noisy": 3.0, "double": 2.0, "dueling": -1.0},
            "Removing noisy costs 3.00 points, the largest estimate. Double costs too. "
            "Removing dueling gains 1.00 points. ",
        ),
    ],
)
def test_the_answer_claims_no_order_beyond_the_estimates(headline, points, said):
    assert np.isfinite(headline.effects[0].effect)
    assert answer(headline, **points) == said
