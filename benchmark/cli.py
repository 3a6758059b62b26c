"""The command line: ``python -m benchmark ...``; the one place that enters Hydra."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig

from benchmark.config import CONF, FOLDERS_VARIABLE, register
from benchmark.errors import ConfigError
from benchmark.grid import sweep
from benchmark.job import Sweep
from benchmark.launch.report import summary, table
from benchmark.ledger import remaining, unfinished

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
  python -m benchmark evaluate results/<study>/runs/<run> --episodes 100
  python -m benchmark wandb-push results/<study>                     send W&B what it lacks

The same command again skips what is finished and resumes what is not.

algo=   {algo}
env=    {env}
study=  {study}

seed=3 | seed=0,1,2 | seed='range(0,10)'      budget=50_000 (environment steps per seed)
algo.<key>=, env.<key>=, evaluation.<key>=     any setting; a list of values sweeps it
tuned=true | false | <file of conf/tuned>      components=preset | leave_one_out | add_one_in |
name=<folder under results/>                              none | -double | +double
tracking=auto | online | offline | disabled    stale=refuse | rerun | keep
hydra/launcher=local | inline                  hydra.launcher.n_jobs=4
strict=true refuses a grid with an impossible pair, which is skipped otherwise.
--config-dir DIR adds your own conf/; --cfg job shows a config; --hydra-help is Hydra's own page.
"""


_HYDRAS_OWN = ("--cfg", "--info=", "--hydra-help", "--shell-completion")  # answered by Hydra itself


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit code: 0 complete, 1 not, 2 bad input, 130 Ctrl-C."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if words and words[0] in COMMANDS:
            return COMMANDS[words[0]](words[1:])
        return _sweep(words)
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # before anything ran: the launcher has its own handler
        print("interrupted", file=sys.stderr)
        return 130


class _OneLine(argparse.ArgumentParser):
    """A parser whose complaints are one line."""

    def error(self, message: str) -> NoReturn:
        raise ConfigError(message)


def _sweep(words: list[str]) -> int:
    if any(word in ("-c", "--info", "--version") or word.startswith(_HYDRAS_OWN) for word in words):
        _enter_hydra(words)
        return 0
    flags = _OneLine(prog="python -m benchmark", add_help=False, allow_abbrev=False)
    flags.add_argument("-h", "--help", action="store_true")
    flags.add_argument("-m", "--multirun", action="store_true")
    flags.add_argument("-cd", "--config-dir", type=_folder)
    flags.add_argument("overrides", nargs="*")
    args = flags.parse_intermixed_args(words)
    if args.help or not words:
        print(HELP.format(**{group: _names(group) for group in ("algo", "env", "study")}))
        return 0
    overrides = args.overrides
    if args.config_dir:
        os.environ[FOLDERS_VARIABLE] = str(args.config_dir.absolute())
    plan = sweep(tuple(overrides))
    if plan.dry_run:
        print(_listing(plan))
        return 0

    remaining(plan)  # refuses stale runs before Hydra begins
    hydra_words = [word for word in overrides if word.startswith(("hydra.", "hydra/"))]
    grid_words = [word for word in overrides if word not in hydra_words]
    single = (
        len(plan.jobs) == 1
        and not args.multirun
        and not any(word.startswith("study=") for word in words)
    )
    if single and not any(word.startswith("hydra/launcher=") for word in hydra_words):
        hydra_words.append("hydra/launcher=inline")
    quoted = ",".join(map(_quoted, grid_words))
    _enter_hydra(["-m", *hydra_words, f"hydra.sweeper.arguments=[{quoted}]"])
    return 1 if unfinished(plan) else 0


def _quoted(word: str) -> str:
    return QuotedString(word, Quote.single).with_quotes()


@hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")
def _hydra_main(config: DictConfig) -> None:
    """Run one cell in this process: what Hydra's own sweepers and launchers call."""
    from benchmark.launch.core import launch

    launch(sweep(tuple(HydraConfig.get().overrides.task)), "inline", {})


