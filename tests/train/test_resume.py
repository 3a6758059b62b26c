"""A run is what its config and seed say: however often it is stopped."""

import signal
from collections.abc import Callable
from dataclasses import replace
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from prism.benchmark.store import checkpoint, ledger, provenance, records, schema
from prism.benchmark.store.job import Job, Sweep
from prism.benchmark.store.rows import read_rows
from prism.benchmark.train import saving
from prism.benchmark.train.runner import Training, run_job
from prism.benchmark.util.errors import ConfigError
from tests.helpers import equal
from tests.runs import (
    BREAKS,
    Killed,
    finished,
    folders,
    job,
    kill,
    like,
    metrics,
    same_results,
    saved,
    states,
    status,
    stop,
    weights,
)


@pytest.mark.parametrize(
    "name", ["dqn", "rainbow, truncated", "recurrent dqn, truncated", "rainbow, minatar"]
)
def test_an_interrupted_run_ends_as_an_uninterrupted_one(
    name: str, whole: Callable[[str], Job], tmp_path: Path
) -> None:
    parts = like(name, tmp_path)
    for attempt, ticks in enumerate((0, 37, 1, 36)):
        training = stop(parts, ticks)
        assert training.steps[0] > 0 or ticks == 0
        assert set(states(parts)) == {schema.INTERRUPTED}
        assert any(saved(parts).states()) and status(parts, 0)["attempts"] == attempt + 1
    finished(parts)
    same_results(whole(name), parts)
    assert not saved(parts).folder.exists() and status(parts, 0)["attempts"] == 5


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

    training = Training(parts)
    at = {47: save_on, 120: kill}
    with pytest.raises(Killed):
        training.run(lambda: at.pop(training.steps[0] // training.lanes, lambda _: False)(training))
    training.close()
    rows = read_rows(next(folders(parts)) / "metrics.jsonl")
    assert rows[-1][schema.STEP] > 47 * training.lanes and status(parts, 0)["state"] == "running"
    for folder in folders(parts):
        with (folder / "metrics.jsonl").open("a") as file:
            file.write('{"global_step":3')
    (saved(parts).folder / ".00000009.pt.1-2").write_bytes(b"half a checkpoint")
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
    run_job(parts)
    assert set(states(parts)) == {schema.INTERRUPTED}
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (status(parts, 0)["exit_code"], status(parts, 0)["reason"]) == (130, "asked to stop")
    finished(parts)
    same_results(whole("dqn"), parts)


def test_a_stop_that_several_ask_for_leaves_time_to_save(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher, the watchdog and a cluster may each signal; a person may be impatient."""
    parts, again = job(tmp_path), [signal.SIGTERM, signal.SIGINT]
    interact, save = Training._interact, saving.Saver.save

    def asked(self: Training) -> None:
        signal.raise_signal(signal.SIGTERM)
        interact(self)

    def asked_again(*arguments: Any) -> None:
        signal.raise_signal(again.pop(0))
        save(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_interact", asked)
        patch.setattr(saving.Saver, "save", asked_again)
        run_job(parts)
        assert set(states(parts)) == {schema.INTERRUPTED} and any(saved(parts).states())
        with pytest.raises(KeyboardInterrupt):
            run_job(parts)
    finished(parts)
    same_results(whole("dqn"), parts)


def test_a_seed_taken_out_of_a_checkpoint_goes_on_alone(
    whole: Callable[[str], Job], tmp_path: Path
) -> None:
    name = "rainbow, truncated"
    pack, alone = like(name, tmp_path / "pack"), like(name, tmp_path / "alone", seeds=(11,))
    stop(pack, 90)
    folder = next(folders(alone))
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_bytes(metrics(pack)[1])
    saved(alone).save(checkpoint.take_seed(next(saved(pack).states()), 1))
    assert Training(alone).steps[0] == 180
    finished(alone)
    assert metrics(alone) == metrics(whole(name))[1:2]
    equal(weights(alone)[0], weights(whole(name))[1])


def test_a_failed_seed_stays_failed_when_the_job_resumes(tmp_path: Path) -> None:
    whole = job(tmp_path / "whole", env="Prism/Raises-v0", **BREAKS)
    run_job(whole)
    parts = job(tmp_path / "parts", env="Prism/Raises-v0", **BREAKS)
    stop(parts, 250)
    k = states(whole).index(schema.FAILED)
    before = status(parts, k)
    assert before["state"] == schema.FAILED
    run_job(parts)
    assert states(parts) == states(whole)
    assert metrics(parts) == metrics(whole)
    after = status(parts, k)
    for key in ("state", "reason", "global_step", "exit_code"):
        assert after[key] == before[key] == status(whole, k)[key]  # type: ignore[literal-required]


def test_a_checkpoint_of_other_code_is_not_used(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = job(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "code_hash", lambda *_: "another")
        stop(parts, 100)
    training = Training(parts)
    assert training.steps[0] == 0
    training.close()
    finished(parts)
    same_results(whole("dqn"), parts)


def test_periodic_checkpoints_are_saved_and_change_nothing(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = job(tmp_path, checkpoint_every=1e-9)
    monkeypatch.setattr("prism.benchmark.train.saving._SHARE", 1e9)
    saves: list[int] = []
    save = Training._save

    def spy(self: Training) -> None:
        save(self)
        saves.append(int(self.steps[0]))

    monkeypatch.setattr(Training, "_save", spy)
    finished(often)
    assert saves[:3] == [40, 80, 90] and len(saves) > 8
    same_results(whole("dqn"), often)


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

    check(next(saved(work).states()), "")


def in_evaluation(work: Job, step: int) -> Training:
    """Train, and ask to stop in the middle of the evaluation of a step."""
    training, asked = Training(work), count()
    training.run(
        lambda: training.steps[0] == step and training._owed is not None and next(asked) == 3
    )
    training.close()
    return training


def test_a_stop_in_an_evaluation_leaves_at_once_and_loses_no_row(
    whole: Callable[[str], Job], tmp_path: Path
) -> None:
    name = "rainbow, truncated"
    parts = like(name, tmp_path)
    for due in (180, 320):  # a periodic evaluation, and the final one
        training = in_evaluation(parts, due)
        assert training.steps[0] == due and set(states(parts)) == {schema.INTERRUPTED}
        rows = read_rows(next(folders(parts)) / "metrics.jsonl")
        assert rows[-1][schema.STEP] < due
    finished(parts)
    same_results(whole(name), parts)


def save_at(work: Job, *ticks: int) -> None:
    """Train, save at some ticks, and be killed behind the last."""
    training, left = Training(work), list(ticks)

    def stopped() -> bool:
        if training.steps[0] == left[0] * training.lanes and training._owed is None:
            training._save()
            left.pop(0)
        if not left:
            raise Killed
        return False

    with pytest.raises(Killed):
        training.run(stopped)
    training.close()


def test_a_corrupt_checkpoint_is_passed_over(
    whole: Callable[[str], Job], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    parts = job(tmp_path)
    save_at(parts, 100, 200)
    newest = max(saved(parts).folder.glob("*.pt"))
    newest.write_bytes(newest.read_bytes()[:-1])
    training = Training(parts)
    training.close()
    assert training.steps[0] == 100
    assert "its checksum differs" in capfd.readouterr().err
    finished(parts)
    same_results(whole("dqn"), parts)


def test_lost_rows_are_noticed(
    whole: Callable[[str], Job], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A checkpoint outlives rows that were written before it: they are made again."""
    parts = job(tmp_path)
    save_at(parts, 100, 200)
    path = list(folders(parts))[1] / "metrics.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:4]))  # of 6; the first checkpoint needs 3
    training = Training(parts)
    training.close()
    assert training.steps[0] == 100
    assert f"metrics.jsonl of {parts.run_ids[1]} has lost rows" in capfd.readouterr().err
    path.write_bytes(lines[0])
    training = Training(parts)
    training.close()
    assert training.steps[0] == 0
    finished(parts)
    same_results(whole("dqn"), parts)


def test_seeds_of_a_larger_job_go_on_from_its_checkpoint(
    whole: Callable[[str], Job], tmp_path: Path
) -> None:
    pack = job(tmp_path)
    save_at(pack, 200)
    for seed in (11, 42):
        alone = job(tmp_path, seeds=(seed,))
        training = Training(alone)
        training.close()
        assert training.steps[0] == 200
        assert records.read_json(next(folders(alone)) / "run.json")["job_id"] == alone.job_id
        again = Training(alone)  # as after a kill before its first own checkpoint
        again.close()
        assert again.steps[0] == 200
        finished(alone)
    rest = job(tmp_path, seeds=(11, 42))
    assert metrics(rest) == metrics(whole("dqn"))[1:]


def test_a_job_takes_its_seeds_out_of_a_checkpoint_of_more(
    whole: Callable[[str], Job], tmp_path: Path
) -> None:
    pack = job(tmp_path)
    save_at(pack, 200)
    rest = replace(job(tmp_path, seeds=(42, 11)), job_id=pack.job_id)
    training = Training(rest)
    training.close()
    assert training.steps[0] == 200
    finished(rest)
    assert metrics(rest) == metrics(whole("dqn"))[:0:-1]


def test_a_checkpoint_of_other_seeds_is_refused_as_such(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    save_at(job(tmp_path, seeds=(3, 11)), 100)
    training = Training(job(tmp_path))
    training.close()
    assert training.steps[0] == 0
    told = capfd.readouterr().err
    assert told == "checkpoint at step 100 is not used: it holds the seeds 3, 11, not 42\n"


def test_where_a_job_grows_the_seeds_that_were_saved_go_on(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = job(tmp_path, seeds=(3, 11))
    stop(before, 100)
    grown = Sweep("test", tmp_path, jobs=[job(tmp_path)])
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "code_hash", lambda *_: "another")
        with pytest.raises(ConfigError, match=r"the checkpoints of 1 jobs .* made by other code"):
            ledger.remaining(grown)
        grown.stale = "rerun"
        assert ledger.remaining(grown) == grown.jobs
    old, new = ledger.remaining(grown)
    assert (old, new.seeds) == (before, [42])
    training = Training(old)
    training.close()
    assert training.steps[0] == 100
    finished(old)
    finished(new)
    assert metrics(grown.jobs[0]) == metrics(whole("dqn"))


def test_the_wall_clock_may_go_backwards(
    whole: Callable[[str], Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = count(2_000_000_000, -3600)
    monkeypatch.setattr("time.time", lambda: float(next(now)))
    parts = job(tmp_path)
    stop(parts, 100)
    finished(parts)
    same_results(whole("dqn"), parts)
    rows = read_rows(next(folders(parts)) / "timing.jsonl")
    assert all(a["wall"] <= b["wall"] for a, b in pairwise(rows))


def test_the_interval_grows_with_the_cost_of_a_save(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("prism.benchmark.train.saving.time.monotonic", lambda: now[0])
    saver = saving.Saver(job(tmp_path, checkpoint_every=60.0))
    monkeypatch.setattr(saver.checkpoints, "save", lambda *_: now.__setitem__(0, now[0] + 4.0))

    def due(after: float, size: int) -> bool:
        now[0] += after
        return saver.is_due(lambda: {"x": torch.zeros(size, dtype=torch.uint8)})

    assert not due(59, 1) and due(2, 1)
    assert not due(0, 10**9 // 4)  # a large first save is guessed to take longer than 2 %
    saver.save({}, [(0, 0)] * 3)
    assert not due(190, 1) and due(11, 1)  # 4 s are 2 % of 200


def test_a_run_goes_on_where_the_environment_does_not_repeat(tmp_path: Path) -> None:
    env: dict[str, Any] = {"env__imports": "tests.envs.broken", "env__horizon": 60}
    parts = job(tmp_path, env="Broken/Unseeded-v0", **env)
    for ticks in (75, 50):
        stop(parts, ticks)
    finished(parts)
    for k in range(3):
        assert "resumed with a new episode" in str(status(parts, k)["reason"])


def test_an_environment_that_keeps_state_is_not_taken_for_one_that_does_not_repeat(
    tmp_path: Path,
) -> None:
    env: dict[str, Any] = {"env__imports": "tests.envs.broken", "env__horizon": 60}
    parts = job(tmp_path, env="Broken/Stale-v0", env__fresh=False, **env)
    stop(parts, 75)
    with pytest.raises(ConfigError, match=r"set env\.fresh=true"):
        Training(parts)
