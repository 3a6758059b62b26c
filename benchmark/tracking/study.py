"""A study's own W&B run: its plan, how the code differed, and its report with figures and tables.

The plan is what tells a reader of W&B which runs never began.
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
    """Write the report of a study into its folder; return why not if that fails."""
    command = [sys.executable, "-m", "analysis", "report", str(study_dir)]
    done = subprocess.run(command, capture_output=True, text=True)
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    return f"no report: {last}" if done.returncode else ""


def push_study(study_dir: Path, where: Mapping[str, Any], mode: StartMode = "online") -> bool:
    """Bring the W&B run of a study up to date; return whether there was anything to send.

    Args:
        study_dir: ``results/<study>`` with a ``plan.json``.
        where: ``project`` and ``entity``.
        mode: "offline" records it in the study's folder, in the place of an earlier one.
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
    """Return what is uploaded as it is."""
    return [study_dir / "plan.json", *sorted((study_dir / "code").glob("*.diff"))]


def _report(folder: Path) -> Iterator[tuple[str, Any]]:
    """Yield the page, the figures and the tables of a report, if there is one."""
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
    """Return a hash of all that would be sent."""
    sha = hashlib.sha256()
    shown = [path for path in study_dir.glob("report/**/*") if path.suffix in (".html", ".csv")]
    for path in [*_files(study_dir), *sorted(shown)]:
        sha.update(str(path.relative_to(study_dir)).encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()[:16]
