"""The commands of the analysis: what each reads, prints and writes."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from prism.benchmark.util.boundary import answered
from prism.benchmark.util.errors import ConfigError
from prism.benchmark.util.files import check_inside

from .. import stats
from ..api import Study, load
from ..errors import AnalysisError, count
from ..load.cells import to_csv
from ..load.data import UNFINISHED
from ..questions import curves
from ..questions.scores import FINAL, MIN_MAX, REFERENCE
from .parser import FIRST, parsed

if TYPE_CHECKING:
    from ..report.table import Table

_GROUPS = 12  # groups of excluded runs that are printed


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 after one line that says what is wrong."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    if not words:
        print(FIRST, end="")
        return 0
    return answered(lambda: _command(words), AnalysisError)


def _command(words: list[str]) -> int:
    options = parsed(words, {name: (run.__doc__ or "").strip() for name, run in COMMANDS.items()})
    _check_out(getattr(options, "out", None))
    COMMANDS[options.command](options)
    return 0


def _check_out(out: Path | None) -> None:
    """Check that ``--out`` can be written, before anything is computed."""
    if out is not None:
        existing = next(path for path in (out, *out.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise AnalysisError(f"--out {out}: {existing} is a file; name a folder")
        if not os.access(existing, os.W_OK):
            raise AnalysisError(f"--out {out}: cannot write to {existing}")


def _load(options: argparse.Namespace) -> Study:
    if sys.stderr.isatty():
        print(f"reading {', '.join(options.where)} ...", end="\r", file=sys.stderr)
    results = load(options.where, include=options.include, scores=options.scores)
    if getattr(options, "rename", None) or getattr(options, "order", None):
        pairs = dict(map(_pair, options.rename))
        results = Study(results.whole.presented(pairs, options.order or []))
    return _scored(results)


def _pair(word: str) -> tuple[str, str]:
    old, _, new = word.partition("=")
    if not (old and new):
        raise AnalysisError(f"--rename {word}: write OLD=NEW")
    return old, new


def _scored(results: Study) -> Study:
    """Return the results, which must hold a scored run."""
    if results.data.scored.empty:
        runs = results.data.runs
        reason = next(iter(runs.excluded))
        raise AnalysisError(
            f"no run can be scored: {_counts(results)}; the first, {runs.run_id[0]}: {reason}"
        )
    return results


def _remarks(results: Study, options: argparse.Namespace) -> Iterator[str]:
    """Yield which runs are not scored and why, and the notes."""
    runs = results.runs[results.runs.excluded != ""]
    groups = list(runs.groupby(["label", "env", "flag"], sort=False))
    for (label, env, flag), group in groups[:_GROUPS]:
        planned = results.data.size(str(label), str(env))[1]
        more = "; others for other reasons" if group.excluded.nunique() > 1 else ""
        reasons = f"{group.excluded.iloc[0]}{more}{_remedy(group, str(flag), options)}"
        yield f"excluded: {len(group)} of {planned} runs of {label} on {env}: {reasons}"
    if len(groups) > _GROUPS:
        rest = sum(len(group) for _, group in groups[_GROUPS:])
        yield f"excluded: {count(rest, 'more run')}; the report lists each"
    whole = options.command in ("compare", "export")
    for note in (results.whole if whole else results.data).notes:
        yield f"note: {note}"


def _remedy(group: Any, flag: str, options: argparse.Namespace) -> str:
    """Return what ``--include`` does for excluded runs of one flag."""
    if flag == UNFINISHED:
        if options.command not in ("report", "curves"):
            return ""  # they never enter scores
        if group.partial.all():
            return " (drawn in the curves up to where they stopped)"
        return f" (--include {flag} draws them in the curves)"
    return f" (--include {flag} allows them)" if flag else ""


def _print(options: argparse.Namespace, tables: Sequence["Table"], **parts: Study) -> None:
    """Print the counts of the runs, the tables, which runs are excluded, and the notes.

    In other formats than text, everything but the tables goes to stderr: stdout holds only tables.
    """
    aside = sys.stdout if options.format == "text" else sys.stderr
    for name, results in parts.items():
        print(f"{name}: {_counts(results)}", file=aside)
    print(file=aside)
    print("\n\n".join(getattr(table, options.format)() for table in tables))
    for name, results in parts.items():
        for line in _remarks(results, options):
            print(f"{name}: {line}" if len(parts) > 1 else line, file=aside)


def _counts(results: Study) -> str:
    return ", ".join(f"{count} {name}" for name, count in results.data.counts().items() if count)


def report(options: argparse.Namespace) -> None:
    """Write the report of a study: a page, tables and figures."""
    if len(options.where) > 1 and not options.out:
        raise AnalysisError("report: several places need --out DIR")
    results = _load(options)
    from ..questions.design import Choice
    from ..report.sentences import lines
    from ..report.write import write  # late: bad input is answered at once

    out = options.out or _beside(Path(options.where[0]), "report")
    words = [shlex.quote(word) for word in _words(options)]
    result = write(
        results.data,
        out,
        f"prism report {' '.join(words)}",
        Choice(options.test, options.correct, options.reference),
        options.width,
    )
    print(f"runs: {_counts(results)}\n")
    for table in result.tables:
        if (table.frame.metric == FINAL).all():
            print(table.text(), end="\n\n")
    for line in lines(result.sentences):
        print(line)
    for line in _remarks(results, options):
        print(line)
    print(f"\nreport: {result.page}")


def _beside(where: Path, name: str) -> Path:
    """Return where to write what belongs to a place: in a study's own folder, never out of it."""
    if not where.is_dir():
        return where.parent / f"{where.stem}-{name}"
    out = where / name
    try:
        if os.path.lexists(out):
            check_inside(out)
    except ConfigError as error:
        raise AnalysisError(str(error)) from None
    return out


