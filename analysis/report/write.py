"""The files of a report: what is written where, and what replaces an older report."""

import json
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from ..errors import AnalysisError
from ..load.data import Data
from ..questions import factorial
from ..questions.ablation import Choice, ablate
from ..questions.curves import curve_metric
from ..questions.scores import BEST, FINAL, REFERENCE, score_runs
from . import page, tables
from .sentences import Sentence, sentences
from .table import Table

MANIFEST = "written.json"  # the files of a report, which the next one may replace
_PARTS = ("index.html", "report.md", "tables", "figures")


@dataclass(frozen=True)
class Report:
    """Where a report lies, and what it says in short."""

    page: Path
    tables: list[Table]
    sentences: list[Sentence]


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
        report = _make(data, Path(scratch), out, command, choice or Choice(), width)
        _publish(Path(scratch), out)
    return report


def _publish(scratch: Path, out: Path) -> None:
    """Move the files of a report to where it belongs, in the place of an older report's."""
    manifest = out / MANIFEST
    new = [str(path.relative_to(scratch)) for path in sorted(scratch.rglob("*.*"))]
    previous: set[str] = set()
    if manifest.is_file():
        with suppress(ValueError):  # a broken list of files is none
            previous = set(json.loads(manifest.read_text()))
    if not previous and all((out / name).exists() for name in _PARTS):
        previous = set(new)  # a report from before there were manifests
    foreign = [name for name in new if name not in previous and (out / name).exists()]
    if foreign:
        raise AnalysisError(
            f"{out}: {', '.join(foreign[:3])} {'is' if len(foreign) == 1 else 'are'} there, and "
            "not from a report; name another folder"
        )
    for name in previous:
        if name in new or re.fullmatch(r"(tables|figures)/[^/]+", name):
            (out / name).unlink(missing_ok=True)
    for name in new:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.move(scratch / name, out / name)
    manifest.write_text(json.dumps(new, indent=0))


def _make(data: Data, scratch: Path, out: Path, command: str, choice: Choice, width: str) -> Report:
    """Write a report that will lie in ``out`` into ``scratch``."""
    from . import figures  # seaborn takes a second to import

    metric = curve_metric(data)
    scores = score_runs(data, metric)
    ablation = ablate(data, scores, choice)
    main = tables.ablation_tables(ablation)
    choices = ((None, FINAL), (REFERENCE, FINAL), (None, BEST))
    per_env = [t for how, name in choices if (t := tables.score_table(data, scores, how, name))]
    completeness, excluded = tables.completeness_table(data), tables.excluded_table(data)
    for name in ("tables", "figures"):
        (scratch / name).mkdir()
    figure_facts = []
    for plot in figures.figures(data, scores, ablation, metric, width):
        plot.save(scratch / "figures")
        figure_facts.append({"name": plot.name, "caption": plot.caption})
    main += tables.factorial_tables(factorial.effects(data, scores, choice))
    _write_tables([*main, *per_env, completeness, *([excluded] if excluded else [])], scratch)
    content = page.Content(
        data=data,
        scores=scores,
        metric=metric,
        ablation=ablation,
        choice=choice,
        main=main,
        per_env=per_env,
        completeness=completeness,
        excluded=excluded,
        figures=figure_facts,
        sentences=sentences(ablation),
        command=command,
        linked=out.parent == Path(data.folders[0]) and len(data.folders) == 1,
    )
    page.render(content, scratch)
    return Report(out / "index.html", main, content.sentences)


def _write_tables(items: list[Table], out: Path) -> None:
    for table in items:
        for ending, text in (
            ("md", table.markdown()),
            ("csv", table.csv()),
            ("tex", table.latex()),
            ("html", table.html()),
        ):
            (out / "tables" / f"{table.name}.{ending}").write_text(text)
