"""The words of the command line: commands, options, help and errors."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from .. import stats
from ..api import CORRECTIONS
from ..errors import AnalysisError, nearest, unknown
from ..load.data import FLAGS
from ..questions import curves
from ..questions.scores import NORMALISERS, REFERENCE

FIRST = """\
The analysis reads the results of runs. Start with one of these:

  prism list results                   the studies there, with their scores
  prism report results/quickstart      a page with tables, figures and conclusions
  prism ablation results/quickstart    what each component contributes, with tests
  prism compare results/new --against results/old      is the new code worse?
  prism power results/pilot            how many seeds does a study need?

prism --help lists every command.
"""
HELP = """\
Read the results of runs: scores, curves, comparisons, ablations and reports.

COMMAND is one of:
{commands}
COMMAND --help lists the options of a command, with examples.

WHERE is one or more of:
  results/<study>           the folder of a study
  .csv, .parquet            a table of runs from any program
  .npz                      arrays [runs, tasks] or [runs, tasks, steps], one per agent
  .wandb                    an offline W&B file, or a folder of them
  wandb:<entity>/<project>?tag=<tag>      runs on Weights & Biases

Examples:
  prism report results/rainbow_ablation
  prism table results/minatar --normalise reference
  prism compare results/new --against results/old --margin 0.05
  prism power results/pilot --effect 50
"""

_EXAMPLES = {
    "report": "prism report results/quickstart\n"
    "prism report results/a results/b --out report --width column",
    "ablation": "prism ablation results/quickstart\n"
    "prism ablation results/quickstart --test permutation --correct no",
    "table": "prism table results/minatar\n"
    "prism table results/minatar --normalise min-max --format latex",
    "compare": "prism compare results/new --against results/old\n"
    "prism compare results/classic --published numbers.csv",
    "power": "prism power results/pilot\n"
    "prism power results/pilot --reference DQN --effect 50 --family 6",
    "curves": "prism curves results/minatar --out figures\n"
    "prism curves results/minatar --axis wall-clock --out figures",
    "profile": "prism profile results/minatar --normalise reference",
    "ranks": "prism ranks results/minatar\nprism ranks results/minatar --reference DQN",
    "export": "prism export results/minatar --out tidy",
    "list": "prism list results\nprism list results other/results --format csv",
    "tensorboard": "prism tensorboard results/minatar\n"
    "tensorboard --logdir results/minatar/tensorboard",
}
_OUT = {  # command -> what --out defaults to
    "report": "default: report/ in the study",
    "curves": "required",
    "export": "required",
    "tensorboard": "default: tensorboard/ in the study",
}
_USAGE = "prism COMMAND WHERE [WHERE ...] [options]"
FORMATS = ("text", "markdown", "csv", "latex", "html")


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, with the nearest valid names."""

    def error(self, message: str) -> NoReturn:
        message = message.replace("the following arguments are required:", "missing:")
        raise AnalysisError(f"{message}; see {self.prog} --help")

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.choices is not None and value not in action.choices:
            key = action.option_strings[0] if action.option_strings else action.dest
            raise unknown(key, str(value), action.choices)


def parsed(words: Sequence[str], summaries: Mapping[str, str]) -> argparse.Namespace:
    """Return the options of a command line.

    Args:
        words: the command line.
        summaries: one line per command.

    Raises:
        AnalysisError: an option or a value is not valid, or one is missing.
    """
    parser, commands = _parsers(summaries)
    options, rest = parser.parse_known_args(words)
    if rest and rest[0].startswith("-"):
        names = commands[options.command]._option_string_actions
        raise AnalysisError(
            f"{options.command}: unknown option {rest[0]}; {nearest(rest[0], names)}"
        )
    if rest:
        raise AnalysisError(f"{options.command}: {rest[0]}: name all places before the options")
    return options