def _words(options: argparse.Namespace) -> list[str]:
    words = [*map(str, options.where)]
    words += ["--out", str(options.out)] if options.out else []
    words += ["--include", *options.include] if options.include else []
    words += ["--scores", options.scores] if options.scores else []
    words += ["--test", options.test] if options.test != stats.AUTO else []
    words += ["--correct", options.correct] if options.correct != stats.HOLM else []
    words += ["--reference", options.reference] if options.reference else []
    words += ["--width", options.width] if options.width != "text" else []
    words += ["--order", *options.order] if options.order else []
    return words + (["--rename", *options.rename] if options.rename else [])


def ablation(options: argparse.Namespace) -> None:
    """Print what each component contributes, with tests."""
    from ..report.headline import headline_table
    from ..report.sentences import lines, sentences
    from ..report.tables import ablation_tables, factorial_tables

    results = _load(options)
    frame = results.ablation(options.test, options.correct, options.reference)
    found = results.headlines(options.test, options.correct, options.reference)
    effects = results.factorial(options.correct)
    tables = [*map(headline_table, found), *ablation_tables(frame), *factorial_tables(effects)]
    _print(options, tables, runs=results)
    if options.format == "text":
        print()
        for line in lines(sentences(frame, found)):
            print(line)


def table(options: argparse.Namespace) -> None:
    """Print the final scores per environment, raw or normalised."""
    from ..report.tables import score_tables

    results = _load(options)
    tables = score_tables(results.data, results.scores, options.normalise)
    if not tables:
        raise _not_normalised(options.normalise)
    _print(options, tables, runs=results)


def _not_normalised(how: str) -> AnalysisError:
    return AnalysisError(
        f"--normalise {how}: no environment has {how} scores; --normalise {MIN_MAX} needs none"
    )


def compare(options: argparse.Namespace) -> None:
    """Compare runs with older runs, or with published numbers."""
    from ..questions.compare import read_published, with_published
    from ..report.comparisons import against_table, published_table

    if bool(options.against) == bool(options.published):
        raise AnalysisError("compare: give --against WHERE or --published CSV")
    results = _load(options)
    if options.published:
        frame = with_published(results.whole, read_published(options.published), options.margin)
        _check_compared(frame)
        found = published_table(frame, options.published, options.margin)
        _print(options, [found], runs=results)
        return
    old = _scored(load(options.against, include=options.include, scores=options.scores))
    frame = results.compare(old, options.margin)
    _check_compared(frame)
    comparison = against_table(frame, options.margin)
    _print(options, [comparison], new=results, old=old)


def _check_compared(frame: pd.DataFrame) -> None:
    """Check that a comparison compares something."""
    from ..questions.compare import MISSING_NEW, MISSING_OLD, NOT_COMPARED

    if frame.verdict.isin([MISSING_NEW, MISSING_OLD, NOT_COMPARED]).all():
        first = frame.iloc[0]
        raise AnalysisError(
            f"compare: nothing to compare; {first.label} on {first.env}: {first.note}"
        )


def list_studies(options: argparse.Namespace) -> None:
    """List the studies of a results folder: agents, n and the best score."""
    from ..report.listing import listing

    print("\n\n".join(getattr(listing(Path(x)), options.format)() for x in options.where))


