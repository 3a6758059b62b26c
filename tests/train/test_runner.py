"""A run is what its config and seed say: whoever runs beside it."""

import dataclasses
import errno
import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch

from prism.algos.dqn.config import DQNConfig
from prism.algos.dqn.dqn import DQN
from prism.benchmark.cli.main import main
from prism.benchmark.envs.episodes import FINAL
from prism.benchmark.store import checkpoint, identity, provenance, records, schema, spec
from prism.benchmark.store.job import Job
from prism.benchmark.store.rows import read_rows
from prism.benchmark.train.evaluate import evaluate_run
from prism.benchmark.train.runner import Training, run_job
from prism.benchmark.util.errors import ConfigError
from tests.helpers import equal
from tests.runs import (
    BREAKS,
    RUNS,
    finished,
    folders,
    job,
    like,
    metrics,
    states,
    status,
    stop,
    weights,
)


@pytest.mark.parametrize("name", RUNS)
def test_a_seeds_folder_does_not_depend_on_its_company(
    name: str, whole: Callable[[str], Job], tmp_path: Path
) -> None:
    pack = whole(name)
    assert len(set(metrics(pack))) == 3
    alone = finished(like(name, tmp_path, seeds=(11,)))
    assert alone.run_ids == pack.run_ids[1:2] and metrics(alone) == metrics(pack)[1:2]
    equal(weights(alone)[0], weights(pack)[1])


@pytest.mark.parametrize("algo", ["dqn", "rainbow"])
def test_evaluation_changes_nothing(algo: str, tmp_path: Path) -> None:
    with_ = finished(job(tmp_path / "with", algo))
    more = {"evaluation__episodes": 5, "evaluation__every": 70, "evaluation__seed": 1}
    other = finished(job(tmp_path / "other", algo, **more))
    without = finished(job(tmp_path / "without", algo, evaluation__every=0))
    for work in (other, without):
        for ours, theirs in zip(weights(with_), weights(work), strict=True):
            equal(ours, theirs)
        for pair in zip(folders(with_), folders(work), strict=True):
            ours, theirs = map(training_rows, pair)
            assert ours == theirs and len(ours) == 8
    rows = read_rows(next(folders(without)) / "metrics.jsonl")
    assert not any(schema.EVAL_RETURN in row for row in rows)


def training_rows(folder: Path) -> list[dict[str, Any]]:
    rows = read_rows(folder / "metrics.jsonl")
    kept = [
        {k: v for k, v in row.items() if k.startswith(("train/", "loss/", "global"))}
        for row in rows
        if row[schema.STEP] % 40 == 0
    ]
    assert any("loss/value" in row for row in kept)
    return kept


def test_rows_hold_what_was_measured(whole: Callable[[str], Job]) -> None:
    work = whole("dqn")
    for k, folder in enumerate(folders(work)):
        rows = read_rows(folder / "metrics.jsonl")
        steps = [row[schema.STEP] for row in rows]
        assert steps == sorted({*range(40, 321, 40), *range(90, 321, 90)})
        assert [s for s in steps if s % 90 == 0 or s == 320] == [
            row[schema.STEP] for row in rows if schema.EVAL_RETURN in row
        ]
        assert [schema.FINAL_RETURN in row for row in rows] == [False] * (len(rows) - 1) + [True]
        assert None not in {v for row in rows for v in row.values()}
        episodes = sum(row.get(schema.TRAIN_EPISODES, 0) for row in rows)
        length = sum(r[schema.TRAIN_EPISODES] * r.get(schema.TRAIN_LENGTH, 0) for r in rows
                     if schema.TRAIN_EPISODES in r)  # fmt: skip
        assert episodes > 5 and 200 < length <= 320  # the last episode has not ended
        for row in rows:  # a step of CartPole pays 1
            for part in ("train", "eval", "final"):
                assert row.get(f"{part}/return") == row.get(f"{part}/length")
            if "value/bias" in row:
                bias = row["value/predicted"] - row["value/realised"]
                assert row["value/bias"] == pytest.approx(bias)
        assert status(work, k)["global_step"] == 320


def test_the_folder_keeps_its_contract(tmp_path: Path) -> None:
    work = finished(job(tmp_path, seeds=(5,)))
    folder = next(folders(work))
    assert {p.name for p in folder.iterdir()} == {
        *("run.json", "status.json", "metrics.jsonl", "metrics.parquet", "timing.jsonl"),
        *("tracking.json", "weights.pt"),
    }
    record = json.loads((folder / "run.json").read_text())
    assert record.keys() == get_type_hints(schema.RunRecord).keys()
    assert record["variant"].keys() == get_type_hints(schema.Variant).keys()
    assert (record["run_id"], record["seed"], record["budget"]) == (folder.name, 5, 320)
    assert "tracking" not in record["config"] and record["code"] == provenance.code_hash()
    state = status(work, 0)
    assert state.keys() == get_type_hints(schema.Status).keys() - {"size"}  # of older versions
    assert (state["state"], state["exit_code"], state["reason"]) == (schema.FINISHED, 0, None)
    frame = pd.read_parquet(folder / "metrics.parquet")
    assert frame[schema.STEP].tolist() == [
        row[schema.STEP] for row in read_rows(folder / "metrics.jsonl")
    ]
    beat = records.read_json(records.job_dir(work) / "heartbeat.json")
    assert beat["global_step"] == beat["budget"] == 320