def _parsers(
    summaries: Mapping[str, str],
) -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """Return the parser, and that of each command."""
    raw = argparse.RawDescriptionHelpFormatter
    listing = "\n".join(f"  {name:<13}{summary}" for name, summary in summaries.items())
    description = HELP.replace("{commands}", listing)
    parser = _Parser(prog="prism", usage=_USAGE, description=description, formatter_class=raw)
    commands = parser.add_subparsers(
        dest="command",
        prog="prism",
        required=True,
        metavar="COMMAND",
        help=argparse.SUPPRESS,
    )
    for name, summary in summaries.items():
        epilog = f"examples:\n  {_EXAMPLES[name]}".replace("\nprism", "\n  prism")
        epilog = epilog.replace("\ntensorboard", "\n  tensorboard")
        command = commands.add_parser(name, description=summary, epilog=epilog, formatter_class=raw)
        command.add_argument(
            "where",
            nargs="*" if name == "list" else "+",
            default=["results"],
            metavar="WHERE",
            help="folders results/<study>, or .csv, .parquet, .npz or .wandb files, or wandb:...",
        )
        command.add_argument(
            "--include",
            nargs="+",
            default=[],
            choices=FLAGS,
            metavar="FLAG",
            help="use runs that are excluded by default, by the flag shown beside them: "
            + ", ".join(FLAGS),
        )
        command.add_argument(
            "--scores",
            metavar="evaluations/NAME",
            help="score by a later evaluation of prism evaluate, not by the final one",
        )
        _add_options(command, name)
    return parser, dict(commands.choices)


def _add_options(parser: argparse.ArgumentParser, name: str) -> None:
    add = parser.add_argument
    if name in _OUT:
        add("--out", type=Path, metavar="DIR", help=f"folder to write to ({_OUT[name]})")
    if name in ("report", "ablation"):
        _add_test_options(parser)
    if name in ("table", "ablation", "compare", "power", "profile", "ranks", "list"):
        add(
            "--format", default="text", choices=FORMATS, help="format of the tables (default: text)"
        )
    if name in ("table", "profile"):
        default = f" (default: {REFERENCE})" if name == "profile" else ""
        add(
            "--normalise",
            choices=NORMALISERS,
            help="scale of the scores: reference (0 random agent, 1 reference score of the "
            f"environment), human (Atari games) or min-max (over the runs given){default}",
        )
    if name == "compare":
        add("--against", nargs="+", metavar="WHERE", help="older runs: are the new ones worse?")
        add(
            "--margin",
            type=float,
            default=0.05,
            metavar="SHARE",
            help="largest difference that does not matter, as a share of the distance from random "
            "to reference score, or of the old or published mean where there are none "
            "(default: 0.05)",
        )
        add(
            "--published",
            metavar="CSV",
            help="published numbers; columns label, env, score, source, and sd, n where known",
        )
    if name == "ranks":
        add("--reference", metavar="LABEL", help="label to improve on (default: the best rank)")
    if name == "power":
        add("--reference", metavar="LABEL", help="label to compare with (default: the full agent)")
        add("--effect", type=float, help="difference to detect (default: the difference measured)")
        add(
            "--family",
            type=int,
            metavar="N",
            help="comparisons to correct for (default: all labels but the reference)",
        )
    if name in ("curves", "report"):
        _add_figure_options(parser, name)


def _add_test_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add(
        "--test",
        default=stats.AUTO,
        choices=stats.TESTS,
        metavar="TEST",
        help=f"test of each difference: {', '.join(stats.TESTS)} (default: auto, which is "
        "paired by seed if an F-test finds a seed effect, else Welch's)",
    )
    add(
        "--correct",
        default=stats.HOLM,
        choices=CORRECTIONS,
        help=f"correction for multiple comparisons (default: {stats.HOLM})",
    )
    add(
        "--reference",
        metavar="LABEL",
        help="label that agents are compared with (default: the best, which is chosen from the "
        "same runs and paid for by correcting over all pairs)",
    )


def _add_figure_options(parser: argparse.ArgumentParser, name: str) -> None:
    add = parser.add_argument
    if name == "curves":
        add("--axis", default="steps", choices=curves.AXES, help="x axis (default: steps)")
    add(
        "--width",
        default="text",
        choices=["text", "column"],
        help="width of the figures: the text of a page, or one of its two columns (default: text)",
    )
    add("--order", nargs="+", metavar="LABEL", help="labels that come first, in this order")
    add("--rename", nargs="+", default=[], metavar="OLD=NEW", help="names to print for labels")
