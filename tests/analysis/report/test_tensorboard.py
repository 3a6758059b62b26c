"""TensorBoard's own reader finds in the event files what the runs hold, to the last of 32 bits."""

import sys
from pathlib import Path

import numpy as np
import pytest
from tensorboard.backend.event_processing.event_accumulator import TENSORS, EventAccumulator
from tensorboard.plugins.hparams import api_pb2, metadata
from tensorboard.util import tensor_util

from prism.analysis import cli
from prism.analysis.api import load
from prism.analysis.report.tensorboard import FILE
from prism.benchmark.store import schema


@pytest.fixture
def study(writer) -> Path:
    """Return a study with a failed and a missing run, whose numbers are no short ones."""
    study = writer("mixed")
    study.rainbow(seeds=2, parts=1)
    full = study.variant("Rainbow")
    study.run(full, "lake", 3, 100 / 3, state=schema.FAILED, until=0.5)
    study.run(full, "lake", 4, 100, state="missing")
    folder: Path = study.plan()
    for run in (folder / "runs").glob("*"):
        steps = [int(line.split(":")[1].split(",")[0]) for line in _lines(run / "metrics.jsonl")]
        clock = [f'{{"global_step":{step},"wall":{step / 7},"cpu":0.5}}' for step in steps]
        (run / "timing.jsonl").write_text("\n".join(clock) + "\n")
    return folder


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def read(path: Path) -> EventAccumulator:
    return EventAccumulator(str(path), size_guidance={TENSORS: 0}).Reload()


def plugin(events: EventAccumulator, tag: str) -> bytes:
    return events.SummaryMetadata(tag).plugin_data.content


def test_every_number_of_every_run_is_there(study, capsys):
    assert cli.main(["tensorboard", str(study)]) == 0
    out = study / "tensorboard"
    assert capsys.readouterr().out == f"written: 7 runs; tensorboard --logdir {out}\n"
    data = load(study).data
    files = {path.parent.name: path for path in out.glob(f"*/*/*/{FILE}")}
    rows = dict(iter(data.metrics.groupby("run_id", observed=True)))
    assert set(files) == set(rows) and len(rows) == 7
    for run in data.runs.to_dict("records"):
        if run["run_id"] not in rows:
            assert run["state"] == "missing"
            continue
        path = files[run["run_id"]]
        assert path.parent.parts[-3:-1] == (run["env"], run["label"])
        events, table = read(path), rows[run["run_id"]].set_index(schema.STEP)
        scalars = set(events.PluginTagToContent("scalars"))
        assert scalars == {str(c) for c in table if c != "run_id" and table[c].notna().any()}
        for tag in scalars:
            found = {e.step: tensor_util.make_ndarray(e.tensor_proto).item()
                     for e in events.Tensors(tag)}  # fmt: skip
            assert found == table[tag].astype(np.float32).dropna().to_dict()
            times = [e.wall_time for e in events.Tensors(tag)]
            assert times == [step / 7 for step in found]
        end = metadata.parse_session_end_info_plugin_data(
            plugin(events, metadata.SESSION_END_INFO_TAG)
        )
        name = "SUCCESS" if run["state"] == schema.FINISHED else "FAILURE"
        assert api_pb2.Status.Name(end.status) == f"STATUS_{name}"


def test_settings_are_told_and_files_repeat(study, tmp_path):
    assert cli.main(["tensorboard", str(study), "--out", str(tmp_path / "a")]) == 0
    data = load(study).data
    for path in (tmp_path / "a").glob(f"*/*/*/{FILE}"):
        run = data.runs.set_index("run_id").loc[path.parent.name]
        start = metadata.parse_session_start_info_plugin_data(
            plugin(read(path), metadata.SESSION_START_INFO_TAG)
        )
        told = {key: getattr(x, x.WhichOneof("kind")) for key, x in start.hparams.items()}
        assert (told["label"], told["env"], told["seed"]) == (run.label, run.env, run.seed)
        algo = data.records[path.parent.name]["config"]["algo"]
        assert {key: told[f"algo.{key}"] for key in algo} == algo
    overview = metadata.parse_experiment_plugin_data(
        plugin(read(tmp_path / "a" / FILE), metadata.EXPERIMENT_TAG)
    )
    assert {"label", "seed"} <= {info.name for info in overview.hparam_infos}
    assert schema.FINAL_RETURN in {info.name.tag for info in overview.metric_infos}
    before = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert cli.main(["tensorboard", str(study), "--out", str(tmp_path / "a")]) == 0
    after = {path: path.read_bytes() for path in (tmp_path / "a").rglob("*") if path.is_file()}
    assert before == after and len(after) == 8


def test_runs_of_others_have_event_files_too(tmp_path):
    scores = np.arange(12.0).reshape(2, 1, 6) / 7
    np.savez(tmp_path / "theirs.npz", dqn=scores, tasks=["lake"])
    assert cli.main(["tensorboard", str(tmp_path / "theirs.npz")]) == 0
    (path,) = (tmp_path / "theirs-tensorboard" / "lake" / "dqn").glob(f"*1/{FILE}")
    found = [tensor_util.make_ndarray(e.tensor_proto).item()
             for e in read(path).Tensors(schema.EVAL_RETURN)]  # fmt: skip
    assert found == list(scores[1, 0].astype(np.float32))


def test_a_missing_package_is_one_line(study, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorboard.plugins.hparams.summary_v2", None)
    assert cli.main(["tensorboard", str(study)]) == 2
    assert capsys.readouterr().err == (
        "error: tensorboard is missing: pip install 'prism-rl[tensorboard]'\n"
    )
