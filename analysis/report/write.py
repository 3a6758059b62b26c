"""The files of a report: where they are written, and which older files they replace."""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import AnalysisError
from ..load.data import Data
from ..questions import factorial
from ..questions.ablation import ablate
from ..questions.curves import curve_metric
from ..questions.design import Choice
from ..questions.pooled import headlines
from ..questions.sameness import unlearned
from ..questions.scores import BEST, FINAL, REFERENCE, score_runs
from ..questions.standing import standing
from . import page, tables
from .headline import headline_table
from .sentences import Sentence, sentences
from .table import Table
from .top import top

MANIFEST = "written.json"  # lists the files of a report, which the next report may replace
_PARTS = ("index.html", "report.md", "tables", "figures")


@dataclass(frozen=True)
class Report:
    """The path of a report's page, and its tables and sentences."""

    page: Path
    tables: list[Table]
    sentences: list[Sentence]


def write(
    data: Data, out: Path, command: str, choice: Choice | None = None, width: str = "text"
) -> Report:
    """Write ``index.html``, ``report.md``, ``tables/`` and ``figures/`` into ``out``.

    Args:
        data: the runs, at least one of them scored.
        out: folder to write to. Files of an older report are replaced; other files stay.
        command: the command line that repeats this report.
        choice: test and correction of the ablation.
        width: width of the figures, "text" or "column".

    Raises:
        AnalysisError: a file of the report exists that no report wrote.
    """
    with TemporaryDirectory(prefix="report-") as scratch:
        report = _make(data, Path(scratch), out, command, choice or Choice(), width)
        _publish(Path(scratch), out)
    return report


def _publish(scratch: Path, out: Path) -> None:
    """Move the files of a report to ``out``, and remove those of an older report."""
    manifest = out / MANIFEST
    new = [str(path.relative_to(scratch)) for path in sorted(scratch.rglob("*.*"))]
    previous: set[str] = set()
    if manifest.is_file():
        with suppress(ValueError, TypeError, RecursionError):  # a broken list counts as empty
            previous = set(map(str, json.loads(manifest.read_text())))
    if not previous and all((out / name).exists() for name in _PARTS):
        previous = set(new)  # a report from before manifests
    foreign = [name for name in new if name not in previous and (out / name).exists()]
    if foreign:
        many = len(foreign) > 1
        raise AnalysisError(
            f"{out}: {', '.join(foreign[:3])} {'exist and are' if many else 'exists and is'} not "
            "part of a report; name another folder"
        )
    for name in previous:
        if name in new or re.fullmatch(r"(tables|figures)/\w[^/]*", name):
            (out / name).unlink(missing_ok=True)
    for name in new:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(scratch / name, out / name)
    manifest.write_text(json.dumps(new, indent=0))


def _make(data: Data, scratch: Path, out: Path, command: str, choice: Choice, width: str) -> Report:
    """Write a report into ``scratch``; it will be moved to ``out``."""
    from . import figures, paper  # seaborn takes a second to import

    metric = curve_metric(data)
    scores = score_runs(data, metric)
    ablation = ablate(data, scores, choice)
    found = headlines(data, scores, choice)
    overall, main = list(map(headline_table, found)), tables.ablation_tables(ablation)
    choices = ((None, FINAL), (REFERENCE, FINAL), (None, BEST))
    ranks = standing(data, scores, choice.reference)
    per_env = [t for how, name in choices if (t := tables.score_table(data, scores, how, name))]
    if len(ranks) and len(data.envs) > 1:
        per_env.append(tables.standing_table(ranks))
    completeness, excluded = tables.completeness_table(data), tables.excluded_table(data)
    for name in ("tables", "figures"):
        (scratch / name).mkdir()
    figure_facts = []
    for plot in chain(
        paper.figures(data, scores, found, ranks, width),
        figures.figures(data, scores, ablation, metric, width),
    ):
        plot.save(scratch / "figures")
        figure_facts.append({"name": plot.name, "caption": plot.caption})
    main += tables.factorial_tables(factorial.effects(data, scores, choice))
    _write_tables(
        [*overall, *main, *per_env, completeness, *([excluded] if excluded else [])], scratch
    )
    content = page.Content(
        data=data,
        scores=scores,
        metric=metric,
        ablation=ablation,
        choice=choice,
        overall=overall,
        main=main,
        per_env=per_env,
        completeness=completeness,
        excluded=excluded,
        figures=figure_facts,
        top=top(data, found, ablation, unlearned(data, scores)),
        sentences=sentences(ablation, found),
        command=command,
        linked=out.parent == Path(data.folders[0]) and len(data.folders) == 1,
    )
    page.render(content, scratch)
    return Report(out / "index.html", [*overall, *main], content.sentences)


def _write_tables(items: list[Table], out: Path) -> None:
    for table in items:
        for ending, text in (
            ("md", table.markdown()),
            ("csv", table.csv()),
            ("tex", table.latex()),
            ("html", table.html()),
        ):
            (out / "tables" / f"{table.name}.{ending}").write_text(text)
