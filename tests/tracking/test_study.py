"""A study's own W&B run: by the end of its sweep, or by wandb-push."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from prism.benchmark.cli.main import main
from prism.benchmark.tracking import push as push_module
from prism.benchmark.tracking.push import mirror_study
from tests.tracking.runs import ended_run, own_service, plan, posts
from tests.tracking.test_wandb import recorded

PLAN = plan()


def study(root: Path, wandb: str = "offline") -> Path:
    """Write a study with one run and a report."""
    ended_run(root, wandb=wandb)
    (root / "plan.json").write_text(json.dumps(PLAN))
    for name, content in (("code/c0de.diff", "+x"), ("report/index.html", "<p>the page</p>")):
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).write_text(content)
    for name in ("figures", "tables"):
        (root / "report" / name).mkdir()
    (root / "report" / "tables" / "scores.csv").write_text("agent,score\ndqn,1.5\n")
    Image.new("RGB", (2, 2)).save(root / "report" / "figures" / "curves.png")
    return root


def test_a_study_has_a_wandb_run_of_its_own(wandb_server, tmp_path, capsys):
    assert main(["wandb-push", str(study(tmp_path))]) == 0
    bucket = wandb_server.run("quick-start-study")
    assert (bucket.fields["jobType"], bucket.fields["tags"]) == ("study", ["quick start"])
    assert json.loads(bucket.files["plan.json"]) == PLAN and bucket.files["code/c0de.diff"] == b"+x"
    (shown,) = bucket.rows
    kinds = {key: x["_type"] for key, x in shown.items() if isinstance(x, dict)}
    assert kinds == {
        "report": "html-file",
        "figures/curves": "image-file",
        "tables/scores": "table-file",
    }
    assert b"<p>the page</p>" in bucket.files[shown["report"]["path"]]
    table = json.loads(bucket.files[shown["tables/scores"]["path"]])
    assert (table["columns"], table["data"]) == (["agent", "score"], [["dqn", 1.5]])
    wandb_server.calls.clear()
    assert main(["wandb-push", str(tmp_path)]) == 0
    assert posts(wandb_server) == []
    assert not [call for call in wandb_server.calls if call.startswith("failed")]


@pytest.fixture
def reported(monkeypatch) -> Callable[[str], None]:
    """Return what sets how writing the report goes: a problem, or an empty text."""
    return lambda problem: monkeypatch.setattr(push_module, "make_report", lambda _: problem)


def test_the_end_of_an_offline_sweep_records_the_study_once(tmp_path, reported, capsys):
    reported("")
    study(tmp_path)
    for _ in range(2):
        with own_service():
            mirror_study(tmp_path)
    (run,) = recorded(tmp_path)
    assert (run["run_id"], run["job_type"]) == ("quick-start-study", "study")
    (row,) = run["rows"]
    kinds = {key.removesuffix("._type"): x for key, x in row.items() if key.endswith("._type")}
    assert kinds == {
        "report": "html-file",
        "figures/curves": "image-file",
        "tables/scores": "table-file",
    }
    captured = capsys.readouterr()
    assert (
        captured.out.count("W&B      offline: the study's plan and report") == 2
        and not captured.err
    )


@pytest.mark.parametrize("mirrored", ["disabled", "lost: it died"])
def test_a_study_without_wandb_runs_gets_none(tmp_path, monkeypatch, mirrored):
    monkeypatch.setattr(push_module, "make_report", pytest.fail)
    mirror_study(study(tmp_path, mirrored))
    assert not (tmp_path / "wandb").exists()


@pytest.mark.parametrize("fault", ["down", "hanging", "no report"])
def test_what_fails_at_the_end_of_a_sweep_is_one_line(
    wandb_server, tmp_path, monkeypatch, reported, capsys, fault
):
    monkeypatch.setattr(push_module, "_AT_THE_END", 0.5)
    reported("no report: why" if fault == "no report" else "")
    if fault == "down":
        wandb_server.stop()
    elif fault == "hanging":
        wandb_server.gate.clear()
    else:
        monkeypatch.setattr(push_module, "_AT_THE_END", 30.0)
    with own_service():
        mirror_study(study(tmp_path, "online"))
        wandb_server.gate.set()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("W&B: the study's own run is not complete: ")
    assert line.endswith(f"; send it with prism wandb-push {tmp_path}")
    assert ("quick-start-study" in {name for _, name in wandb_server.runs}) == ("no" in fault)


def test_a_sweep_ends_with_its_report_on_wandb(wandb_server, tmp_path, capsys):
    words = ["-m", "algo=dqn", "env=cartpole", "name=mini", "seed=1,2", "budget=60"]
    words += ["evaluation.episodes=1", "evaluation.periodic_episodes=1", "algo.learning_starts=40"]
    words += ["tracking=online", f"results={tmp_path}", "hydra/launcher=inline"]
    with own_service():
        assert main([*words, "tracking.report=true"]) == 0
    bucket = wandb_server.run("mini-study")
    (shown,) = bucket.rows
    assert {"report", "tables/scores", "figures/curves-sweep"} <= set(shown)
    page = bucket.files[shown["report"]["path"]]
    assert page == (tmp_path / "mini" / "report" / "index.html").read_bytes()
    assert len(json.loads(bucket.files["plan.json"])["runs"]) == 2
    wandb_server.calls.clear()
    assert main(words) == 0  # nothing is left to do
    assert main([*words, "seed=1,2,3", "tracking=disabled"]) == 0
    assert posts(wandb_server) == []
