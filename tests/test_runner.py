"""A run is what its config and seed say: whoever runs beside it, however often it is stopped."""

import dataclasses
import json
import signal
from collections.abc import Callable, Iterator
from copy import deepcopy
from functools import cache
from itertools import count
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pandas as pd
import pytest
import torch

from algos.dqn.config import DQNConfig
from algos.dqn.dqn import DQN
from benchmark import checkpoint, schema, store
from benchmark import config as cfg
from benchmark.errors import ConfigError
from benchmark.evaluate import evaluate_run
from benchmark.job import Job
from benchmark.runner import Training, run_job
from benchmark.tracking.files import read_rows
from tests.helpers import equal

SMALL: dict[str, Any] = {
    **{"algo.hidden": [16, 16], "algo.batch_size": 16, "algo.buffer_size": 150},
    **{"algo.learning_starts": 40, "algo.train_every": 4, "algo.target_every": 30},
    **{"algo.atoms": 11, "evaluation.episodes": 3, "evaluation.periodic_episodes": 2},
    **{"evaluation.every": 90, "log_every": 40, "checkpoint_every": 0, "budget": 320},
    **{"tracking.wandb": "disabled"},
}


def job(
    folder: Path,
    algo: str = "dqn",
    env: str = "CartPole-v1",
    seeds: tuple[int, ...] = (3, 11, 42),
    **changes: Any,
) -> Job:
    """Return a small job; ``env`` is a Gymnasium id, or the name of a file in conf/env."""
    dotted = {key.replace("__", "."): value for key, value in changes.items()}
    known = env == env.lower()
    with cfg.session():
        config = deepcopy(cfg.composed(f"algo={algo}", f"env={env if known else 'gym'}"))
        for key, value in {**SMALL, **({} if known else {"env.id": env}), **dotted}.items():
            cfg.assign(config, key, value)
        plain = cfg.resolved(config)
    variant = schema.Variant(
        label=algo, kind=schema.PRESET, base=algo, full=algo, on=[], off=[], component=None,
        overrides={},
    )  # fmt: skip
    run_ids = [store.run_id(plain, algo, env, seed) for seed in seeds]
    job_id = store.job_id(plain, algo, env, seeds)
    return Job(
        "test", str(folder), job_id, algo, env, variant, plain, None, list(seeds), run_ids
    )  # fmt: skip


def folders(work: Job) -> Iterator[Path]:
    for run in work.run_ids:
        yield store.run_dir(work, run)


def metrics(work: Job) -> list[bytes]:
    return [(folder / "metrics.jsonl").read_bytes() for folder in folders(work)]


def weights(work: Job) -> list[Any]:
    return [checkpoint.load(folder / "weights.pt") for folder in folders(work)]


def status(work: Job, k: int) -> schema.Status:
    found = store.read_status(store.run_dir(work, work.run_ids[k]))
    assert found is not None
    return found


def same_results(a: Job, b: Job) -> None:
    assert metrics(a) == metrics(b)
    for ours, theirs in zip(weights(a), weights(b), strict=True):
        equal(ours, theirs)


def finished(work: Job) -> Job:
    assert set(run_job(work).values()) == {schema.FINISHED}
    return work


def saved(work: Job) -> Path:
    return store.job_dir(work) / "checkpoint" / "state.pt"


class Killed(BaseException):
    """What a killed process looks like from inside: nothing is written behind it."""


def stop(work: Job, tick: int, by: Callable[[Training], bool] = lambda training: True) -> Training:
    """Train until ``tick``, where ``by`` answers whether a stop was asked for."""
    training, ticks = Training(work), count()
    try:
        training.run(lambda: next(ticks) == tick and by(training))
    finally:
        training.close()
    return training


def kill(training: Training) -> bool:
    raise Killed


RUNS: dict[str, tuple[str, str, dict[str, Any]]] = {
    "dqn": ("dqn", "CartPole-v1", {}),
    "rainbow, truncated": ("rainbow", "CartPole-v1", {"env__horizon": 15, "algo__lanes": 2}),
    "coin, norm": ("double_q", "Acrobot-v1", {"env__horizon": 90, "algo__norm": "batch"}),
    "rainbow, minatar": (
        "rainbow",
        "minatar_breakout",
        {"budget": 160, "env__horizon": 30, "algo__train_every": 8, "evaluation__every": 100},
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Job]:
    """Return what gives the uninterrupted form of a run, trained once for all tests."""

    @cache
    def run(name: str) -> Job:
        algo, env, changes = RUNS[name]
        return finished(job(tmp_path_factory.mktemp("whole"), algo, env, **changes))

    return run


def like(name: str, folder: Path, **more: Any) -> Job:
    algo, env, changes = RUNS[name]
    return job(folder, algo, env, **changes, **more)


@pytest.mark.parametrize("name", ["dqn", "rainbow, truncated", "rainbow, minatar"])
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    name: str, whole: Callable[[str], Job], tmp_path: Path
) -> None:
    parts = like(name, tmp_path)
    for attempt, ticks in enumerate((0, 37, 1, 36)):
        training = stop(parts, ticks)
        assert training.recorder.states() == dict.fromkeys(parts.run_ids, schema.INTERRUPTED)
        assert saved(parts).exists() and status(parts, 0)["attempts"] == attempt + 1
    finished(parts)
    same_results(whole(name), parts)
    assert not saved(parts).parent.exists() and status(parts, 0)["attempts"] == 5


