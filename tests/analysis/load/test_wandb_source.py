"""Reading W&B back: complete, equal to the local files, and whoever logged the runs."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import wandb

from prism.analysis import cli
from prism.analysis.errors import AnalysisError
from prism.analysis.load.data import load
from prism.benchmark.cli import main as benchmark_cli
from prism.benchmark.store import schema
from tests.wandb_server import Bucket, WandbServer


@pytest.fixture
def study(wandb_server, writer, tmp_path, monkeypatch) -> Path:
    """A study with a failed, an interrupted and a missing run, all of it pushed to W&B."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    study = writer("mixed")
    study.rainbow(seeds=3, parts=1)
    full = study.variant("Rainbow")
    study.run(full, "lake", 3, 100, state=schema.FAILED, until=0.5)
    study.run(full, "lake", 4, 100, state="missing")
    study.run(full, "lake", 5, 100, state=schema.INTERRUPTED, until=0.3)
    folder: Path = study.plan()
    for run in (folder / "runs").glob("*"):
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        with (run / "timing.jsonl").open("w") as file:
            for step in (row["global_step"] for row in rows):
                file.write(json.dumps({"global_step": step, "wall": step / 7, "cpu": 0.5}) + "\n")
    study.seal()
    assert benchmark_cli.main(["wandb-push", str(folder), "--rate", "1e9"]) == 0
    return folder


def test_the_report_from_wandb_is_the_report_from_local_files(study, tmp_path, capsys):
    out = {"local": tmp_path / "local", "wandb": tmp_path / "wandb"}
    wheres = {"local": str(study), "wandb": "wandb:stub/prism?tag=mixed"}
    printed = {}
    for name, where in wheres.items():
        capsys.readouterr()
        assert cli.main(["report", where, "--out", str(out[name])]) == 0
        printed[name] = alike(capsys.readouterr().out.replace(str(out[name]), ""))
    assert printed["local"] == printed["wandb"]
    tables = sorted(path.name for path in (out["local"] / "tables").iterdir())
    assert tables and tables == sorted(p.name for p in (out["wandb"] / "tables").iterdir())
    for name in tables:
        local, there = (out[n] / "tables" / name for n in ("local", "wandb"))
        assert told(local, wheres) == told(there, wheres), name
    local, there = (told(out[name] / "report.md", wheres) for name in ("local", "wandb"))
    assert local == there and len(re.findall(r"\d", local)) > 300


def told(path: Path, wheres: dict[str, str]) -> str:
    """Return a file without the words that say where its data came from."""
    text = path.read_text()
    for where in wheres.values():
        text = text.replace(f"'{where}'", where).replace(where, "WHERE")
    return alike(re.sub(r"--out \S+", "--out OUT", text))


def alike(text: str) -> str:
    """Return a text with one word for a run that is missing, here or there."""
    return text.replace("no wandb run", "WHY").replace("no run folder", "WHY")


def test_both_frames_are_equal_exactly(study):
    local, there = load(study), load("wandb:stub/prism?tag=mixed")
    reasons = {"no wandb run": "", "no run folder": ""}
    for a, b in ((local.runs, there.runs), (local.metrics, there.metrics)):
        a, b = (x.replace(reasons, regex=True).dropna(axis="columns", how="all") for x in (a, b))
        pd.testing.assert_frame_equal(a, b[a.columns], check_exact=True)
        assert set(a) == set(b)
    assert local.records == there.records and local.skipped == there.skipped
    assert there.counts() == local.counts()


def test_a_run_is_read_once_and_again_when_it_changed(study, wandb_server):
    where = "wandb:stub/prism?tag=mixed"
    first = load(where)
    wandb_server.calls.clear()
    pd.testing.assert_frame_equal(load(where).metrics, first.metrics)
    assert "HistoryPage" not in wandb_server.calls
    bucket = a_run(wandb_server)
    line = {**bucket.rows[-1], "_step": 20, "final/return": 5.5}
    bucket.history.append(json.dumps(line))
    bucket.heartbeat += "later"
    again = load(where)
    assert wandb_server.calls.count("HistoryPage") == 1
    (run,) = again.runs[again.runs.final == 5.5].to_dict("records")
    assert run["rows"] == 20 and any(
        "ignored: 1 row with a later row" in note for note in again.notes
    )
    cached = list((Path(study).parents[1] / "cache").rglob("*.parquet"))
    assert len(cached) == len({path.name[:-21] for path in cached}) == 11


def a_run(server: WandbServer) -> Bucket:
    name = next(n for _, n in server.runs if n.startswith("mixed-rainbow-lake-s0"))
    return server.run(name)


@pytest.mark.parametrize("tail", [True, False])
def test_rows_that_wandb_lost_are_no_result(study, wandb_server, tail):
    bucket = a_run(wandb_server)
    del bucket.history[-2 if tail else 7]
    data = load("wandb:stub/prism?tag=mixed")
    (run,) = data.runs[data.runs.fault != ""].to_dict("records")
    assert run["fault"] == "W&B has 19 of its 20 rows" and run["excluded"] and not run["flag"]


def test_a_crashed_run_and_a_missing_plan_are_named(study, wandb_server):
    bucket = a_run(wandb_server)
    bucket.state, bucket.summary = "crashed", "{}"
    del wandb_server.runs["prism", "mixed-study"]
    data = load("wandb:stub/prism?tag=mixed")
    (run,) = data.runs[data.runs.reason == "state on W&B: crashed"].to_dict("records")
    assert run["state"] == schema.FAILED and run["flag"] == "unfinished"
    assert any("the plan of mixed is not on W&B" in note for note in data.notes)
    assert data.counts()["missing"] == 0


