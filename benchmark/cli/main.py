"""The command line: ``python -m benchmark ...``; the one place that enters Hydra."""

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig

from ..plan.config import (
    CONF,
    FOLDERS_VARIABLE,
    Root,
    launcher,
    options,
    register,
    session,
)
from ..plan.grid import sweep
from ..store import leases
from ..store.job import Sweep
from ..store.ledger import remaining, statuses, unfinished, write_plan
from ..store.schema import FAILED, FINISHED
from ..util.errors import ConfigError, one_line, unknown
from .commands import COMMANDS, OneLine, folder, listing, resumed

HELP = """\
Prism: train agents on environments, a whole grid from one command line.

  python -m benchmark algo=rainbow env=minatar_breakout seed=3       one run
  python -m benchmark algo=dqn env=cartpole seed='range(0,10)'       ten seeds, trained together
  python -m benchmark -m algo=dqn,c51 env=cartpole,acrobot           a grid: cells in parallel
  python -m benchmark -m algo=dqn env=acrobot algo.lr=1e-3,1e-4      a swept setting
  python -m benchmark -m algo=rainbow env=acrobot components=leave_one_out,none,preset
  python -m benchmark study=quickstart                               a grid as a file
  python -m benchmark study=quickstart seed='range(0,3)' budget=2000   ... the command line wins
  python -m benchmark study=quickstart dry_run=true                  print the plan and stop

  python -m benchmark status results/<study>                         how far a sweep is
  python -m benchmark resume results/<study>                         go on, from the folder alone
  python -m benchmark submit study=quickstart                        ... without this terminal
  python -m benchmark logs results/<study> dqn-cartpole              what jobs printed
  python -m benchmark stop results/<study>                           save and stop, from anywhere
  python -m benchmark extend results/<study> seeds=+8                plan more seeds of every cell
  python -m benchmark merge results/<study> other/results/<study>    join two machines' folders
  python -m benchmark prune | rename | delete results/<study>        checkpoints; name; all of it
  python -m benchmark evaluate results/<study>/runs/<run> --episodes 100
  python -m benchmark video results/<study>/runs/<run>               a greedy episode, as a GIF
  python -m benchmark wandb-push results/<study>                     send W&B what it lacks
  python -m benchmark wandb-report results/<study>                   a W&B Report of it

The same command again skips what is finished and resumes what is not.

algo=   {algo}
env=    {env}
study=  {study}

seed=3 | seed=0,1,2 | seed='range(0,10)'      budget=50_000 (environment steps per seed)
algo.<key>=, env.<key>=, evaluation.<key>=     any setting; values with commas sweep it
tuned=true | false | <file of conf/tuned>      components=preset | leave_one_out | add_one_in |
name=<folder under results/>                              none | -double | +double
zip=[algo,env] steps axes together           exclude='[{{algo:dqn,env:acrobot}}]'  leaves cells out
limits.memory=4 | .timeout= | .hang= (GB, s)  retry.oom=1 | .hang= | ...  on_failure=stop
tracking=auto | online | offline | disabled    tracking.artifacts=true   tracking.video=true
stale=refuse | rerun | keep
hydra/launcher=local | inline | slurm | ray    hydra.launcher.n_jobs=4
strict=true refuses a grid with an impossible pair, which is skipped otherwise.
--config-dir DIR adds your own conf/; --cfg job shows a config; --hydra-help is Hydra's own page.
"""


READERS = (  # commands of analysis, which this package does not import
    *("ablation", "compare", "curves", "export", "power"),
    *("profile", "report", "table", "tensorboard"),
)
_FULL_ERRORS = "HYDRA_FULL_ERROR"
_HYDRAS_OWN = ("--cfg", "--info=", "--hydra-help", "--shell-completion")  # answered by Hydra itself


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 complete, 1 not, 2 bad input, 130 Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] == "resume":
            return _sweep(resumed(words[1:]))
        if words and words[0] == "submit":
            return _submit(words[1:])
        if words and words[0] in COMMANDS:
            return COMMANDS[words[0]](words[1:])
        if words and words[0].replace("-", "").isalpha() and not words[0].startswith("-"):
            if words[0] in READERS:
                raise ConfigError(f"results are read by: python -m analysis {' '.join(words)}")
            raise unknown("command", words[0], [*COMMANDS, "resume", "submit"])
        return _sweep(words)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before anything ran: the launcher has its own handler
        print("interrupted", file=sys.stderr)
        return 130


