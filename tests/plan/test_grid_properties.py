"""Grids against a naive model: every combination written down, then struck out."""

import itertools
from pathlib import Path
from typing import Any

import pytest
from hydra import compose
from hypothesis import assume, given
from hypothesis import strategies as st

from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.axes import Grid, seeds
from prism.benchmark.plan.grid import sweep
from prism.benchmark.util.errors import ConfigError
from tests.helpers import examples

KEYS = ("algo", "env", "budget", "algo.lr", "algo.gamma")


@st.composite
def grids(draw: st.DrawFn) -> Grid:
    """Draw axes in some order, some of them in step, and rules of what is left out."""
    keys = draw(st.permutations(KEYS))[: draw(st.sampled_from([4, 3, 5, 2, 1]))]
    zipped = draw(st.lists(st.sampled_from(keys), unique=True, max_size=3))
    together = draw(st.sampled_from([2, 3, 1]))
    axes: dict[str, list[Any]] = {}
    for key in keys:
        values = range(together if key in zipped else draw(st.sampled_from([2, 3, 1])))
        axes[key] = [value // draw(st.sampled_from([1, 1, 1, 2])) for value in values]  # some twice
    value = st.integers(0, 2)
    rule = st.dictionaries(
        st.sampled_from(keys), value | st.lists(value, max_size=2), min_size=1, max_size=3
    )
    return Grid(axes, zipped, draw(st.lists(rule, max_size=2)), {})


def combinations(grid: Grid) -> list[dict[str, Any]]:
    """Return the points of a grid the long way round, the first axis varying slowest."""
    found = []
    for places in itertools.product(*(range(len(v)) for v in grid.axes.values())):
        place = dict(zip(grid.axes, places, strict=True))
        point = {key: grid.axes[key][i] for key, i in place.items()}
        in_step = len({place[key] for key in grid.zipped}) < 2
        struck = False
        for rule in grid.excluded:
            hits = [
                point[key] in wanted if isinstance(wanted, list) else point[key] == wanted
                for key, wanted in rule.items()
            ]
            struck |= all(hits)
        if in_step and not struck:
            found.append(point)
    return found


@examples(300)
@given(grids())
def test_points_are_the_combinations_that_are_left(grid: Grid) -> None:
    assert list(grid.points()) == combinations(grid)


@given(st.lists(st.integers(1, 3), min_size=2, max_size=len(KEYS)), st.data())
def test_axes_in_step_need_equally_many_values(lengths: list[int], data: st.DataObject) -> None:
    axes = {key: list(range(n)) for key, n in zip(KEYS, lengths, strict=False)}
    zipped = data.draw(st.lists(st.sampled_from(list(axes)), unique=True))
    grid = Grid(axes, zipped, [], {})
    if len({len(axes[key]) for key in zipped}) < 2:
        grid.check()
        assert list(grid.points()) == combinations(grid)
    else:
        with pytest.raises(ConfigError, match="these axes need the same number of values"):
            grid.check()


NESTED = st.recursive(st.integers(0, 20), lambda inner: st.lists(inner, max_size=4), max_leaves=12)


def leaves(value: Any) -> list[int]:
    return [value] if isinstance(value, int) else [x for each in value for x in leaves(each)]


@given(st.lists(NESTED, max_size=5))
def test_seeds_are_those_named_each_once_in_order(values: list[Any]) -> None:
    named = leaves(values)
    if not named:
        with pytest.raises(ConfigError, match="seed has no value"):
            seeds(values)
        return
    found = seeds(values)
    assert set(found) == set(named) and len(found) == len(set(found))
    assert found == sorted(found, key=named.index)


@given(
    st.lists(NESTED, max_size=3),
    st.sampled_from([-1, 2**31, 0.0, 1.5, "1", True, None, [3, -3], {"a": 1}]),
    st.lists(NESTED, max_size=3),
)
def test_one_value_that_is_no_seed_spoils_all(
    before: list[Any], bad: Any, after: list[Any]
) -> None:
    with pytest.raises(ConfigError, match=r"seed=.* must be a whole number"):
        seeds([*before, bad, *after])


@st.composite
def seed_words(draw: st.DrawFn) -> tuple[str, list[int]]:
    """Draw a ``seed`` as it may stand on a command line, and what it names."""
    kind = draw(st.sampled_from(["values", "list", "both", "range"]))
    if kind == "range":
        start, stop = draw(st.integers(0, 9)), draw(st.integers(0, 9))
        step = draw(st.integers(1, 4)) * (1 if start < stop else -1)
        assume(start != stop)
        return f"range({start},{stop},{step})", list(range(start, stop, step))
    named = draw(st.lists(st.integers(0, 9), min_size=1, max_size=6))
    text = [str(seed) for seed in named]
    if kind == "values":
        return ",".join(text), named
    cut = 0 if kind == "list" else draw(st.integers(0, len(named) - 1))
    return ",".join([*text[:cut], f"[{','.join(text[cut:])}]"]), named


ALGOS, ENVS, RATES = ("q_learning", "sarsa"), ("frozenlake", "taxi"), (0.1, 0.2)


@st.composite
def commands(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str, float, list[int]]]]:
    """Draw a command line, and the jobs (algorithm, environment, alpha, seeds) that it means."""
    axes: dict[str, list[Any]] = {
        "algo": draw(st.lists(st.sampled_from(ALGOS), min_size=1, max_size=2, unique=True)),
        "env": draw(st.lists(st.sampled_from(ENVS), min_size=1, max_size=2, unique=True)),
        "algo.alpha": draw(st.lists(st.sampled_from(RATES), min_size=1, max_size=2, unique=True)),
    }
    axes = {key: axes[key] for key in draw(st.permutations(list(axes)))}
    most = max(len(values) for values in axes.values())
    equal = [key for key, values in axes.items() if len(values) == most]
    zipped = draw(st.lists(st.sampled_from(equal), unique=True))
    keys = draw(st.sets(st.sampled_from(list(axes))))
    rule = {key: draw(st.sampled_from(axes[key])) for key in sorted(keys)}
    seed, named = draw(seed_words())
    size = draw(st.none() | st.integers(1, 4))
    words = [f"{key}={','.join(map(str, values))}" for key, values in axes.items()]
    words += [f"seed={seed}", f"zip=[{','.join(zipped)}]"]
    words += ["exclude=[{" + ",".join(f"{k}:{v}" for k, v in rule.items()) + "}]"] if rule else []
    words += [f"seeds_per_job={size}"] if size else []
    distinct = list(dict.fromkeys(named))
    most = size or len(distinct)
    packs = [distinct[i : i + most] for i in range(0, len(distinct), most)]
    grid = Grid(axes, zipped, [rule] if rule else [], {})
    jobs = [
        (point["algo"], point["env"], point["algo.alpha"], pack)
        for point in combinations(grid)
        for pack in packs
    ]
    return draw(st.permutations(words[3:])) + words[:3], jobs