def test_saved_weights_score_what_was_recorded(tmp_path: Path) -> None:
    for algo in ("double_q", "rainbow"):
        work = finished(job(tmp_path, algo, seeds=(3, 11), evaluation__episodes=4))
        for folder in folders(work):
            row = read_rows(folder / "metrics.jsonl")[-1]
            again = evaluate_run(folder, 4, purpose=FINAL)
            assert again["mean"] == row[schema.FINAL_RETURN]
            assert again["length"] == row[schema.FINAL_LENGTH]
            assert again["min"] <= again["mean"] <= again["max"] and again["episodes"] == 4
        assert evaluate_run(next(folders(work)), 1)["std"] is None


def test_evaluating_what_is_not_there_is_one_line(tmp_path: Path) -> None:
    work = job(tmp_path)
    stop(work, 10)
    folder = next(folders(work))
    with pytest.raises(ConfigError, match="no weights"):
        evaluate_run(folder, 1)
    with pytest.raises(ConfigError, match=folder.name[:12]):
        evaluate_run(folder.with_name(folder.name[:-1]), 1)


def test_a_seed_whose_environment_raises_fails_alone(tmp_path: Path) -> None:
    work = job(tmp_path / "pack", env="Prism/Raises-v0", **BREAKS)
    run_job(work)
    assert sorted(states(work)) == [schema.FAILED, schema.FINISHED, schema.FINISHED]
    k = states(work).index(schema.FAILED)
    folder = list(folders(work))[k]
    assert "RuntimeError: broke at step 3" in (folder / "error.txt").read_text()
    state = status(work, k)
    assert (state["state"], state["exit_code"]) == (schema.FAILED, 1)
    assert "broke at step 3" in str(state["reason"]) and 0 < state["global_step"] < 320
    assert not (folder / "weights.pt").exists() and not (folder / "metrics.parquet").exists()
    rest = tuple(s for s in work.seeds if s != work.seeds[k])
    without = finished(job(tmp_path / "rest", env="Prism/Raises-v0", seeds=rest, **BREAKS))
    assert metrics(without) == [m for i, m in enumerate(metrics(work)) if i != k]


@pytest.mark.parametrize("where", ["obs", "reward"])
def test_numbers_that_are_not_finite_end_the_run(where: str, tmp_path: Path) -> None:
    kwargs = {"n": 3, "where": where}
    work = job(tmp_path, env="Prism/NaN-v0", seeds=(0, 1), env__kwargs=kwargs)
    run_job(work)
    assert states(work) == [schema.FAILED] * 2
    for k, folder in enumerate(folders(work)):
        assert "not finite" in str(status(work, k)["reason"])
        assert "not finite" in (folder / "error.txt").read_text()


def test_a_diverging_seed_ends_alone(whole: Callable[[str], Job], tmp_path: Path) -> None:
    work = job(tmp_path)
    training = Training(work)
    assert isinstance(training.agent, DQN)
    training.agent.learner.params[1] = float("nan")
    training.run(lambda: False)
    training.close()
    assert states(work) == [schema.FINISHED, schema.FAILED, schema.FINISHED]
    assert status(work, 1)["failure"] == schema.NAN
    assert "diverged: loss/" in str(status(work, 1)["reason"])
    assert "diverged: loss/" in (list(folders(work))[1] / "error.txt").read_text()
    for k in (0, 2):
        assert metrics(work)[k] == metrics(whole("dqn"))[k]


def test_a_job_that_breaks_fails_all_its_runs_with_the_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    work, ticks = job(tmp_path), count()
    update = DQN.update

    def broken(self: DQN) -> Any:
        if next(ticks) == 60:
            raise ArithmeticError("no such number\nat all")
        return update(self)

    monkeypatch.setattr(DQN, "update", broken)
    run_job(work)
    assert set(states(work)) == {schema.FAILED}
    for k, folder in enumerate(folders(work)):
        assert status(work, k)["reason"] == "ArithmeticError: no such number"
        text = (folder / "error.txt").read_text()
        assert text.startswith("Traceback") and "in broken" in text


