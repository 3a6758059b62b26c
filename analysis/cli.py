"""``python -m analysis``: the command line of the analysis."""

import argparse
import os
import shlex
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from . import stats
from .api import CORRECTIONS, Results, load
from .errors import AnalysisError
from .load.data import FLAGS
from .questions import curves
from .questions.scores import FINAL, NORMALISERS, REFERENCE

if TYPE_CHECKING:
    from .report.table import Table

HELP = """\
Analyse runs: study folders, CSV or Parquet tables of other people's runs, .npz arrays.

  python -m analysis report results/rainbow_ablation          the page, with figures and tables
  python -m analysis ablation results/rainbow_ablation        the component study
  python -m analysis table results/minatar --normalise reference
  python -m analysis compare results/new --against results/old --margin 0.05
  python -m analysis power results/pilot --effect 50          seeds needed
  python -m analysis curves runs.csv --out figures            learning curves
  python -m analysis profile scores.npz                       performance profiles
  python -m analysis export results/minatar --out tidy        the two tidy frames
  python -m analysis tensorboard results/minatar              event files for TensorBoard

A COMMAND with --help tells its options and examples.
"""

_EXAMPLES = {
    "report": "python -m analysis report results/quickstart\n"
    "python -m analysis report results/a results/b --out report --width column",
    "ablation": "python -m analysis ablation results/quickstart\n"
    "python -m analysis ablation results/quickstart --test permutation --correct no",
    "table": "python -m analysis table results/minatar\n"
    "python -m analysis table results/minatar --normalise min-max --format latex",
    "compare": "python -m analysis compare results/new --against results/old\n"
    "python -m analysis compare results/classic --published numbers.csv",
    "power": "python -m analysis power results/pilot\n"
    "python -m analysis power results/pilot --reference DQN --effect 50 --family 6",
    "curves": "python -m analysis curves results/minatar --out figures\n"
    "python -m analysis curves results/minatar --axis wall-clock --out figures",
    "profile": "python -m analysis profile results/minatar --normalise reference",
    "export": "python -m analysis export results/minatar --out tidy",
    "tensorboard": "python -m analysis tensorboard results/minatar\n"
    "tensorboard --logdir results/minatar/tensorboard",
}
_UNSCALED = (
    "no environment has the scores that this normalisation needs; --normalise min-max needs none"
)
_GROUPS = 12  # lines of runs that were left out
_FORMATS = {"text": "text", "markdown": "markdown", "csv": "csv", "latex": "latex", "html": "html"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 after one line about bad input."""
    try:
        options = _parser().parse_args(arguments)
        _check_out(getattr(options, "out", None))
        COMMANDS[options.command](options)
    except AnalysisError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        print(f"analysis: {where}{error.strerror or error}", file=sys.stderr)
        return 2
    return 0


def _check_out(out: Path | None) -> None:
    """Refuse what is no folder to write to before anything is computed."""
    if out is not None:
        existing = next(path for path in (out, *out.absolute().parents) if path.exists())
        if not existing.is_dir():
            raise AnalysisError(f"--out {out}: {existing} is a file; name a folder")
        if not os.access(existing, os.W_OK):
            raise AnalysisError(f"--out {out}: cannot write to {existing}")


class _OneLine(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        raise AnalysisError(message)


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = _OneLine(prog="python -m analysis", description=HELP, formatter_class=raw)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, run in COMMANDS.items():
        what = (run.__doc__ or "").strip()
        epilog = f"examples:\n  {_EXAMPLES[name]}".replace("\npython", "\n  python")
        one = commands.add_parser(
            name, help=what, description=what, epilog=epilog, formatter_class=raw
        )
        one.add_argument(
            "where", nargs="+", help="folders results/<study>, or .csv, .parquet, .npz files"
        )
        one.add_argument(
            "--include",
            nargs="+",
            default=[],
            choices=FLAGS,
            help="let in runs that are left out otherwise, by the flag they are listed with",
        )
        _options(one, name)
    return parser


def _options(parser: argparse.ArgumentParser, name: str) -> None:
    if name in ("report", "curves", "export", "tensorboard"):
        parser.add_argument("--out", type=Path, help="folder to write to")
    if name in ("report", "ablation"):
        parser.add_argument("--test", default=stats.AUTO, choices=stats.TESTS)
        parser.add_argument("--correct", default=stats.HOLM, choices=CORRECTIONS)
    if name in ("table", "ablation", "compare", "power", "profile"):
        parser.add_argument("--format", default="text", choices=_FORMATS)
    if name in ("table", "profile"):
        parser.add_argument(
            "--normalise",
            choices=NORMALISERS,
            help="reference: random and reference of each environment; human: Atari; min-max",
        )
    if name == "compare":
        parser.add_argument("--against", nargs="+", help="older runs: is the new code worse?")
        parser.add_argument("--margin", type=float, default=0.05, help="loss that does not matter")
        parser.add_argument("--published", help="CSV with label, env, score, source[, sd, n]")
    if name == "power":
        parser.add_argument("--reference", help="label to compare with (default: the first)")
        parser.add_argument("--effect", type=float, help="difference to find (default: measured)")
        parser.add_argument("--family", type=int, help="comparisons to correct for")
    if name == "curves":
        parser.add_argument("--axis", default="steps", choices=curves.AXES)
    if name in ("report", "curves"):
        parser.add_argument("--width", default="text", choices=["text", "column"])
        parser.add_argument("--order", nargs="+", help="labels in the order of tables and figures")
        parser.add_argument(
            "--rename", nargs="+", default=[], metavar="OLD=NEW", help="names to print for labels"
        )


def _load(options: argparse.Namespace) -> Results:
    if sys.stderr.isatty():
        print(f"reading {', '.join(options.where)} ...", end="\r", file=sys.stderr)
    results = load(options.where, include=options.include)
    if getattr(options, "rename", None) or getattr(options, "order", None):
        pairs = dict(map(_pair, options.rename))
        results = Results(results.data.presented(pairs, options.order or []))
    return _scored(results)


def _pair(word: str) -> tuple[str, str]:
    old, _, new = word.partition("=")
    if not (old and new):
        raise AnalysisError(f"--rename {word}: say OLD=NEW")
    return old, new


def _scored(results: Results) -> Results:
    """Return the study, which must hold a run to score."""
    if results.data.scored.empty:
        runs = results.data.runs
        line = _counts(results)
        reason = next(iter(runs.excluded))
        raise AnalysisError(f"no run to score: {line}; the first: {runs.run_id[0]}: {reason}")
    return results


def _remarks(results: Results) -> Iterator[str]:
    """Yield which runs are not in the numbers and why, and the notes."""
    runs = results.runs[results.runs.excluded != ""]
    groups = list(runs.groupby(["label", "env", "flag"], sort=False))
    for (label, env, flag), group in groups[:_GROUPS]:
        planned = results.data.size(str(label), str(env))[1]
        more = " and others" if group.excluded.nunique() > 1 else ""
        lets = f" (let in by --include {flag})" if flag else ""
        if group.partial.all():
            lets = " (in the curves as far as it got)"
        what = f"{len(group)} of {planned} runs of {label} on {env}"
        yield f"left out: {what}: {group.excluded.iloc[0]}{more}{lets}"
    if len(groups) > _GROUPS:
        left = sum(len(group) for _, group in groups[_GROUPS:])
        yield f"left out: {left} more runs; the report lists each"
    for note in results.data.notes:
        yield f"note: {note}"


def _print(options: argparse.Namespace, tables: Sequence["Table"], **studies: Results) -> None:
    """Print tables after the counts of the runs behind them; then what is not in them, and notes.

    In other formats than text these go to stderr, so that stdout holds tables and nothing else.
    """
    aside = sys.stdout if options.format == "text" else sys.stderr
    for name, study in studies.items():
        print(f"{name}: {_counts(study)}", file=aside)
    print(file=aside)
    print("\n\n".join(getattr(one, _FORMATS[options.format])() for one in tables))
    for name, study in studies.items():
        for line in _remarks(study):
            print(f"{name}: {line}" if len(studies) > 1 else line, file=aside)


def _counts(results: Results) -> str:
    return ", ".join(f"{count} {name}" for name, count in results.data.counts().items() if count)


def report(options: argparse.Namespace) -> None:
    """Write the report: one page, figures and tables."""
    if len(options.where) > 1 and not options.out:
        raise AnalysisError("a report of several studies needs --out DIR")
    results = _load(options)
    from .questions.ablation import Choice
    from .report.sentences import lines
    from .report.write import write  # late: bad input is answered at once

    out = options.out or _beside(Path(options.where[0]), "report")
    words = [shlex.quote(word) for word in _words(options)]
    result = write(
        results.data,
        out,
        f"python -m analysis report {' '.join(words)}",
        Choice(options.test, options.correct),
        options.width,
    )
    print(f"runs: {_counts(results)}\n")
    for table in result.tables:
        if (table.frame.metric == FINAL).all():
            print(table.text(), end="\n\n")
    for line in lines(result.sentences):
        print(line)
    for line in _remarks(results):
        print(line)
    print(f"\nreport: {result.page}")


def _beside(where: Path, what: str) -> Path:
    return where / what if where.is_dir() else where.parent / f"{where.stem}-{what}"


def _words(options: argparse.Namespace) -> list[str]:
    words = [*map(str, options.where)]
    words += ["--out", str(options.out)] if options.out else []
    words += ["--include", *options.include] if options.include else []
    words += ["--test", options.test] if options.test != stats.AUTO else []
    words += ["--correct", options.correct] if options.correct != stats.HOLM else []
    words += ["--width", options.width] if options.width != "text" else []
    words += ["--order", *options.order] if options.order else []
    return words + (["--rename", *options.rename] if options.rename else [])


def ablation(options: argparse.Namespace) -> None:
    """Print the component study and what it says."""
    from .report.sentences import lines, sentences
    from .report.tables import ablation_tables, factorial_tables

    results = _load(options)
    frame = results.ablation(options.test, options.correct)
    effects = results.factorial(options.correct)
    _print(options, [*ablation_tables(frame), *factorial_tables(effects)], runs=results)
    if options.format == "text":
        print()
        for line in lines(sentences(frame)):
            print(line)


def table(options: argparse.Namespace) -> None:
    """Print scores per environment, raw or normalised."""
    from .report.tables import score_table

    results = _load(options)
    scores = score_table(results.data, results.scores, options.normalise)
    if scores is None:
        raise AnalysisError(_UNSCALED)
    _print(options, [scores], runs=results)


def compare(options: argparse.Namespace) -> None:
    """Compare with older runs (is the new one worse?) or with published numbers."""
    from .questions.compare import read_published, with_published
    from .report.comparisons import against_table, published_table

    if bool(options.against) == bool(options.published):
        raise AnalysisError("compare needs --against OLD or --published FILE")
    results = _load(options)
    if options.published:
        published = read_published(options.published)
        frame = with_published(results.data, published)
        result = published_table(frame, options.published)
        _print(options, [result], runs=results)
        return
    old = _scored(load(options.against, include=options.include))
    result = against_table(results.compare(old, options.margin), options.margin)
    _print(options, [result], new=results, old=old)


def power(options: argparse.Namespace) -> None:
    """Print how many seeds tell labels apart."""
    from .report.table import from_frame

    results = _load(options)
    frame = results.power(reference=options.reference, effect=options.effect, family=options.family)
    if frame.empty:
        raise AnalysisError("no two labels with two runs each on one environment")
    family = options.family or len(results.data.labels) - 1
    note = (
        f"needed: runs a label that Welch's test finds the effect with, {stats.POWER:.0%} power, "
        f"level {1 - stats.LEVEL:.2g} over {family} comparisons; needed_safe: with the spreads at "
        f"their upper {stats.POWER:.0%} limits. n: scored runs."
    )
    title = "Seeds needed, and power at several sizes"
    _print(options, [from_frame(frame, title, note)], runs=results)


def draw_curves(options: argparse.Namespace) -> None:
    """Write learning curves as figures and a table."""
    from .report import figures

    if not options.out:
        raise AnalysisError("curves needs --out DIR")
    results = _load(options)
    axis = curves.AXES[options.axis]
    frame = results.curves(axis)
    if frame.empty:
        raise AnalysisError(
            f"no run has a curve: two values of {results.metric} over {options.axis}"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    frame.to_csv(options.out / "curves.csv", index=False)
    plot = figures.learning_curves(results.data, results.metric, axis, options.width)
    plot.save(options.out)
    print(f"runs: {_counts(results)}\n")
    print(plot.caption)
    for line in _remarks(results):
        print(line)
    print(f"written: {options.out}/{plot.name}.svg, .png, .pdf and curves.csv")


def profile(options: argparse.Namespace) -> None:
    """Print performance profiles: the share of runs above each normalised score."""
    from .report.tables import profile_table

    results = _load(options)
    result = profile_table(results.data, results.scores, options.normalise or REFERENCE)
    if result is None:
        raise AnalysisError(_UNSCALED)
    _print(options, [result], runs=results)


def export(options: argparse.Namespace) -> None:
    """Write the two tidy frames: runs.csv and metrics.parquet."""
    if not options.out:
        raise AnalysisError("export needs --out DIR")
    results = _load(options)
    options.out.mkdir(parents=True, exist_ok=True)
    results.runs.to_csv(options.out / "runs.csv", index=False)
    keys = results.runs[
        ["run_id", "label", "env", "seed", "budget", "random", "reference", "final"]
    ]
    rows = results.metrics.astype({"run_id": str}).merge(keys, on="run_id")
    rows.to_parquet(options.out / "metrics.parquet", index=False)
    for line in (f"runs: {_counts(results)}", *_remarks(results)):
        print(line)
    print(f"written: {options.out}/runs.csv ({len(results.runs)} runs) and metrics.parquet")


def tensorboard(options: argparse.Namespace) -> None:
    """Write event files for TensorBoard: curves, settings and how each run ended."""
    from .report.tensorboard import write

    if len(options.where) > 1 and not options.out:
        raise AnalysisError("event files of several studies need --out DIR")
    out = options.out or _beside(Path(options.where[0]), "tensorboard")
    count = write(load(options.where).data, out)
    print(f"written: {count} runs; tensorboard --logdir {shlex.quote(str(out))}")


COMMANDS: dict[str, Callable[[argparse.Namespace], None]] = {
    "report": report,
    "ablation": ablation,
    "table": table,
    "compare": compare,
    "power": power,
    "curves": draw_curves,
    "profile": profile,
    "export": export,
    "tensorboard": tensorboard,
}
