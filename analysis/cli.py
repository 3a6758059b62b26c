"""``python -m analysis report results/<study>``: the command line of the analysis."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.data import FLAGS, load
from analysis.errors import AnalysisError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0, or 2 after one line about bad input."""
    options = _parser().parse_args(arguments)
    try:
        _report(options)
    except AnalysisError as error:
        print(f"analysis: {error}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m analysis", description="Analyse study folders."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser(
        "report",
        help="write the report of one or several studies",
        epilog="example: python -m analysis report results/quickstart",
    )
    report.add_argument(
        "studies", nargs="+", help="folders results/<study>, or .csv, .parquet, .npz files"
    )
    report.add_argument(
        "--out",
        type=Path,
        help="folder of the report (default: <study>/report; needed for several)",
    )
    report.add_argument(
        "--take",
        nargs="+",
        default=[],
        choices=FLAGS,
        help="let in runs that are left out otherwise, by the flag that the report lists them with",
    )
    return parser


def _report(options: argparse.Namespace) -> None:
    if len(options.studies) > 1 and not options.out:
        raise AnalysisError("a report of several studies needs --out DIR")
    data = load(options.studies, take=options.take)
    counts = data.counts()
    line = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if data.scored.empty:
        why = next(iter(data.runs.excluded))
        raise AnalysisError(f"no run to score: {line}; the first: {data.runs.run_id[0]}: {why}")
    from analysis.curves import FINAL
    from analysis.report import write  # late: bad input is answered at once

    words = [*map(str, options.studies)]
    words += ["--out", str(options.out)] if options.out else []
    words += ["--take", *options.take] if options.take else []
    out = options.out or Path(options.studies[0]) / "report"
    report = write(data, out, f"python -m analysis report {shlex.join(words)}")
    print(f"runs: {line}\n")
    for table in report.tables:
        if (table.frame.metric == FINAL).all():
            print(table.text(), end="\n\n")
    for verdict in report.verdicts:
        print(f"- {verdict.env}: {verdict.text}" if verdict.env else f"- {verdict.text}")
    for note in data.notes:
        print(f"note: {note}")
    print(f"\nreport: {report.page}")
