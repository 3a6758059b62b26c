"""Messages name the nearest valid names, or the first valid ones."""

import pytest

from prism.analysis.errors import count, nearest, unknown


@pytest.mark.parametrize(
    ("name", "names", "message"),
    [
        ("tabel", ["table", "report"], "nearest: table"),
        ("HOLM", ["Holm", "no"], "nearest: Holm"),
        ("zz", ["b", "a"], "valid: b, a"),
        ("zz", [f"{i}" for i in range(9)], "valid: 0, 1, 2, 3, 4, 5, 6, 7, ..."),
        (
            "DQN",
            ["C51", "DQN, lr=0.001", "DQN, lr=0.01"],
            "nearest: 'DQN, lr=0.01', 'DQN, lr=0.001'",
        ),
    ],
)
def test_nearest_names(name, names, message):
    assert nearest(name, names) == message


def test_an_unknown_name_is_one_line_with_its_key():
    assert str(unknown("--format", "cvs", ["csv"])) == "--format: unknown 'cvs'; nearest: csv"


def test_counts():
    assert [count(n, "run") for n in (0, 1, 2)] == ["0 runs", "1 run", "2 runs"]
