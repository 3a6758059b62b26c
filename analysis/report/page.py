"""The page: facts, sentences, tables, figures, runs and provenance, filled into templates.

``page.html`` becomes ``index.html``; ``report.md.txt`` becomes ``report.md``, the same in Markdown.
"""

import base64
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from prism.benchmark.util.text import plain, shown

from .. import stats
from ..errors import count
from ..load.confounds import confounds
from ..load.data import Data
from ..questions import curves
from ..questions.design import Choice
from ..stats.coverage import warning
from . import interactive, runs
from .sentences import MANY, Sentence
from .table import Table, markdown
from .top import Top

_NAMED = 8  # environments in the line at the top
_LISTED = 40  # tables of single environments; more are files that the page links to
_EMBEDDED = 400_000  # bytes of a figure; a larger one is a file that the page shows
_CONTENTS = (
    *(("curves-section", "Curves"), ("in-words", "In words"), ("tables", "Tables")),
    *(("figures", "Figures"), ("completeness", "Completeness"), ("runs-behind", "Runs")),
    *(("methods", "Methods"), ("provenance", "Provenance")),
)
TEMPLATES = {"index.html": "page.html", "report.md": "report.md.txt"}


@dataclass(frozen=True)
class Content:
    """The results that a report shows.

    Attributes:
        data: the runs.
        scores: one row per scored run.
        metric: metric of the learning curves.
        ablation: the frame of ``ablation.ablate``.
        choice: test and correction of the ablation.
        overall: tables of the effects over all environments.
        main: tables of the ablation and of factorials.
        per_env: tables of scores per environment.
        completeness: table of scored and planned runs.
        excluded: table of planned runs that are not scored; None if all are.
        figures: ``name`` and ``caption`` of every figure.
        top: the first screen.
        sentences: the sentences.
        command: the command line that repeats the report.
        linked: whether the report is in the folder of the study, so that it can link to runs.
    """

    data: Data
    scores: pd.DataFrame
    metric: str
    ablation: pd.DataFrame
    choice: Choice
    overall: list[Table]
    main: list[Table]
    per_env: list[Table]
    completeness: Table
    excluded: Table | None
    figures: list[dict[str, str]]
    top: Top
    sentences: list[Sentence]
    command: str
    linked: bool


def render(content: Content, folder: Path) -> None:
    """Write the page, and the same in Markdown, into a folder that contains ``figures/``."""
    facts = _facts(content)
    for name, template in TEMPLATES.items():
        page = _templates(folder, template).get_template(template)
        (folder / name).write_text(page.render(facts))


def _facts(content: Content) -> dict[str, Any]:
    """Return the variables of the templates."""
    data, choices = content.data, interactive.curve_data(content.data, content.top.front)
    return {
        "data": data,
        "lead": _lead(content),
        "counts": data.counts(),
        "top": content.top,
        "contents": _CONTENTS,
        "sentences": content.sentences,
        "many": MANY,
        "listed": _LISTED,
        "overall": content.overall,
        "main": content.main,
        "scores": content.per_env,
        "completeness": content.completeness,
        "excluded": content.excluded,
        "figures": content.figures,
        "metric": curves.CURVE_NAMES[content.metric],
        "provenance": provenance(data),
        "command": content.command,
        "level": f"{stats.LEVEL:.0%}",
        "warnings": list(confounds(data)),
        "few": _few(content),
        "cells": list(runs.cells(data, content.scores)),
        "choices": choices,
        "packed": interactive.pack(interactive.as_json(choices)),
        "library": interactive.library(),
        "script": Markup((files(__package__) / "page.js").read_text()),
        "linked": content.linked,
        "test": content.choice.test,
        "correction": content.choice.correction,
    }


def _lead(content: Content) -> str:
    """Return what the study is, in one line: agents, components, environments, runs."""
    data = content.data
    parts = content.ablation[content.ablation.component != ""].component.nunique()
    names = ", ".join(data.envs[:_NAMED]) + (", ..." if len(data.envs) > _NAMED else "")
    sizes = [data.size(label, env)[0] for label in data.labels for env in data.envs]
    sizes = [n for n in sizes if n] or [0]
    seeds = str(min(sizes)) if min(sizes) == max(sizes) else f"{min(sizes)} to {max(sizes)}"
    facts = [
        count(len(data.labels), "agent"),
        *([count(parts, "component")] if parts else []),
        f"{count(len(data.envs), 'environment')} ({names})",
        f"{seeds} runs of each",
    ]
    counts = data.counts()
    return f"{', '.join(facts)} · {counts['scored']:,} of {len(data.runs):,} runs scored"


def _few(content: Content) -> str:
    """Return the warning about few runs, for the intervals that this report shows."""
    rows = content.ablation[content.ablation.effect_low.notna()]
    differences = {
        str(kind): {*group.n_of, *group.n_against}
        for kind, group in rows.groupby("interval", sort=False)
    }
    means = set(content.data.scored.groupby(["env", "label"]).size())
    return warning(means, differences, any("IQM" in table.header for table in content.per_env))


def _templates(folder: Path, template: str) -> jinja2.Environment:
    """Return the templates that escape texts for one of them: as HTML or as Markdown."""
    as_html = template.endswith(".html")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(str(files(__package__))),
        autoescape=as_html,
        finalize=_finalized(plain if as_html else markdown),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )

    def picture(name: str) -> str:
        content = (folder / "figures" / f"{name}.svg").read_bytes()
        if len(content) > _EMBEDDED:
            return f"figures/{name}.png"
        return "data:image/svg+xml;base64," + base64.b64encode(content).decode()

    environment.globals["picture"] = picture
    environment.filters["counts"] = lambda kinds: sorted(Counter(kinds).items(), reverse=True)
    environment.filters["table"] = lambda table: Markup(
        table.html(links=True) if as_html else table.markdown()
    )
    environment.filters["code"] = lambda text: Markup(f"`{shown(text).replace('`', ' ')}`")
    return environment


def _finalized(escaped: Callable[[str], str]) -> Callable[[Any], Any]:
    """Return what a template does to every value that it shows."""

    def finalize(value: Any) -> Any:
        text = isinstance(value, str) and not isinstance(value, Markup)
        return escaped(value) if text else value

    return finalize


def _short(git: str | None) -> str:
    """Abbreviate a commit; keep the "+" of a checkout with changes."""
    return "unknown" if not git else git[:10] + "+" * git.endswith("+")


def provenance(data: Data) -> list[tuple[str, str]]:
    """Return code, versions and settings of the scored runs; if they differ, with counts."""
    records = [data.records[run_id] for run_id in data.scored.run_id if run_id in data.records]
    if not records:
        return [("runs", "from a table or arrays, without a record of code, versions or settings")]

    def each(values: list[Any]) -> str:
        counts = Counter(str(value) for value in values)
        if len(counts) == 1:
            return next(iter(counts))
        return ", ".join(f"{value} ({count(n, 'run')})" for value, n in counts.most_common())

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
    files: dict[str, list[str]] = {}
    for record in records:
        files.setdefault(record["variant"]["label"], []).append(record.get("tuned") or "none")
    if len({tuple(sorted({*names})) for names in files.values()}) == 1:
        files = {"": [name for names in files.values() for name in names]}
    for label, names in files.items():
        rows.append((f"tuned settings of {label}" if label else "tuned settings", each(names)))
    return rows