@pytest.mark.parametrize("name", ["dqn", "rainbow, truncated"])
def test_a_killed_run_ends_as_an_uninterrupted_one(
    name: str, whole: Callable[[str], Job], tmp_path: Path
) -> None:
    """The last checkpoint is older than the last rows, and the last row is torn."""
    parts = like(name, tmp_path)
    with pytest.raises(Killed):
        stop(parts, 60, kill)  # before the first checkpoint

    def save_on(training: Training) -> bool:
        training._save()
        return False

    training, ticks = Training(parts), count()
    with pytest.raises(Killed):
        training.run(lambda: {47: save_on, 120: kill}.get(next(ticks), lambda _: False)(training))
    training.close()
    rows = read_rows(next(folders(parts)) / "metrics.jsonl")
    assert rows[-1][schema.STEP] > 47 * training.lanes and status(parts, 0)["state"] == "running"
    for folder in folders(parts):
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"global_step":3')
    (saved(parts).parent / ".state.pt.123").write_bytes(b"half a checkpoint")
    finished(parts)
    same_results(whole(name), parts)
    for ours, theirs in zip(folders(parts), folders(whole(name)), strict=True):
        steps = [[r[schema.STEP] for r in read_rows(f / "timing.jsonl")] for f in (ours, theirs)]
        assert steps[0] == steps[1]
        pd.testing.assert_frame_equal(
            *(pd.read_parquet(f / "metrics.parquet") for f in (ours, theirs))
        )


def test_a_signal_interrupts_and_the_next_attempt_finishes(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = job(tmp_path)
    interact, ticks = Training._interact, count()

    def spy(self: Training) -> None:
        if next(ticks) == 100:
            signal.raise_signal(signal.SIGTERM)
        interact(self)

    monkeypatch.setattr(Training, "_interact", spy)
    handler = signal.getsignal(signal.SIGTERM)
    assert set(run_job(parts).values()) == {schema.INTERRUPTED}
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (status(parts, 0)["exit_code"], status(parts, 0)["reason"]) == (130, "asked to stop")
    finished(parts)
    same_results(whole("dqn"), parts)


@pytest.mark.parametrize("name", RUNS)
def test_a_seeds_folder_does_not_depend_on_its_company(
    name: str, whole: Callable[[str], Job], tmp_path: Path
) -> None:
    pack = whole(name)
    assert len(set(metrics(pack))) == 3
    alone = finished(like(name, tmp_path, seeds=(11,)))
    assert alone.run_ids == pack.run_ids[1:2] and metrics(alone) == metrics(pack)[1:2]
    equal(weights(alone)[0], weights(pack)[1])


def test_a_seed_taken_out_of_a_checkpoint_goes_on_alone(
    whole: Callable[[str], Job], tmp_path: Path
) -> None:
    name = "rainbow, truncated"
    pack, alone = like(name, tmp_path / "pack"), like(name, tmp_path / "alone", seeds=(11,))
    stop(pack, 90)
    folder = next(folders(alone))
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_bytes(metrics(pack)[1])
    checkpoint.save(saved(alone), checkpoint.take_seed(checkpoint.load(saved(pack)), 1))
    assert Training(alone).step == 180
    finished(alone)
    assert metrics(alone) == metrics(whole(name))[1:2]
    equal(weights(alone)[0], weights(whole(name))[1])


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
        "weights.pt",
    }
    record = json.loads((folder / "run.json").read_text())
    assert record.keys() == get_type_hints(schema.RunRecord).keys()
    assert record["variant"].keys() == get_type_hints(schema.Variant).keys()
    assert (record["run_id"], record["seed"], record["budget"]) == (folder.name, 5, 320)
    assert "tracking" not in record["config"] and record["code"] == store.code_hash()
    state = status(work, 0)
    assert state.keys() == get_type_hints(schema.Status).keys()
    assert (state["state"], state["exit_code"], state["reason"]) == (schema.FINISHED, 0, None)
    frame = pd.read_parquet(folder / "metrics.parquet")
    assert frame[schema.STEP].tolist() == [
        row[schema.STEP] for row in read_rows(folder / "metrics.jsonl")
    ]
    beat = store.read_json(store.job_dir(work) / "heartbeat.json")
    assert beat["global_step"] == beat["budget"] == 320


def test_saved_weights_score_what_was_recorded(tmp_path: Path) -> None:
    for algo in ("double_q", "rainbow"):
        work = finished(job(tmp_path, algo, seeds=(3, 11), evaluation__episodes=4))
        for folder in folders(work):
            row = read_rows(folder / "metrics.jsonl")[-1]
            again = evaluate_run(folder, 4)
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


BREAKS: dict[str, Any] = {"env__kwargs": {"n": 3, "every": 384}}  # seed 11 alone, at step 218


