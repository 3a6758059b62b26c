"""A study's report as a W&B Report: curves drawn by W&B, tables computed by the analysis.

The curves are live; W&B computes their mean and standard error. Every number with an interval or a
test is copied from ``results/<study>/report``.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

from ..store import ledger, records
from ..store.schema import EVAL_RETURN, FINAL_RETURN, STEP, TRAIN_RETURN, Plan
from ..util.errors import ConfigError
from ..util.secrets import clean_text
from .service import logged_in

FILE = "wandb_report.json"  # in the study's folder: the id of its W&B Report
_CURVES = {EVAL_RETURN: "Evaluation return", TRAIN_RETURN: "Training return"}
_TABLES = {  # heading -> prefixes of the names of its tables
    "Final results": ("scores",),
    "Ablation": ("leave-one-out", "add-one-in", "factorial"),
    "Completeness": ("completeness", "excluded"),
}


def save_report(study_dir: Path, where: Mapping[str, Any], draft: bool) -> str:
    """Create or update the W&B Report of a study; return its URL.

    Args:
        study_dir: ``results/<study>`` with a report.
        where: ``project`` and ``entity`` of its runs.
        draft: only the author can see it.

    Raises:
        ConfigError: ``wandb-workspaces`` is missing, not logged in, or there is no report.
    """
    report = build(study_dir, where)
    previous = records.read_json(study_dir / FILE)
    if previous and (previous["project"], previous["entity"]) == (report.project, report.entity):
        report.id = previous["id"]
    report.save(draft=draft)
    reference = {"id": report.id, "project": report.project, "entity": report.entity}
    records.write_json(study_dir / FILE, reference)
    return str(report.url)


def build(study_dir: Path, where: Mapping[str, Any]) -> Any:
    """Return the report of a study as an unsaved ``wandb_workspaces`` Report."""
    plan = ledger.read_plan(study_dir)
    try:
        library = import_module("wandb_workspaces.reports.v2")
    except ImportError:
        raise ConfigError(
            "wandb-report needs wandb-workspaces: pip install 'prism-rl[reports]'"
        ) from None
    tables = study_dir / "report" / "tables"
    if not tables.is_dir():
        raise ConfigError(f"there is no report yet; write it with prism report {study_dir}")
    if not logged_in():
        raise ConfigError("not logged in to W&B: set WANDB_API_KEY or run `wandb login`")
    import wandb

    entity = where["entity"] or str(wandb.Api().default_entity)
    grids = _grids(library, plan, where["project"], entity)
    return library.Report(
        project=where["project"],
        entity=entity,
        title=plan["study"][:128],
        description=f"{len(plan['runs'])} runs planned",
        blocks=[*_tables(library, tables), *grids],
        width="fluid",
    )


def _tables(library: Any, folder: Path) -> Iterator[Any]:
    """Yield the tables of the report under their headings."""
    for heading, prefixes in _TABLES.items():
        paths = [path for path in sorted(folder.glob("*.md")) if path.name.startswith(prefixes)]
        if paths:
            yield library.H2(heading)
        for path in paths:
            yield library.MarkdownBlock(clean_text(path.read_text()))


def _grids(library: Any, plan: Plan, project: str, entity: str) -> Iterator[Any]:
    """Yield, for each environment, the curves and final scores of its cells."""
    for env in dict.fromkeys(run["env"] for run in plan["runs"]):
        tags = " and ".join(f"Tags() in [{tag[:64]!r}]" for tag in (plan["study"], env))
        runs = library.Runset(
            entity=entity, project=project, name=env, filters=tags, groupby=["run.group"]
        )
        band = {"groupby": library.Metric("Group"), "groupby_rangefunc": "stderr"}
        lines = [
            library.LinePlot(
                title=f"{title} on {env}: mean and standard error",
                x=STEP,
                y=[metric],
                groupby_aggfunc="mean",
                **band,
            )
            for metric, title in _CURVES.items()
        ]
        bars = library.BarPlot(
            title=f"Final score on {env}: mean and standard error",
            metrics=[library.SummaryMetric(FINAL_RETURN)],
            groupby_aggfunc="mean",
            **band,
        )
        yield library.H2(env)
        yield library.PanelGrid(runsets=[runs], panels=[*lines, bars])