@examples(8)
@given(commands())
def test_a_command_line_is_planned_as_it_reads(
    drawn: tuple[list[str], list[tuple[str, str, float, list[int]]]],
) -> None:
    words, wanted = drawn
    if not wanted:
        with pytest.raises(ConfigError, match="exclude leaves no cell"):
            sweep((*words, "budget=100"))
        return
    plan = sweep((*words, "budget=100"))
    planned = [(j.algo, j.env, j.spec.algo.alpha, j.seeds) for j in plan.jobs]
    assert planned == wanted
    assert not plan.skipped and Path(plan.jobs[0].study_dir).name == "adhoc"
    runs = [run for job in plan.jobs for run in job.run_ids]
    assert len(runs) == len(set(runs)) == sum(len(own) for *_, own in wanted)


SETTINGS = (
    *("algo.alpha=0.1", "algo.alpha=0.2", "algo.gamma=0.5", "budget=100", "budget=200"),
    *("algo.behaviour={start:0.5}", "algo.behaviour={start:0.6,end:0.2}"),
    *("algo.behaviour.start=0.7", "algo.behaviour.start=0.8", "evaluation={every:3}"),
    *("evaluation.every=4", "evaluation={every:5,episodes:2}"),
)


@examples(8)
@given(st.lists(st.sampled_from(SETTINGS), max_size=5))
def test_the_words_of_a_command_act_in_their_order(words: list[str]) -> None:
    """A cell has the config that Hydra composes from the same words; a key said again replaces."""
    cell = ("algo=q_learning", "env=frozenlake")
    (job,) = sweep((*cell, *words, "tuned=false")).jobs
    last = {word.partition("=")[0]: i for i, word in enumerate(words)}
    kept = [words[i] for i in sorted(last.values())]
    with cfg.session():
        assert job.spec == cfg.resolved(compose("config", overrides=[*cell, *kept]))