def power(options: argparse.Namespace) -> None:
    """Print how many seeds are needed to detect a difference."""
    from ..report.table import from_frame

    results = _load(options)
    frame = results.power(reference=options.reference, effect=options.effect, family=options.family)
    if frame.empty:
        raise AnalysisError("power: no environment has two labels with at least two scored runs")
    family = options.family or len(results.data.labels) - 1
    note = (
        f"n: scored runs. needed: runs per label for {stats.POWER:.0%} power of Welch's test at "
        f"level {1 - stats.LEVEL:.2g} over {family} comparisons. needed_safe: the same with each "
        f"standard deviation at its upper {stats.POWER:.0%} confidence limit. power_<n>: power "
        "with n runs per label. now: what a sequential test says after the runs so far."
    )
    notes = [note]
    if options.effect is None:
        notes.append(
            "The effect is the one that these runs measured. One that is planned for because it "
            "was large is larger than the truth, and a plan from it too small: with three runs "
            "each of a true effect of 0.5 standard deviations, which needs 64, the median answer "
            "is 23. Name the smallest effect that matters with --effect. needed_least, "
            f"needed_most: the same at the ends of the {stats.LEVEL:.0%} interval of the effect; "
            "no most where it contains 0, since no number of runs is sure to be enough."
        )
    title = "Seeds needed, and power by number of seeds"
    _print(options, [from_frame(frame, title, *notes)], runs=results)


def draw_curves(options: argparse.Namespace) -> None:
    """Write learning curves as figures and as a table."""
    from ..report import figures

    if not options.out:
        raise AnalysisError("curves: --out DIR is required")
    results = _load(options)
    axis = curves.AXES[options.axis]
    frame = results.curves(axis)
    if frame.empty:
        raise AnalysisError(
            f"curves: no run has two values of {results.metric} over {options.axis}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "curves.csv").write_text(to_csv(frame))
    plot = figures.learning_curves(results.data, results.metric, axis, options.width)
    plot.save(options.out)
    print(f"runs: {_counts(results)}\n")
    print(plot.caption)
    for line in _remarks(results, options):
        print(line)
    print(f"written: {options.out}/{plot.name}.svg, .png, .pdf and curves.csv")


def profile(options: argparse.Namespace) -> None:
    """Print performance profiles: shares of runs above a normalised score."""
    from ..report.tables import profile_table

    results = _load(options)
    how = options.normalise or REFERENCE
    profiles = profile_table(results.data, results.scores, how)
    if profiles is None:
        raise _not_normalised(how)
    _print(options, [profiles], runs=results)


def ranks(options: argparse.Namespace) -> None:
    """Print ranks over environments, and probabilities of improvement."""
    from ..report.tables import standing_table

    results = _load(options)
    found = results.standing(options.reference)
    if found.empty:
        raise AnalysisError("ranks: no two labels have scored runs on all environments")
    _print(options, [standing_table(found)], runs=results)


def export(options: argparse.Namespace) -> None:
    """Write all runs and their rows as runs.csv and metrics.parquet."""
    if not options.out:
        raise AnalysisError("export: --out DIR is required")
    results = _load(options)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "runs.csv").write_text(to_csv(results.runs))
    columns = ["run_id", "label", "env", "seed", "budget", "random", "reference", "final"]
    rows = results.metrics.astype({"run_id": str}).merge(results.runs[columns], on="run_id")
    if rows.seed.dtype == object:  # integers of more than 64 bits
        rows["seed"] = rows.seed.astype(str)
    rows.to_parquet(options.out / "metrics.parquet", index=False)
    for line in (f"runs: {_counts(results)}", *_remarks(results, options)):
        print(line)
    print(
        f"written: {options.out}/runs.csv ({count(len(results.runs), 'run')}) and metrics.parquet"
    )


def tensorboard(options: argparse.Namespace) -> None:
    """Write event files for TensorBoard: curves, settings, states."""
    from ..report.tensorboard import write

    if len(options.where) > 1 and not options.out:
        raise AnalysisError("tensorboard: several places need --out DIR")
    out = options.out or _beside(Path(options.where[0]), "tensorboard")
    number = write(load(options.where).whole, out)
    print(f"written: {count(number, 'run')}; tensorboard --logdir {shlex.quote(str(out))}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "report": report,
    "table": table,
    "ablation": ablation,
    "compare": compare,
    "power": power,
    "curves": draw_curves,
    "profile": profile,
    "ranks": ranks,
    "export": export,
    "list": list_studies,
    "tensorboard": tensorboard,
}