def test_a_seed_whose_environment_raises_fails_alone(tmp_path: Path) -> None:
    work = job(tmp_path / "pack", env="Prism/Raises-v0", **BREAKS)
    states = list(run_job(work).values())
    assert sorted(states) == [schema.FAILED, schema.FINISHED, schema.FINISHED]
    k = states.index(schema.FAILED)
    folder = list(folders(work))[k]
    assert "RuntimeError: broke at step 3" in (folder / "error.txt").read_text()
    state = status(work, k)
    assert (state["state"], state["exit_code"]) == (schema.FAILED, 1)
    assert "broke at step 3" in str(state["reason"]) and 0 < state["global_step"] < 320
    assert not (folder / "weights.pt").exists() and not (folder / "metrics.parquet").exists()
    rest = tuple(s for s in work.seeds if s != work.seeds[k])
    without = finished(job(tmp_path / "rest", env="Prism/Raises-v0", seeds=rest, **BREAKS))
    assert metrics(without) == [m for i, m in enumerate(metrics(work)) if i != k]


def test_a_failed_seed_stays_failed_when_the_job_resumes(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole", env="Prism/Raises-v0", **BREAKS)
    states = list(run_job(whole).values())
    parts = job(tmp_path / "parts", env="Prism/Raises-v0", **BREAKS)
    stop(parts, 250)
    k = states.index(schema.FAILED)
    before = status(parts, k)
    assert before["state"] == schema.FAILED
    assert list(run_job(parts).values()) == states
    assert metrics(parts) == metrics(whole)
    after = status(parts, k)
    for key in ("state", "reason", "global_step", "exit_code"):
        assert after[key] == before[key] == status(whole, k)[key]  # type: ignore[literal-required]


@pytest.mark.parametrize("where", ["obs", "reward"])
def test_numbers_that_are_not_finite_end_the_run(where: str, tmp_path: Path) -> None:
    kwargs = {"n": 3, "where": where}
    work = job(tmp_path, env="Prism/NaN-v0", seeds=(0, 1), env__kwargs=kwargs)
    assert list(run_job(work).values()) == [schema.FAILED] * 2
    for k, folder in enumerate(folders(work)):
        assert "not finite" in str(status(work, k)["reason"])
        assert "not finite" in (folder / "error.txt").read_text()


def test_a_diverging_seed_ends_alone(whole: Callable[[str], Job], tmp_path: Path) -> None:
    work = job(tmp_path)
    training = Training(work)
    assert isinstance(training.agent, DQN)
    training.agent.optimizer.params.data[1] = float("nan")
    training.run(lambda: False)
    training.close()
    states = [schema.FINISHED, schema.FAILED, schema.FINISHED]
    assert list(training.recorder.states().values()) == states
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
    assert set(run_job(work).values()) == {schema.FAILED}
    for k, folder in enumerate(folders(work)):
        assert status(work, k)["reason"] == "ArithmeticError: no such number"
        text = (folder / "error.txt").read_text()
        assert text.startswith("Traceback") and "in broken" in text


def test_a_checkpoint_of_other_code_is_not_used(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = job(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(store, "code_hash", lambda: "another")
        stop(parts, 100)
    training = Training(parts)
    assert training.step == 0
    training.close()
    finished(parts)
    same_results(whole("dqn"), parts)


def test_periodic_checkpoints_are_saved_and_change_nothing(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = job(tmp_path, checkpoint_every=1e-9)
    monkeypatch.setattr("benchmark.runner._SAVE_SHARE", 1e9)
    saves: list[int] = []
    save = Training._save

    def spy(self: Training) -> None:
        save(self)
        saves.append(self.step)

    monkeypatch.setattr(Training, "_save", spy)
    finished(often)
    assert saves[:3] == [40, 80, 90] and len(saves) > 8
    same_results(whole("dqn"), often)


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
    monkeypatch.setattr(store, "agent_class", lambda path: type("Agent", (), {"Config": later}))
    config = base.config | {"algo": base.config["algo"] | {"novelty": 0.5}}
    assert [store.run_id(config, base.algo, base.env, s) for s in base.seeds] == base.run_ids
    config["algo"]["novelty"] = 0.6
    assert store.run_id(config, base.algo, base.env, 3) != base.run_ids[0]


def test_an_agents_budget_that_lanes_do_not_divide_is_reached(tmp_path: Path) -> None:
    work = finished(job(tmp_path, algo__lanes=3, budget=200))
    rows = read_rows(next(folders(work)) / "metrics.jsonl")
    assert rows[-1][schema.STEP] == 201 and schema.FINAL_RETURN in rows[-1]
    assert np.diff([row[schema.STEP] for row in rows]).min() > 0


def test_states_of_checkpoints_hold_plain_values_only(tmp_path: Path) -> None:
    work = job(tmp_path, "rainbow")
    stop(work, 60)

    def check(value: Any, at: str) -> None:
        if isinstance(value, dict):
            for key, x in value.items():
                check(x, f"{at}/{key}")
        elif isinstance(value, torch.Tensor):
            assert value.shape[0] == 3, at  # leads with K
        else:
            assert type(value) in (int, str, float), at

    check(checkpoint.load(saved(work)), "")