def _sweep(words: list[str]) -> int:
    if any(word in ("-c", "--info", "--version") or word.startswith(_HYDRAS_OWN) for word in words):
        _enter_hydra(words)
        return 0
    args = _flags(words)
    if args.help or not words:
        with session():
            names = {group: ", ".join(options(group)) for group in ("algo", "env", "study")}
        print(HELP.format(**names))
        return 0
    plan, hydra_words, grid_words = _planned(args)
    if plan.dry_run:
        print(listing(plan, launcher(hydra_words)))
        return 0
    single = (
        len(plan.jobs) == 1
        and not args.multirun
        and not any(word.startswith("study=") for word in words)
    )
    if single and not any(word.startswith("hydra/launcher=") for word in hydra_words):
        hydra_words.append("hydra/launcher=inline")
    quoted = ",".join(map(_quoted, grid_words))
    todo = remaining(plan)
    _enter_hydra(["-m", *hydra_words, f"hydra.sweeper.arguments=[{quoted}]"])
    ended = {status["state"] for job in plan.jobs for status in statuses(job)}
    tracked = any(job.config["tracking"]["wandb"] != "disabled" for job in todo)
    if tracked and plan.study != Root.name and ended <= {FINISHED, FAILED}:
        from ..tracking.push import mirror_study

        mirror_study(plan.study_dir)
    return 1 if unfinished(plan) else 0


def _flags(words: list[str]) -> argparse.Namespace:
    flags = OneLine(prog="python -m benchmark", add_help=False, allow_abbrev=False)
    flags.add_argument("-h", "--help", action="store_true")
    flags.add_argument("-m", "--multirun", action="store_true")
    flags.add_argument("-cd", "--config-dir", type=str)
    flags.add_argument("overrides", nargs="*")
    args = flags.parse_intermixed_args(words)
    if args.config_dir is not None:
        os.environ[FOLDERS_VARIABLE] = str(folder(args.config_dir).absolute())
    return args


def _planned(args: argparse.Namespace) -> tuple[Sweep, list[str], list[str]]:
    """Return the sweep that a command line asks for, its words for Hydra, and those of the grid.

    What is wrong with any of them, and stale runs, are refused before anything begins.
    """
    sweep.cache_clear()  # files may have changed since
    hydra_words = [word for word in args.overrides if word.startswith(("hydra.", "hydra/"))]
    grid_words = [word for word in args.overrides if word not in hydra_words]
    if hydra_words:
        launcher(hydra_words)
    plan = sweep(tuple(grid_words))
    if not plan.dry_run:
        remaining(plan)
    return plan, hydra_words, grid_words


def _submit(words: list[str]) -> int:
    """Start a sweep that does not need this terminal any longer."""
    if words[:1] in ([], ["-h"], ["--help"]):
        print("usage: python -m benchmark submit <what a sweep or resume takes>")
        print("\nStart it in the background; status, logs and stop tell and end it.")
        return 0
    if words[:1] == ["resume"]:
        words = resumed(words[1:])
    plan, *_ = _planned(_flags(words))
    if plan.dry_run:
        raise ConfigError("dry_run: there is nothing to submit")
    write_plan(plan)
    log = plan.study_dir / "launch.log"
    with log.open("ab") as file:
        driver = subprocess.Popen(
            [sys.executable, "-m", "prism.benchmark.cli.submitted", str(log), *words],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
            env={**os.environ, leases.TOKEN_VARIABLE: leases.stop_token(plan.study_dir)},
        )
    leases.hold(plan.study_dir, driver.pid)
    print(f"submitted as process {driver.pid}; it needs this terminal no longer")
    print(f"how far   python -m benchmark status {plan.study_dir}")
    print(f"output    {log}")
    print(f"stop      python -m benchmark stop {plan.study_dir}")
    return 0


def _quoted(word: str) -> str:
    """Quote a word for the sweeper; Hydra would resolve a reference in it, ``${oc.env:NAME}``."""
    word = word.replace("%", "%25").replace("$", "%24")
    return QuotedString(word, Quote.single).with_quotes()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(config: DictConfig) -> None:
    """Run one cell in this process: what Hydra's own sweepers and launchers call."""
    from ..launch.core import launch

    launch(sweep(tuple(HydraConfig.get().overrides.task)), "inline", {})


def _enter_hydra(words: list[str]) -> None:
    """Let Hydra do what ``words`` say, and refuse what it refuses.

    Hydra would print what is raised inside it and exit; told to show full errors, it lets it pass.
    """
    register()
    argv, full = sys.argv, os.environ.get(_FULL_ERRORS)
    sys.argv, os.environ[_FULL_ERRORS] = ["benchmark", *words], "1"
    try:
        _hydra_main()
    except HydraException as error:
        raise ConfigError(one_line(error)) from None
    finally:
        sys.argv = argv
        if full is None:
            del os.environ[_FULL_ERRORS]
        else:
            os.environ[_FULL_ERRORS] = full
