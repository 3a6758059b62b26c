"""The command line of training: parses the words, runs the command, returns an exit code."""

import argparse
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from ..launch.core import launch
from ..plan.executors import InlineOptions, Options
from ..plan.grid import sweep
from ..plan.launcher import is_launchers, launcher
from ..plan.places import named
from ..plan.root import Root
from ..store import leases, trust
from ..store.job import Sweep
from ..store.ledger import remaining, write_plan
from ..util.boundary import answered
from ..util.errors import ConfigError, unknown
from ..util.pipes import lasting_output
from ..util.versions import version
from . import check, decide, ending, inform, play, texts
from .commands import COMMANDS, listing, priced, resumed
from .parser import OneLine, add_config_dir, parsed

TRUST = "--trust"  # of every command: load what the folders that it is given name


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; exit codes: 0 complete, 1 incomplete, 2 refused, 130 Ctrl-C."""
    given = list(sys.argv[1:] if argv is None else argv)
    words = [word for word in given if word != TRUST]

    def command() -> int:
        with trust.granted(words != given, named):
            return _command(words)

    return answered(command)


def _command(words: list[str]) -> int:
    if not words:
        print(texts.FIRST, end="")
        return 0
    first, rest = words[0], words[1:]
    if first in _COMMANDS:
        return _COMMANDS[first](rest)
    if first in texts.READERS:
        raise ConfigError(
            f"{first} reads results: prism {' '.join(words)}, or python -m analysis ..."
        )
    if first in Root.__dataclass_fields__:
        raise ConfigError(f"{first}: write {first}=<value>, without spaces around =")
    if first.replace("-", "").isalpha() and not first.startswith("-"):
        raise unknown("command", first, [*_COMMANDS, *texts.READERS])
    return _sweep(words)


def _sweep(words: list[str]) -> int:
    args = _flags(words)
    if args.help or not words:
        print(texts.HELP, end="")
        return 0
    if args.version:
        print(f"prism {version('prism-rl')}")
        return 0
    if args.info:
        return inform.hydra_info(args.info, args.overrides)
    plan, options = _planned(args)
    if args.cfg:
        print(inform.configs(plan, options, args.cfg, args.package))
        return 0
    if plan.dry_run:
        print(listing(plan), flush=True)
        if plan.price:
            print(f"\n{priced(plan, options)}")
        return 0
    with lasting_output():
        complete = launch(plan, options, then=ending.end)
    return 0 if complete else 1


def _flags(words: list[str]) -> argparse.Namespace:
    flags = OneLine(prog="prism", add_help=False, allow_abbrev=False)
    flags.add_argument("-h", "--help", action="store_true")
    flags.add_argument("--version", action="store_true")
    flags.add_argument("-m", "--multirun", action="store_true")  # Hydra's word: all are grids here
    add_config_dir(flags)
    flags.add_argument("-c", "--cfg", choices=inform.CONFIGS)
    flags.add_argument("-p", "--package", type=str)
    flags.add_argument("-i", "--info", nargs="?", const="all", choices=inform.INFO)
    flags.add_argument("-r", "--resolve", action="store_true")  # what --cfg shows is resolved
    for name, instead in _HYDRAS.items():
        flags.add_argument(*name.split(), nargs="?", const="", action=_Refused, help=instead)
    flags.add_argument("overrides", nargs="*")
    return parsed(flags, words)


_HYDRAS = {  # Hydra flags that Prism does not support -> what to use instead
    "--config-name -cn": "say study=<name>, a file in study/ of --config-dir",
    "--config-path -cp": "say --config-dir=<folder>",
    "--experimental-rerun": "say prism resume results/<study>",
    "--hydra-help": "say prism --help; Hydra's grammar: https://hydra.cc/docs/advanced/override_grammar/basic",
    "--shell-completion -sc": "say prism completion bash, or zsh",
    "--run": "leave it out",
}


class _Refused(argparse.Action):
    """Rejects an unsupported flag and names its replacement."""

    def __call__(self, *args: object) -> None:
        raise ConfigError(f"{args[-1]}: Prism does not take it: {self.help}")


def _planned(args: argparse.Namespace) -> tuple[Sweep, Options]:
    """Return the sweep of a command line, and the options of its executor.

    Raises:
        ConfigError: bad input, or finished runs that other code has made and ``stale=refuse``.
    """
    own = [word for word in args.overrides if is_launchers(word)]
    options = launcher(own)
    plan = sweep(tuple(word for word in args.overrides if word not in own))
    if not (plan.dry_run or args.cfg):
        remaining(plan)
    study = any(word.startswith("study=") for word in args.overrides)
    if len(plan.jobs) == 1 and not (args.multirun or study or own):
        options = InlineOptions()
    return plan, options


def _help(words: list[str]) -> int:
    """Explain a command, an algorithm, an environment or a study."""
    if not words:
        print(texts.HELP, end="")
        return 0
    if words[0] in ("algo", "env", "study"):
        raise ConfigError(f"help {words[0]}: name one, as in prism help {words[0]}=<name>")
    if "=" in words[0]:
        print(inform.explained(words[0]), end="")
        return 0
    try:
        return _command([words[0], "--help"])
    except SystemExit:  # argparse exits after printing help
        return 0


def _run(words: list[str]) -> int:
    if not words:
        raise ConfigError("run takes what to train: prism run algo=dqn env=cartpole")
    return _sweep(words)


def _study(words: list[str]) -> int:
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError("study takes the name of a study: prism study quickstart")
    return _sweep([f"study={words[0]}", *words[1:]])


def _resume(words: list[str]) -> int:
    return _sweep(resumed(words))


def _extend(words: list[str]) -> int:
    if not any(word.startswith("until=") for word in words):
        return COMMANDS["extend"](words)

    def run(study: Path, more: list[str]) -> bool:
        plan, options = _planned(_flags(resumed([str(study), *more])))
        return launch(plan, options)

    with lasting_output():
        return decide.until(words, run)


def _submit(words: list[str]) -> int:
    """Start a sweep in the background; it survives the terminal."""
    if words[:1] in ([], ["-h"], ["--help"]):
        print(texts.SUBMIT, end="")
        return 0
    if words[:1] == ["resume"]:
        words = resumed(words[1:])
    plan, _ = _planned(_flags(words))
    if plan.dry_run:
        raise ConfigError("dry_run: there is nothing to submit")
    trusted = [TRUST] * trust.everything()
    write_plan(plan)
    log = plan.study_dir / "launch.log"
    with log.open("ab") as file:
        driver = subprocess.Popen(
            [sys.executable, "-m", "prism.benchmark.cli.submitted", str(log), *words, *trusted],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, leases.TOKEN_VARIABLE: leases.stop_token(plan.study_dir)},
        )
    leases.hold(plan.study_dir, driver.pid)
    print(f"submitted as process {driver.pid}. You can close this terminal.")
    print(f"how far   prism status {shlex.quote(str(plan.study_dir))}")
    print(f"output    {log}")
    print(f"stop      prism stop {plan.study_dir}")
    return 0


_COMMANDS: dict[str, Callable[[list[str]], int]] = {
    **COMMANDS,
    **inform.COMMANDS,
    **check.COMMANDS,
    **play.COMMANDS,
    "extend": _extend,
    "help": _help,
    "resume": _resume,
    "run": _run,
    "study": _study,
    "submit": _submit,
}
