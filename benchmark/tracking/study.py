"""A study's own W&B run: its plan, its Git diffs, and its report with figures and tables.

The plan shows a reader on W&B which runs never started.
"""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ..store import records
from .service import StartMode, quiet_setup
from .wandb import NO_HURRY, held, safe_id, settings

JOB_TYPE = "study"


def make_report(study_dir: Path) -> str:
    """Write the report of a study into its folder; return an error message, "" if it succeeded."""
    command = [sys.executable, "-m", "analysis", "report", str(study_dir)]
    process = subprocess.run(command, capture_output=True, text=True)
    last = (process.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"no report: {last}" if process.returncode else ""


def push_study(study_dir: Path, where: Mapping[str, Any], mode: StartMode = "online") -> bool:
    """Update the W&B run of a study.

    Args:
        study_dir: ``results/<study>`` with a ``plan.json``.
        where: ``project`` and ``entity``.
        mode: "offline" records the run in the study's folder and replaces an earlier recording.

    Returns:
        Whether there was anything to send.
    """
    import wandb

    quiet_setup()
    plan = records.read_json(study_dir / "plan.json")
    name = safe_id(f"{plan['study']}-study")
    content = _digest(study_dir)
    if mode == "online":
        before = held("/".join(filter(None, [where["entity"], where["project"], name])))
        if before and before.summary.get("content") == content:
            return False
    for old in study_dir.glob(f"wandb/offline-run-*-{name}"):
        shutil.rmtree(old, ignore_errors=True)
    run = wandb.init(
        project=where["project"],
        entity=where["entity"],
        id=name,
        name=plan["study"],
        group=plan["study"],
        job_type=JOB_TYPE,
        tags=[plan["study"][:64]],
        config={"study": plan["study"], "planned": len(plan["runs"])},
        dir=str(study_dir),
        mode=mode,
        reinit="create_new",
        resume="allow" if mode == "online" else None,
        settings=settings(**NO_HURRY),
    )
    for path in _files(study_dir):
        run.save(str(path), base_path=str(study_dir), policy="now")
    report = dict(_report(study_dir / "report"))
    if report:
        run.log(report)
    run.summary.update({"content": content})
    run.finish()
    return True


def _files(study_dir: Path) -> list[Path]:
    """Return the files that are uploaded unchanged."""
    return [study_dir / "plan.json", *sorted((study_dir / "code").glob("*.diff"))]


def _report(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the page, figures and tables of a report as W&B keys and media; none if no report."""
    import pandas as pd
    import wandb

    page = folder / "index.html"
    if page.is_file():
        yield "report", wandb.Html(str(page), inject=False)
    for path in sorted(folder.glob("figures/*.png")):
        yield f"figures/{path.stem}", wandb.Image(str(path))
    for path in sorted(folder.glob("tables/*.csv")):
        yield f"tables/{path.stem}", wandb.Table(dataframe=pd.read_csv(path))


def _digest(study_dir: Path) -> str:
    """Return a hash that changes with the plan, the diffs, or the report's page and tables."""
    sha = hashlib.sha256()
    report = [path for path in study_dir.glob("report/**/*") if path.suffix in (".html", ".csv")]
    for path in [*_files(study_dir), *sorted(report)]:
        sha.update(str(path.relative_to(study_dir)).encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]
