"""Where lanes wait for each other, a seed's steps are those that its live lanes took."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from prism.benchmark.store import checkpoint, ledger, schema
from prism.benchmark.store.job import Job
from prism.benchmark.store.rows import read_rows
from prism.benchmark.train.evaluate import Evaluator
from prism.benchmark.train.recorder import Recorder
from prism.benchmark.train.runner import Training
from tests.helpers import equal
from tests.runs import (
    Killed,
    finished,
    folders,
    job,
    metrics,
    same_results,
    saved,
    states,
    status,
    weights,
)

WAITING: dict[str, tuple[str, dict[str, Any]]] = {
    "reinforce, annealed": ("reinforce", {"algo__lanes": 4, "algo__anneal": True}),
    "grpo": ("grpo", {"algo__lanes": 3, "algo__groups": 2, "algo__epochs": 2}),
    "cem": ("cem", {"algo__lanes": 5, "algo__sessions": 5, "algo__updates": 3}),
    "cem, parameters": ("cem_params", {"algo__lanes": 5}),
}
LANES = {"reinforce, annealed": 4, "grpo": 3, "cem": 5, "cem, parameters": 5}


def waiting(name: str, folder: Path, seeds: tuple[int, ...] = (3, 11, 42), **more: Any) -> Job:
    algo, changes = WAITING[name]
    small: dict[str, Any] = {"algo__hidden": 8 if name == "cem, parameters" else [8]}
    return job(folder, algo, seeds=seeds, **small, **changes, **more)


def ended_in_turn(work: Job) -> list[int]:
    """Train; return the seeds' indices in the order in which they ended."""
    order: list[int] = []
    finish = Recorder.finish

    def spy(self: Recorder, seeds: list[int], remarks: Any) -> None:
        order.extend(seeds)
        finish(self, seeds, remarks)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recorder, "finish", spy)
        finished(work)
    return order


@pytest.mark.parametrize("name", WAITING)
def test_rows_count_the_steps_of_episodes(name: str, tmp_path: Path) -> None:
    """Lengths of the episodes that ended, and of those that run, add up to every row's step."""
    work, checked = waiting(name, tmp_path), 0
    training = Training(work)
    write, lengths, missing = training.recorder.write, np.zeros(3), np.full(3, np.nan)

    def spy(steps: np.ndarray, columns: dict[str, np.ndarray], due: np.ndarray) -> None:
        nonlocal checked
        env = training.env
        for k in np.flatnonzero(due):
            if not np.isnan(columns.get(schema.TRAIN_EPISODES, missing)[k]):
                ended = columns[schema.TRAIN_EPISODES][k]
                lengths[k] += ended * np.nan_to_num(columns[schema.TRAIN_LENGTH][k])
                mine = range(k * training.lanes, (k + 1) * training.lanes)
                running = sum(int(env._length[i]) for i in mine if not env._ended[i])
                assert steps[k] == pytest.approx(lengths[k] + running, abs=1e-6)
                checked += 1
        write(steps, columns, due)

    training.recorder.write = spy  # type: ignore[method-assign]
    training.run(lambda: False)
    training.close()
    assert checked >= 3 * 8 and states(work) == [schema.FINISHED] * 3
    for k, folder in enumerate(folders(work)):
        last = read_rows(folder / "metrics.jsonl")[-1]
        assert 320 <= last[schema.STEP] == status(work, k)["global_step"] < 320 + LANES[name]
        assert schema.FINAL_RETURN in last


@pytest.mark.parametrize("name", WAITING)
def test_a_seed_ends_as_it_would_alone(name: str, tmp_path: Path) -> None:
    pack = waiting(name, tmp_path / "pack")
    order = ended_in_turn(pack)
    assert sorted(order) == [0, 1, 2]
    for k, seed in enumerate(pack.seeds):
        alone = finished(waiting(name, tmp_path / f"{seed}", (seed,)))
        assert metrics(alone)[0] == metrics(pack)[k]
        equal(weights(alone)[0], weights(pack)[k])
    ends = [read_rows(f / "metrics.jsonl")[-1][schema.STEP] for f in folders(pack)]
    rows = [[row[schema.STEP] for row in read_rows(f / "metrics.jsonl")] for f in folders(pack)]
    assert rows[0] != rows[1] != rows[2] and min(ends) >= 320


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if "," in name else ()) for name in WAITING],
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(name: str, tmp_path: Path) -> None:
    """Stops fall into training, into evaluations, and between the ends of two seeds."""
    whole, parts = finished(waiting(name, tmp_path / "whole")), waiting(name, tmp_path / "parts")
    ended: list[int] = []
    while rest := ledger.unfinished_part(parts):
        training, asked = Training(rest), count()
        long = 97 * (1 + len(ended))  # an evaluation must come to its end some time

        def stopped(training: Any = training, asked: Any = asked, long: int = long) -> bool:
            return next(asked) == long or len(training.recorder.live) < len(training.job.seeds)

        training.run(stopped)
        training.close()
        ended.append(states(parts).count(schema.FINISHED))
    same_results(whole, parts)
    assert {1, 2} & set(ended)