def test_a_query_chooses_runs(study):
    chosen = load("wandb:stub/prism?tag=mixed&group=mixed/lake/DQN&config.seed=0&config.seed=2")
    assert list(chosen.runs.label) == ["DQN", "DQN"] and sorted(chosen.runs.seed) == [0, 2]
    assert load("wandb:prism?tag=mixed&job_type=train").counts()["planned"] == 11
    with pytest.raises(AnalysisError, match="query key: unknown 'tga'; nearest: tag"):
        load("wandb:stub/prism?tga=mixed")
    with pytest.raises(AnalysisError, match="no run matches the query"):
        load("wandb:stub/prism?tag=other")
    with pytest.raises(AnalysisError, match="Could not find project nowhere"):
        load("wandb:stub/nowhere")


Rows = list[dict[str, Any]]


def foreign_run(server: WandbServer, seed: int, config: dict[str, Any], rows: Rows) -> Bucket:
    bucket = Bucket("open", f"run{len(server.runs)}", state="finished")
    wrapped = {key: {"value": value} for key, value in (config | {"seed": seed}).items()}
    bucket.fields = {"config": json.dumps(wrapped), "displayName": "a name"}
    bucket.history = [json.dumps({"_step": i, **row}) for i, row in enumerate(rows)]
    server.runs["open", bucket.name] = bucket
    return bucket


def cleanrl(score: float) -> Rows:
    """Rows as CleanRL's: an episode a row, losses between them, no row at the budget."""
    rows: Rows = []
    for step in range(100, 10_000, 90):
        rows.append({"global_step": step, "charts/episodic_return": score * step / 1e4})
        rows.append({"global_step": step, "charts/episodic_length": step / 50})
        rows.append({"global_step": step + 10, "losses/td_loss": "NaN", "charts/SPS": 5000})
    return rows


def sb3(score: float) -> Rows:
    """Rows as Stable-Baselines3's: a rollout a row, the last one behind the budget."""
    steps = range(2048, 10_241, 2048)
    return [{"global_step": s, "rollout/ep_rew_mean": score * s / 1e4} for s in steps]


def test_runs_of_others_are_mapped(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for seed in (1, 2, 3):
        config = {"exp_name": "c51", "env_id": "CartPole-v1", "total_timesteps": 10_000}
        foreign_run(wandb_server, seed, config, cleanrl(100.0 * seed))
        theirs = {"algo": "PPO", "env": "CartPole-v1", "n_timesteps": 10_000}
        foreign_run(wandb_server, seed, theirs, sb3(200.0))
    data = load("wandb:stub/open")
    assert data.runs.excluded.eq("").all() and set(data.runs.label) == {"c51", "PPO"}
    assert (data.runs.budget == 10_000).all() and (data.runs.global_step == 10_000).all()
    c51 = data.runs[data.runs.label == "c51"].sort_values("seed")
    expected = np.mean([s for s in range(100, 10_000, 90) if s >= 9_000]) / 100
    np.testing.assert_allclose(c51.final, [expected, 2 * expected, 3 * expected], rtol=1e-12)
    assert (data.runs.final[data.runs.label == "PPO"] == 200.0 * 8192 / 1e4).all()
    rows = data.metrics[data.metrics.run_id == c51.run_id.iloc[0]]
    assert len(rows) == len(range(100, 10_000, 90)) + 1
    assert rows["train/return"].iloc[0] == 1.0 and rows["train/length"].iloc[0] == 2.0
    assert any("over the last 10% of the budget" in note for note in data.notes)
    assert cli.main(["report", "wandb:stub/open", "--out", str(tmp_path / "report")]) == 0


def test_what_no_table_knows_can_be_said(wandb_server, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    foreign_run(wandb_server, 1, {"task": "Ant"}, [{"t": 5, "score": 2.0}, {"t": 9, "score": 4.0}])
    with pytest.raises(AnalysisError, match="has no env; add env=<config key>"):
        load("wandb:stub/open")
    with pytest.raises(AnalysisError, match="add return=<column> to the query; columns: score, t"):
        load("wandb:stub/open?env=task")
    data = load("wandb:stub/open?env=task&return=score&step=t")
    (run,) = data.runs.to_dict("records")
    assert (run["env"], run["label"], run["final"], run["global_step"]) == ("Ant", "a name", 4.0, 9)


def test_offline_files_of_others(tmp_path):
    settings = wandb.Settings(silent=True, console="off", disable_git=True, x_disable_stats=True)
    config = {"exp_name": "c51", "env_id": "CartPole-v1", "total_timesteps": 10_000, "seed": 3}
    run = wandb.init(mode="offline", dir=str(tmp_path), config=config, settings=settings)
    for row in cleanrl(50.0):
        run.log(row)
    run.finish()
    wandb.teardown()
    (file,) = tmp_path.glob("wandb/offline-run-*/*.wandb")
    for where in (file, tmp_path / "wandb"):
        data = load(where)
        (found,) = data.runs.to_dict("records")
        assert (found["label"], found["seed"], found["state"]) == ("c51", 3, "finished")
        assert found["excluded"] == "" and data.metrics["train/return"].iloc[0] == 0.5


def test_without_a_login_there_is_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert cli.main(["report", "wandb:a/b", "--out", str(tmp_path)]) == 2
    assert "not logged in to W&B" in capsys.readouterr().err
