"""A study's W&B Report, as it arrives at the server."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from prism.benchmark.cli.main import main
from tests.tracking.runs import ended_run, plan
from tests.wandb_server import WandbServer

pytestmark = pytest.mark.filterwarnings("ignore:Pydantic V1 style")
TABLES = {
    "scores": "| agent | lake |\n| dqn | 1.5 [1.0, 2.0] |",
    "leave-one-out-dqn-rainbow-lake-final": "| Rainbow - double | 0.25 |",
    "completeness": "| dqn | 3/3 |",
    "best-snapshots": "| not shown | 7 |",
}


@pytest.fixture
def study(wandb_server, tmp_path) -> Path:
    """Return a study of two environments with its report, whose runs are on the server."""
    ended_run(tmp_path)
    (tmp_path / "plan.json").write_text(json.dumps(plan(("lake", "it's a hill", "lake"))))
    folder = tmp_path / "report" / "tables"
    folder.mkdir(parents=True)
    for name, text in TABLES.items():
        (folder / f"{name}.md").write_text(text)
    assert main(["wandb-push", str(next(tmp_path.glob("runs/*")))]) == 0
    return tmp_path


def blocks(server: WandbServer, kind: str) -> list[dict[str, Any]]:
    (view,) = server.views.values()
    return [block for block in json.loads(view["spec"])["blocks"] if block["type"] == kind]


def test_tables_and_grouped_curves_are_in_the_report(study, wandb_server, capsys):
    capsys.readouterr()
    assert main(["wandb-report", str(study)]) == 0
    assert capsys.readouterr().out == f"{wandb_server.url}/stub/prism/reports/quick-start--view0\n"
    (view,) = wandb_server.views.values()
    assert (view["displayName"], view["type"], view["projectName"]) == (
        "quick start",
        "runs",
        "prism",
    )
    heads = [block["children"][0]["text"] for block in blocks(wandb_server, "heading")]
    assert heads == ["Final results", "Ablation", "Completeness", "lake", "it's a hill"]
    shown = [block["content"] for block in blocks(wandb_server, "markdown-block")]
    assert shown == list(TABLES.values())[:3]
    for env, grid in zip(("lake", "it's a hill"), blocks(wandb_server, "panel-grid"), strict=True):
        (runs,) = grid["metadata"]["runSets"]
        asked = [(x["key"]["name"], x["op"], x["value"]) for x in runs["filters"]["filters"]]
        assert asked == [("tags", "IN", ["quick start"]), ("tags", "IN", [env])]
        assert runs["grouping"] == [{"section": "run", "name": "group"}]
        panels = grid["metadata"]["panelBankSectionConfig"]["panels"]
        configs = [panel["config"] for panel in panels]
        assert [config["metrics"] for config in configs] == [
            ["eval/return"],
            ["train/return"],
            ["summary_metrics.final/return"],
        ]
        assert [config.get("xAxis") for config in configs] == ["global_step", "global_step", None]
        for config in configs:
            banded = (config["groupBy"], config["groupAgg"], config["groupArea"])
            assert banded == ("group", "mean", "stderr")


def test_a_second_call_updates_the_same_report(study, wandb_server, capsys):
    assert main(["wandb-report", str(study), "--draft"]) == 0
    (view,) = wandb_server.views.values()
    assert view["type"] == "runs/draft"
    (study / "report" / "tables" / "scores.md").write_text("| dqn | 2.5 |")
    assert main(["wandb-report", str(study)]) == 0
    assert blocks(wandb_server, "markdown-block")[0]["content"] == "| dqn | 2.5 |"
    assert main(["wandb-report", str(study), "--project", "other"]) == 0
    assert len(wandb_server.views) == 2  # elsewhere it is another


def test_a_server_that_refuses_is_one_line(study, wandb_server, capsys):
    wandb_server.refuse = lambda name: 403 if name == "upsertView" else None
    capsys.readouterr()
    assert main(["wandb-report", str(study)]) == 1
    (told,) = capsys.readouterr().err.splitlines()
    assert told.startswith("error: W&B did not take the report: ")


def test_no_secret_is_in_a_report(study, wandb_server, monkeypatch):
    monkeypatch.setenv("SERVICE_TOKEN", "planted/in+env=2")
    (study / "report" / "tables" / "scores.md").write_text("| url?token=planted/in+env=2 |")
    assert main(["wandb-report", str(study)]) == 0
    (view,) = wandb_server.views.values()
    assert "planted" not in json.dumps(view) and "token=[hidden]" in view["spec"]


def test_what_is_missing_is_one_line(study, tmp_path, monkeypatch, capsys):
    def refused() -> str:
        capsys.readouterr()
        assert main(["wandb-report", str(study)]) == 2
        return capsys.readouterr().err

    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "wandb_workspaces.reports.v2", None)
        assert refused() == (
            "error: wandb-report needs wandb-workspaces: pip install 'prism-rl[reports]'\n"
        )
    with monkeypatch.context() as patch:
        patch.delenv("WANDB_API_KEY")
        patch.setenv("NETRC", str(tmp_path / "none"))
        assert "not logged in to W&B" in refused()
    (study / "report" / "tables").rename(study / "elsewhere")
    assert refused() == (f"error: there is no report yet; write it with prism report {study}\n")
