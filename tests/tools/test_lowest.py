import tomllib
from pathlib import Path

from tools.lowest import lowest, main

PROJECT = tomllib.loads(Path(__file__).parents[2].joinpath("pyproject.toml").read_text())["project"]


def test_bounds_are_read():
    lines = ["a>=1", "b[x,y]>=2.3,<3", "c", "d-e<4", "f_g>=0.4.13"]
    assert list(lowest(lines)) == ["a==1", "b[x,y]==2.3", "f_g==0.4.13"]


def test_every_dependency_has_a_bound(capsys):
    main(["ray"])
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == len(PROJECT["dependencies"]) + 1
    assert printed[-1].startswith("ray==")
