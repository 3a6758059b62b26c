"""The report of a study: one self-contained page, the same in Markdown, tables and figures."""

import base64
import json
import re
import shutil
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from .. import stats
from ..errors import AnalysisError
from ..load.data import Data
from ..questions import curves, factorial
from ..questions.ablation import Choice, ablate
from ..stats.coverage import warning
from . import interactive, runs, tables
from .sentences import MANY, Verdict, verdicts
from .table import Table

MANIFEST = "written.json"  # the files of a report, which the next one may replace
_PARTS = ("index.html", "report.md", "tables", "figures")


@dataclass(frozen=True)
class Report:
    """Where a report lies, and what it says in short."""

    page: Path
    tables: list[Table]
    verdicts: list[Verdict]


def write(
    data: Data, out: Path, command: str, choice: Choice | None = None, width: str = "text"
) -> Report:
    """Write ``index.html``, ``report.md``, ``tables/`` and ``figures/`` into ``out``.

    Args:
        data: the loaded studies, with at least one scored run.
        out: folder to write to; the files of its old report are replaced, and no others.
        command: the command line that makes this report again.
        choice: test and correction of the component study.
        width: of the figures, "text" or "column".

    Raises:
        AnalysisError: a file of that name is there that no report wrote.
    """
    with TemporaryDirectory(prefix="report-") as scratch:
        made = _make(data, Path(scratch), out, command, choice or Choice(), width)
        _publish(Path(scratch), out)
    return made


def _publish(scratch: Path, out: Path) -> None:
    """Move the files of a report to where it belongs, in the place of an older report's."""
    manifest = out / MANIFEST
    new = [str(path.relative_to(scratch)) for path in sorted(scratch.rglob("*.*"))]
    known: set[str] = set()
    if manifest.is_file():
        with suppress(ValueError):  # a broken list of files is none
            known = set(json.loads(manifest.read_text()))
    if not known and all((out / name).exists() for name in _PARTS):
        known = set(new)  # a report from before there were manifests
    foreign = [name for name in new if name not in known and (out / name).exists()]
    if foreign:
        raise AnalysisError(
            f"{out}: {', '.join(foreign[:3])} {'is' if len(foreign) == 1 else 'are'} there, and "
            "not from a report; name another folder"
        )
    for name in known:
        if name in new or re.fullmatch(r"(tables|figures)/[^/]+", name):
            (out / name).unlink(missing_ok=True)
    for name in new:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(scratch / name, out / name)
    manifest.write_text(json.dumps(new, indent=0))


def _make(data: Data, scratch: Path, out: Path, command: str, choice: Choice, width: str) -> Report:
    """Write a report that will lie in ``out`` into ``scratch``."""
    from . import figures  # seaborn takes a second to import

    metric = curves.curve_metric(data)
    scores = curves.scores(data, metric)
    ablation = ablate(data, scores, choice)
    main = tables.ablation_tables(ablation)
    wanted = ((None, curves.FINAL), (curves.REFERENCE, curves.FINAL), (None, curves.BEST))
    per_env = [t for how, name in wanted if (t := tables.score_table(data, scores, how, name))]
    completeness, excluded = tables.completeness_table(data), tables.excluded_table(data)
    for name in ("tables", "figures"):
        (scratch / name).mkdir()
    drawn = []
    for plot in figures.figures(data, scores, ablation, metric, width):
        plot.save(scratch / "figures")
        drawn.append({"name": plot.name, "caption": plot.caption})
    main += tables.factorial_tables(factorial.effects(data, scores, choice))
    _write_tables([*main, *per_env, completeness, *([excluded] if excluded else [])], scratch)
    said = verdicts(ablation)
    shown = interactive.content(data)
    facts = {
        "data": data,
        "counts": data.counts(),
        "verdicts": said,
        "many": MANY,
        "main": main,
        "scores": per_env,
        "completeness": completeness,
        "excluded": excluded,
        "figures": drawn,
        "metric": curves.CURVE_NAMES[metric],
        "provenance": provenance(data),
        "command": command,
        "level": f"{stats.LEVEL:.0%}",
        "warning": _few(data, ablation, per_env),
        "cells": list(runs.cells(data, scores)),
        "choices": shown,
        "packed": interactive.packed(interactive.as_json(shown)),
        "library": interactive.library(),
        "script": Markup((files(__package__) / "page.js").read_text()),
        "linked": out.parent == Path(data.folders[0]) and len(data.folders) == 1,
        "test": choice.test,
        "correction": choice.correction,
    }
    templates = _templates(scratch)
    for template, name in (("page.html", "index.html"), ("report.md.txt", "report.md")):
        (scratch / name).write_text(templates.get_template(template).render(facts))
    return Report(out / "index.html", main, said)


