"""``python -m analysis report results/<study>``: the command line of the analysis."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from analysis.files import AnalysisError
from analysis.load import load


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
    report.add_argument("studies", nargs="+", type=Path, help="folders results/<study>")
    report.add_argument(
        "--out",
        type=Path,
        help="folder of the report (default: <study>/report; needed for several)",
    )
    report.add_argument(
        "--partial",
        action="store_true",
        help="let unfinished runs enter the curves up to where they got",
    )
    report.add_argument(
        "--force",
        action="store_true",
        help="aggregate runs of different protocols, budgets or configurations, with a note",
    )
    return parser


def _report(options: argparse.Namespace) -> None:
    if len(options.studies) > 1 and not options.out:
        raise AnalysisError("a report of several studies needs --out DIR")
    data = load(options.studies, partial=options.partial, force=options.force)
    counts = data.counts()
    line = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    if data.scored.empty:
        why = next(iter(data.runs.excluded))
        raise AnalysisError(f"no run to score: {line}; the first: {data.runs.run_id[0]}: {why}")
    from analysis.curves import FINAL
    from analysis.report import write  # late: bad input is answered at once

    words = [*map(str, options.studies)]
    words += ["--out", str(options.out)] if options.out else []
    words += [f"--{flag}" for flag in ("partial", "force") if getattr(options, flag)]
    out = options.out or options.studies[0] / "report"
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
