"""Means of metrics per seed, over the updates that a seed took part in; heartbeats between rows."""

import numpy as np
import torch

from prism.benchmark.store.rows import read_rows
from prism.benchmark.train import recorder
from prism.benchmark.train.recorder import Meter, Recorder
from tests.runs import finished, folders, job, same_results


def test_means_are_over_all_updates_where_nothing_says_who_learned() -> None:
    meter = Meter()
    for value in (1.0, 2.0, 6.0):
        meter.add({"loss/a": torch.tensor([value, 2 * value])})
    meter.add({"loss/b": torch.tensor([5.0, 7.0])})
    columns = meter.drain(np.full(3, True))
    assert columns["loss/a"].tolist() == [3.0, 6.0] and columns["loss/b"].tolist() == [5.0, 7.0]
    assert meter.drain(np.full(3, True)) == {}


def test_a_seeds_mean_is_over_its_own_updates() -> None:
    """What another seed does in the meantime must not be seen in it."""
    meter, alone = Meter(), Meter()
    for i in range(6):
        mine = i % 3 == 0
        value = torch.tensor([float(i), 0.0 if not mine else float(i * i), 9.0])
        learned = torch.tensor([True, mine, False])
        meter.add({"loss/a": value, "learned": learned})
        if mine:
            alone.add({"loss/a": value[1:2], "learned": learned[1:2]})
    columns = meter.drain(np.full(3, True))
    assert columns["loss/a"][0] == 2.5
    assert columns["loss/a"][1] == 4.5 == alone.drain(np.full(1, True))["loss/a"][0]
    assert np.isnan(columns["loss/a"][2])  # it learned nothing: no value, and no failure


def test_what_is_not_finite_is_told_from_what_is_not_there() -> None:
    meter = Meter()
    learned = torch.tensor([True, False, True])
    meter.add({"loss/a": torch.tensor([torch.nan, torch.nan, 1.0]), "learned": learned})
    meter.add({"loss/b": torch.tensor([1.0, torch.inf, -torch.inf])})
    columns = meter.drain(np.full(3, True))
    assert np.isinf(columns["loss/a"][0]) and np.isnan(columns["loss/a"][1])
    assert columns["loss/a"][2] == 1.0
    assert np.isinf(columns["loss/b"]).tolist() == [False, True, True]


def test_a_meter_goes_on_from_its_state() -> None:
    whole, first, second = Meter(), Meter(), Meter()
    for i in range(4):
        metrics = {"loss/a": torch.tensor([1.0 * i, 2.0]), "learned": torch.tensor([i > 1, True])}
        whole.add(dict(metrics))
        (first if i < 2 else second).add(dict(metrics))
        if i == 1:
            second.load(first.state(), torch.device("cpu"))
    assert np.array_equal(
        whole.drain(np.full(2, True))["loss/a"], second.drain(np.full(2, True))["loss/a"]
    )


def test_the_heartbeat_is_renewed_while_an_evaluation_lasts(tmp_path, monkeypatch) -> None:
    """A limit says how often; the rows, and what an evaluation sees, do not depend on it."""
    beats: list[int] = []
    kept = Recorder._beat

    def beat(self: Recorder, steps: np.ndarray) -> None:
        beats.append(int(steps[0]))
        kept(self, steps)

    monkeypatch.setattr(Recorder, "_beat", beat)
    monkeypatch.setattr(recorder, "_BEAT", 0.0)
    often = finished(job(tmp_path / "often", seeds=(3,), budget=80))
    (last,) = read_rows(next(folders(often)) / "metrics.jsonl")[-1:]
    assert beats.count(80) > last["final/length"]  # at every step of it, and at the row
    beats.clear()
    monkeypatch.setattr(recorder, "_BEAT", float("inf"))
    seldom = finished(job(tmp_path / "seldom", seeds=(3,), budget=80))
    assert beats.count(80) == 1
    same_results(often, seldom)