def _few(data: Data, ablation: pd.DataFrame, shown: list[Table]) -> str:
    """Return what intervals cover where runs are few, for the intervals that this report shows."""
    rows = ablation[ablation.effect_low.notna()]
    differences = {
        str(kind): {*group.n_of, *group.n_against}
        for kind, group in rows.groupby("interval", sort=False)
    }
    means = set(data.scored.groupby(["env", "label"]).size())
    return warning(means, differences, any("IQM" in table.header for table in shown))


def _write_tables(written: list[Table], out: Path) -> None:
    for table in written:
        for ending, text in (
            ("md", table.markdown()),
            ("csv", table.csv()),
            ("tex", table.latex()),
            ("html", table.html()),
        ):
            (out / "tables" / f"{table.name}.{ending}").write_text(text)


def _templates(out: Path) -> jinja2.Environment:
    """Return the templates; HTML is escaped, Markdown is not."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files(__package__))),
        autoescape=lambda name: (name or "").endswith(".html"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def picture(name: str) -> str:
        content = (out / "figures" / f"{name}.svg").read_bytes()
        return "data:image/svg+xml;base64," + base64.b64encode(content).decode()

    environment.globals["picture"] = picture
    environment.filters["counts"] = lambda kinds: sorted(Counter(kinds).items(), reverse=True)
    environment.filters["table"] = lambda table: Markup(table.html(links=True))
    return environment


def _short(git: str | None) -> str:
    """Abbreviate a commit, and keep the "+" that marks a checkout with changes."""
    return "unknown" if not git else git[:10] + "+" * git.endswith("+")


def provenance(data: Data) -> list[tuple[str, str]]:
    """Return what the scored runs were made with; several values are named with their counts."""
    records = [data.records[run_id] for run_id in data.scored.run_id if run_id in data.records]
    if not records:
        return [("runs", "from a table or arrays: no record of code, versions or settings")]

    def each(values: list[Any]) -> str:
        counts = Counter(str(value) for value in values)
        if len(counts) == 1:
            return next(iter(counts))
        return ", ".join(f"{value} ({n} runs)" for value, n in counts.most_common())

    rows = [
        ("code", each([record.get("code") for record in records])),
        ("git commit", each([_short(record.get("git")) for record in records])),
    ]
    for env in dict.fromkeys(data.scored.env):
        here = [record for record in records if record["env"] == env]
        if not here:
            continue
        rows.append((f"protocol on {env}", each([record.get("protocol") for record in here])))
        for fact in here[0].get("protocol_facts", {}):
            values = [record.get("protocol_facts", {}).get(fact) for record in here]
            rows.append((f"{env}: {fact}", each(values)))
    names = sorted({name for record in records for name in record.get("versions", {})})
    for name in names:
        rows.append((name, each([record.get("versions", {}).get(name) for record in records])))
    packs = [record.get("pack", {}) for record in records]
    rows.append(("device", each([pack.get("device") for pack in packs])))
    rows.append(("threads", each([pack.get("threads") for pack in packs])))
    rows.append(("seeds trained together", each([len(pack.get("seeds", [])) for pack in packs])))
    rows.append(("tuned settings", each([record.get("tuned") or "none" for record in records])))
    return rows