def _enter_hydra(words: list[str]) -> None:
    register()
    before = sys.argv
    sys.argv = ["benchmark", *words]
    try:
        _hydra_main()
    finally:
        sys.argv = before


def _names(group: str) -> str:
    return ", ".join(sorted(path.stem for path in (CONF / group).glob("*.yaml")))


def _listing(plan: Sweep) -> str:
    rows = [["job", "environment", "seeds", "steps per seed", "tuned"]]
    for job in plan.jobs:
        seeds = ",".join(map(str, job.seeds))
        budget = f"{job.config['budget']:,}"
        rows.append([job.variant["label"], job.env, seeds, budget, job.tuned or "-"])
    cells = sum(len(job.seeds) for job in plan.jobs)
    skipped = [f"skipped: {s['label']} on {s['env']}: {s['reason']}" for s in plan.skipped]
    head = f"{plan.study}: {cells} runs in {len(plan.jobs)} jobs, to {plan.study_dir}"
    return "\n".join([head, "", *table(rows), *skipped])


def _folder(text: str) -> Path:
    path = Path(text)
    if not path.is_dir():
        siblings = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
        near = get_close_matches(path.name, siblings, n=3)
        hint = f"; nearest: {', '.join(near)}" if near else ""
        raise ConfigError(f"there is no folder {text}{hint}")
    return path


def _run_folder(text: str) -> Path:
    path = _folder(text)
    if not (path / "run.json").is_file():
        raise ConfigError(f"{text} is not a run folder: it has no run.json")
    return path


def _parser(command: str, about: str) -> _OneLine:
    return _OneLine(prog=f"python -m benchmark {command}", description=about)


def _evaluate(words: list[str]) -> int:
    parser = _parser("evaluate", "Evaluate the saved weights of a finished run again.")
    parser.add_argument("run_dir", type=str)
    parser.add_argument("--episodes", type=int, default=100)
    args = parser.parse_args(words)
    if args.episodes < 1:
        raise ConfigError(f"--episodes={args.episodes} must be at least 1")
    folder = _run_folder(args.run_dir)

    from benchmark.evaluate import evaluate_run

    result: dict[str, Any] = evaluate_run(folder, args.episodes)
    print("\n".join(table([[key, str(value)] for key, value in result.items()])))
    return 0


def _status(words: list[str]) -> int:
    parser = _parser("status", "Say how far the runs of a study are, from its files alone.")
    parser.add_argument("study_dir", type=str)
    print(summary(_folder(parser.parse_args(words).study_dir)))
    return 0


def _wandb_push(words: list[str]) -> int:
    parser = _parser("wandb-push", "Bring Weights & Biases up to date with the local rows.")
    parser.add_argument("paths", nargs="+", type=str, help="studies or run folders")
    parser.add_argument("--project", help="default: the one the run was tracked with")
    parser.add_argument("--entity", help="likewise")
    parser.add_argument("--rate", type=float, default=60.0, help="runs a minute at most")
    args = parser.parse_args(words)
    if not args.rate > 0:
        raise ConfigError(f"--rate={args.rate} must be above 0")

    from benchmark.tracking import push

    folders = push.run_folders([_folder(text) for text in args.paths])
    where = {"project": args.project, "entity": args.entity}
    failed = 0
    for outcome in push.push(folders, where, push.Pace(args.rate)):
        failed += bool(outcome.problem)
        end = outcome.problem or ("up to date" if not outcome.sent else "complete")
        print(f"{outcome.run_id}: {outcome.sent} of {outcome.rows} rows sent, {end}", flush=True)
    print(f"{len(folders) - failed} of {len(folders)} runs are complete on W&B")
    return 1 if failed else 0


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "evaluate": _evaluate,
    "status": _status,
    "wandb-push": _wandb_push,
}