def test_a_seed_that_has_ended_is_left_alone(tmp_path: Path) -> None:
    """What is written of it stays when its job is killed and resumed."""
    work = waiting("reinforce, annealed", tmp_path)
    training = Training(work)

    def killed() -> bool:
        if len(training.recorder.live) < 3 and training._owed is None:
            training._save()
            raise Killed
        return False

    with pytest.raises(Killed):
        training.run(killed)
    training.close()
    (k,) = [i for i, state in enumerate(states(work)) if state == schema.FINISHED]
    before, folder = status(work, k), list(folders(work))[k]
    assert (folder / "metrics.parquet").exists() and (folder / schema.WEIGHTS).exists()
    assert next(saved(work).states())["ended"].tolist() == [i == k for i in range(3)]
    rest = ledger.unfinished_part(work)
    assert rest is not None and len(rest.seeds) == 2
    finished(rest)
    assert states(work) == [schema.FINISHED] * 3 and status(work, k) == before


def test_the_end_of_a_seed_that_was_lost_is_told(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    work = waiting("grpo", tmp_path)
    training = Training(work)
    training.run(lambda: len(training.recorder.live) < 3 and training._owed is None)
    training.close()
    again = Training(work)
    again.close()
    assert again.steps.tolist() == [0, 0, 0]
    assert "had ended, but are not finished" in capfd.readouterr().err


def test_an_evaluation_plays_the_seeds_that_are_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    played: list[int] = []
    call = Evaluator.__call__

    def spy(self: Evaluator, *args: Any, **kwargs: Any) -> Any:
        result = call(self, *args, **kwargs)
        played.append(result.returns.size)
        return result

    monkeypatch.setattr(Evaluator, "__call__", spy)
    work = finished(waiting("grpo", tmp_path))
    rows = [row for folder in folders(work) for row in read_rows(folder / "metrics.jsonl")]
    periodic = sum(schema.EVAL_RETURN in row for row in rows)
    assert periodic == 3 * 4 and sum(played) == 2 * periodic + 3 * 3


def test_lanes_that_wait_are_not_counted_by_schedules(tmp_path: Path) -> None:
    """An annealed rate is that of the steps taken, seed by seed."""
    training = Training(waiting("reinforce, annealed", tmp_path, evaluation__every=0))
    agent: Any = training.agent
    optimizer, seen = agent.learner.optimizer, 0
    step = optimizer.step

    def spy(mask: Any) -> Any:
        nonlocal seen
        steps = agent.experience.steps.tolist()
        expected = [agent.config.lr * max(0.0, 1 - s / 320) for s in steps]
        assert optimizer.rates[:: agent.learner.members] == pytest.approx(expected)
        seen += len(set(expected)) > 1
        return step(mask)

    optimizer.step = spy
    training.run(lambda: False)
    training.close()
    assert seen > 3
    assert agent.experience.steps.tolist() == training.steps.tolist()


def test_seeds_of_a_checkpoint_lead_its_counts(tmp_path: Path) -> None:
    """A seed taken out of a checkpoint goes on from its own step."""
    pack: Callable[..., Job] = lambda *seeds: waiting("cem", tmp_path, seeds)  # noqa: E731
    training, asked = Training(pack(3, 11, 42)), count()
    training.run(lambda: next(asked) == 97)
    training.close()
    state = next(saved(training.job).states())
    assert len(set(state["steps"].tolist())) == 3
    assert checkpoint.take_seed(state, 1)["steps"].tolist() == [training.steps[1]]
    alone = Training(pack(11))
    alone.close()
    assert alone.steps.tolist() == [training.steps[1]]
