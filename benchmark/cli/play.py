"""The commands that play the policies of finished runs: evaluate, video and enjoy."""

import argparse
import glob
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prism.algos.core.agent import POLICIES

from ..envs.episodes import EVALUATIONS, FINAL
from ..store import evaluations, ledger
from ..store.schema import EVALUATIONS as FOLDER
from ..store.schema import WEIGHTS
from ..util import boundary
from ..util.errors import ConfigError
from ..util.pipes import lasting_output
from ..util.text import plural, rounded, table
from .parser import OneLine, folder

_STREAMS = {purpose.removeprefix("eval/"): purpose for purpose in EVALUATIONS}
_SHOWN = ("policy", "episodes", "mean", "std", "min", "max", "length")


def _parser(command: str, about: str, episodes: int) -> OneLine:
    parser = OneLine(prog=f"prism {command}", description=about)
    parser.add_argument(
        "runs",
        nargs="+",
        metavar="RUN",
        help="run folders, a pattern ('results/x/runs/dqn-*'), or a study",
    )
    parser.add_argument("--episodes", type=int, default=episodes, help=f"default: {episodes}")
    parser.add_argument(
        "--seed", type=int, help="of the episodes; default: the run's evaluation.seed"
    )
    return parser


def _parsed(parser: OneLine, words: list[str]) -> argparse.Namespace:
    args = parser.parse_args(words)
    for key, least in (("seed", 0), ("episodes", 1)):
        value = getattr(args, key)
        if value is not None and value < least:
            raise ConfigError(f"--{key}={value} must be at least {least}")
    args.runs = finished_runs(args.runs)
    return args


def finished_runs(words: Sequence[str]) -> list[Path]:
    """Return the folders of finished runs that words name; others of a study are told on stderr.

    Args:
        words: run folders, studies, and patterns of both.

    Raises:
        ConfigError: a word names nothing, or there is no finished run.
    """
    found: dict[Path, None] = {}
    for word in words:
        for path in [Path(match) for match in sorted(glob.glob(word))] or [folder(word)]:
            found |= dict.fromkeys(_runs(path))
    ready = [path for path in found if (path / WEIGHTS).exists()]
    if not ready:
        raise ConfigError(f"run {next(iter(found)).name} has no weights: it is not finished")
    if len(ready) < len(found):
        without = plural(len(found) - len(ready), "run")
        print(f"left out: {without} without weights, not finished", file=sys.stderr)
    return ready


def _runs(path: Path) -> list[Path]:
    if (path / "run.json").is_file():
        return [path]
    if not (path / "plan.json").is_file():
        raise ConfigError(f"{path} is neither a study nor a run folder: it has no run.json")
    return [path / "runs" / run["run_id"] for run in ledger.read_plan(path)["runs"]]


def _evaluate(words: list[str]) -> int:
    parser = _parser(
        "evaluate", "Evaluate the saved weights of finished runs on new episodes.", 100
    )
    parser.add_argument(
        "--policy", choices=POLICIES, help="default: as in the run's final evaluation"
    )
    parser.add_argument(
        "--stream",
        choices=_STREAMS,
        default="new",
        help="which episodes, none of them in two streams: new (the default), selection (to choose"
        " among runs), final (those of the final score), periodic (those of the curve)",
    )
    parser.add_argument(
        "--name", help=f"of the file {FOLDER}/<name>.json beside the run; default: from the options"
    )
    args = _parsed(parser, words)
    default = evaluations.default_name(args.stream, args.episodes, args.seed, args.policy)
    name = evaluations.check_name(args.name or default)

    from ..train.evaluate import evaluate_run

    rows: list[list[str]] = []
    for number, run in enumerate(args.runs, 1):
        if len(args.runs) > 1:
            print(
                f"evaluating {number} of {len(args.runs)}: {run.name}", file=sys.stderr, flush=True
            )
        result = evaluate_run(run, args.episodes, args.policy, _STREAMS[args.stream], args.seed)
        try:
            evaluations.keep(run, name, result)
        except OSError as error:  # somebody else's study: the answer is still good
            print(f"not kept: {boundary.line(error)}", file=sys.stderr)
        shown = {key: result[key] for key in _SHOWN} | result["facts"]
        rows += [] if rows else [["run", *shown]]
        rows.append([run.name, *map(rounded, shown.values())])
    print("\n".join(table(rows if len(rows) > 2 else list(map(list, zip(*rows, strict=True))))))
    where = " ".join(shlex.quote(str(x)) for x in dict.fromkeys(r.parent.parent for r in args.runs))
    print(f"\nkept as {FOLDER}/{name}.json beside each run; to score by it:")
    print(f"prism table {where} --scores {FOLDER}/{name}")
    return 0


def _video(words: list[str]) -> int:
    about = "Record evaluation episodes of finished runs as GIFs, from their saved weights."
    args = _parsed(_parser("video", about, 1), words)

    from ..train.video import record

    for run in args.runs:
        print(record(run, episodes=args.episodes, seed=args.seed), flush=True)
    return 0


def _enjoy(words: list[str]) -> int:
    about = "Watch finished runs play, in a window or in the terminal."
    parser = _parser("enjoy", about, 3)
    parser.add_argument("--policy", choices=POLICIES, help="default: as in its final evaluation")
    parser.add_argument(
        "--render-mode",
        choices=("human", "ansi"),
        help="human: a window; ansi: text in the terminal; default: the first one that is possible",
    )
    parser.add_argument("--fps", type=float, help="frames per second in the terminal")
    args = _parsed(parser, words)
    if args.fps is not None and not args.fps > 0:
        raise ConfigError(f"--fps={args.fps} must be above 0")

    from ..train.evaluate import load_run
    from ..train.play import mode_of, play

    for run in args.runs:
        record, spec, agent = load_run(run)
        if args.seed is not None:
            spec = spec.changed({"evaluation.seed": args.seed})
        mode, rate = mode_of(spec.env, args.render_mode, bool(_display()))
        print(f"{run.name}: {record['variant']['label']} on {record['env']}", flush=True)
        frames = play(agent, spec, record["seed"], mode, args.episodes, FINAL, args.policy)
        _show(frames, mode, args.fps or rate)
    return 0


def _display() -> str | None:
    """Return the display for a window, if there may be one."""
    if sys.platform in ("darwin", "win32"):
        return sys.platform
    names = ("DISPLAY", "WAYLAND_DISPLAY", "SDL_VIDEODRIVER")
    return next((os.environ[name] for name in names if os.environ.get(name)), None)


def _show(frames: Iterator[Any], mode: str, rate: float) -> None:
    """Show frames: a window shows its own; texts replace each other on a terminal."""
    with lasting_output():  # a frame may hold colours
        _draw(frames, mode, rate)


def _draw(frames: Iterator[Any], mode: str, rate: float) -> None:
    live = mode == "ansi" and sys.stdout.isatty()
    for frame in frames:
        if mode == "ansi":
            print(("\033[H\033[2J" if live else "") + str(frame.picture).rstrip(), flush=True)
        if live:
            time.sleep(1 / rate)
        if frame.ended:
            text = f"episode {frame.episode + 1}: return {rounded(frame.total)}"
            print(f"{text}, {plural(frame.step, 'step')}", flush=True)


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "enjoy": _enjoy,
    "evaluate": _evaluate,
    "video": _video,
}
