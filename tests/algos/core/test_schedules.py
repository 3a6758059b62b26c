import math

import pytest

from prism.algos.core.schedules import KINDS, Schedule


def test_linear_and_exponential_reach_their_end_and_stay() -> None:
    linear, exponential = (Schedule(k, 1.0, 0.01, 100) for k in ("linear", "exponential"))
    values = [linear(t) for t in (0, 50, 100, 10**9)]
    assert values == pytest.approx([1.0, 0.505, 0.01, 0.01])
    values = [exponential(t) for t in (0, 50, 100, 10**9)]
    assert values == pytest.approx([1.0, 0.1, 0.01, 0.01])
    ratios = [exponential(t + 1) / exponential(t) for t in range(99)]
    assert ratios == pytest.approx([ratios[0]] * 99)


def test_constant_never_moves() -> None:
    assert {Schedule("constant", 0.3, 0.0, 10)(t) for t in (0, 5, 10, 1000)} == {0.3}


def test_harmonic_is_greedy_in_the_limit_and_its_sum_diverges() -> None:
    """A floor fails the first, a decay to zero in finite time the second."""
    harmonic = Schedule("harmonic", 1.0, 0.05, 100)
    assert harmonic(0) == 1.0 and harmonic(10**12) < 1e-9
    partial = [sum(harmonic(t) for t in range(10**n)) for n in (3, 4, 5)]
    # sum of 1 / (1 + t / c) grows like c log t: every decade adds c log 10, without end
    assert partial[2] - partial[1] == pytest.approx(100 * math.log(10), rel=0.01)
    assert partial[2] - partial[1] > 0.99 * (partial[1] - partial[0])
    floor = Schedule("linear", 1.0, 0.05, 100)
    assert floor(10**12) == pytest.approx(0.05)  # not greedy in the limit
    vanishing = Schedule("linear", 1.0, 0.0, 100)
    assert sum(map(vanishing, range(10**4))) == sum(map(vanishing, range(10**3)))  # not infinite


@pytest.mark.parametrize("kind", KINDS)
def test_schedules_never_rise_from_start_to_end(kind: str) -> None:
    values = [Schedule(kind, 1.0, 0.05, 37)(t) for t in range(200)]
    assert values[0] == 1.0 and values == sorted(values, reverse=True)


def test_mistakes_are_refused() -> None:
    with pytest.raises(ValueError, match="linear, exponential, harmonic, constant, got 'linaer'"):
        Schedule("linaer", 1, 0, 1)
    for start, end in ((1.0, 0.0), (0.0, 1.0)):
        with pytest.raises(ValueError, match="above 0"):
            Schedule("exponential", start, end, 10)