def test_a_run_id_is_the_experiment_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = job(tmp_path)
    elsewhere = {"log_every": 7, "checkpoint_every": 5.0, "threads": 2, "tracking__project": "x"}
    same = job(tmp_path / "elsewhere", **elsewhere)
    scores = {"env__reference_score": 1.0, "algo__label": "another label"}
    assert base.run_ids == same.run_ids == job(tmp_path, **scores).run_ids
    for changes in (
        {"algo__lr": 1e-3},
        {"algo__exploration.end": 0.01},
        {"budget": 321},
        {"env__horizon": 99},
        {"env__wrappers.reward_scale": 2.0},
        {"evaluation__episodes": 4},
        {"algo__n_step": 2},
    ):
        other = job(tmp_path, **changes)
        assert set(other.run_ids).isdisjoint(base.run_ids) and other.job_id != base.job_id
    assert len(set(base.run_ids)) == 3
    assert job(tmp_path, "rainbow").run_ids[0] != base.run_ids[0]

    later = dataclasses.make_dataclass("Later", [("novelty", float, 0.5)], bases=(DQNConfig,))
    monkeypatch.setattr(spec, "agent_class", lambda agent: type("Agent", (), {"Config": later}))
    newer = base.spec.changed({"algo.novelty": 0.5})
    assert [identity.run_id(newer, base.algo, base.env, s) for s in base.seeds] == base.run_ids
    newer = base.spec.changed({"algo.novelty": 0.6})
    assert identity.run_id(newer, base.algo, base.env, 3) != base.run_ids[0]


def test_an_agents_budget_that_lanes_do_not_divide_is_reached(tmp_path: Path) -> None:
    work = finished(job(tmp_path, algo__lanes=3, algo__train_every=3, budget=200))
    rows = read_rows(next(folders(work)) / "metrics.jsonl")
    assert rows[-1][schema.STEP] == 201 and schema.FINAL_RETURN in rows[-1]
    assert np.diff([row[schema.STEP] for row in rows]).min() > 0


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (ValueError("no\nway"), schema.EXCEPTION),
        (SystemExit(3), schema.EXIT),
        (MemoryError(), schema.OOM),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), schema.OOM),
        (OSError(errno.ENOSPC, "No space left on device"), schema.DISK),
        (OSError(errno.ENOENT, "No such file"), schema.EXCEPTION),
    ],
)
@pytest.mark.parametrize("where", ["__init__", "update"])
def test_whatever_is_raised_wherever_is_written_at_once(
    error: BaseException, failure: str, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: DQN, *args: Any) -> Any:
        raise error

    monkeypatch.setattr(DQN, where, broken)
    work = job(tmp_path, seeds=(0, 1))
    run_job(work)
    for k, folder in enumerate(folders(work)):
        state = status(work, k)
        assert (state["state"], state["failure"]) == (schema.FAILED, failure)
        assert str(state["reason"]).startswith(type(error).__name__)
        assert "in broken" in (folder / "error.txt").read_text()


def test_a_metric_that_is_not_one_number_a_seed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(DQN, "update", lambda self: {"loss/q": torch.tensor(1.0)})
    work = job(tmp_path)
    run_job(work)
    assert {status(work, k)["reason"] for k in range(3)} == {
        "ValueError: update() returns loss/q of shape [], not [K] = [3]"
    }


def test_the_last_word_on_a_run_outlives_a_power_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[dict[str, Any]] = []
    write = records.write_json

    def spy(path: Path, value: Any, sync: bool = False) -> None:
        write(path, value, sync)
        if sync:
            synced.append(value)

    monkeypatch.setattr(records, "write_json", spy)
    work = finished(job(tmp_path))
    assert synced == [status(work, k) for k in range(3)]


def undigested(work: Job) -> Path:
    """Return the weights of a run that finished before there were digests."""
    (folder,) = folders(work)
    state = {key: x for key, x in status(work, 0).items() if key != "digests"}
    records.write_json(folder / "status.json", state)
    return folder / "weights.pt"


def test_broken_weights_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = undigested(finished(job(tmp_path, seeds=(5,))))
    folder = path.parent
    whole = path.read_bytes()
    for content in (b"", b"\0" * 100, whole[: len(whole) // 2], whole[:-1]):
        path.write_bytes(content)
        for command in (["evaluate", str(folder), "--episodes", "2"], ["video", str(folder)]):
            assert main(command) == 2
            out, err = capsys.readouterr()
            assert out == "" and err.startswith(f"error: {path} is damaged and cannot be read (")
            assert err.count("\n") == 1


def test_weights_of_another_agent_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = undigested(finished(job(tmp_path, seeds=(5,))))
    folder = path.parent
    wide = checkpoint.load(path)
    tensors = wide["learner"]["weights"]
    tensors["params"] = torch.cat([tensors["params"], tensors["params"]], -1)
    for content, says in (({"params": torch.zeros(1, 8)}, "lacks DQN.learner"), (wide, "shape")):
        checkpoint.save(path, content)
        for command in (["evaluate", str(folder), "--episodes", "2"], ["video", str(folder)]):
            assert main(command) == 2
            out, err = capsys.readouterr()
            assert out == "" and err.startswith(f"error: {path} is not of this agent: ")
            assert says in err and err.count("\n") == 1
