"""The commands that check an environment or an agent, one line per check."""

from collections.abc import Callable, Sequence
from textwrap import wrap

from ..plan import config as cfg
from ..plan.grid import sweep
from ..store.job import Sweep
from ..util.checks import WRONG, Check, outcomes
from ..util.errors import ConfigError
from .parser import OneLine, add_config_dir, parsed

_WORDS = {"ok": "ok", "wrong": "WRONG", "skipped": "-"}
_TASKS = ("cartpole", "pendulum", "frozenlake")  # for agents, the first one that they can learn


def _check_env(words: list[str]) -> int:
    parser = OneLine(
        prog="prism check-env",
        description="Check an environment: its spaces, seeding and ends, how Prism steps it, and"
        " which algorithms can learn it. Exit code 1 if something is wrong.",
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="env",
        help="a Gymnasium id, module:id, or env=<name>; then env.<key>=<value> ...",
    )
    add_config_dir(parser)
    words = parsed(parser, words).words
    with cfg.session():
        presets = cfg.options("algo")
    plan = sweep([*_env(words[0]), *words[1:], f"algo={','.join(presets)}", "dry_run=true"])

    from ..envs.check import ENV_CHECKS, Subject, shown

    config = plan.jobs[0].spec.env
    print(config.id)
    right = _print(ENV_CHECKS, Subject(config))
    print("\nagents see")
    for name, text in shown(config):
        _line(name, text)
    print("\nalgorithms")
    _line("can learn it", ", ".join(dict.fromkeys(job.algo for job in plan.jobs)))
    for reason, names in _refusals(plan).items():
        _line("cannot", f"{', '.join(names)}: {reason}")
    return 0 if right else 1


def _env(word: str) -> list[str]:
    """Return the words for an environment that is named by ``env=``, an id or ``module:id``."""
    if word.startswith("env="):
        return [word]
    if "=" in word:
        raise ConfigError("check-env takes the environment first: prism check-env CartPole-v1")
    module, _, name = word.rpartition(":")
    return ["env=gym", f"env.id={name}", *([f"env.imports={module}"] if module else ())]


def _refusals(plan: Sweep) -> dict[str, list[str]]:
    reasons: dict[str, list[str]] = {}
    for skipped in plan.skipped:
        reasons.setdefault(skipped["reason"], []).append(skipped["algo"])
    return reasons


def _check_agent(words: list[str]) -> int:
    parser = OneLine(
        prog="prism check-agent",
        description="Check that an agent keeps the protocol: seeds that train together as alone,"
        " resuming, evaluation, truncation. Exit code 1 if something is wrong.",
    )
    parser.add_argument(
        "words",
        nargs="+",
        metavar="algo=<name>",
        help="then env=<name> (default: the first it can learn of "
        f"{', '.join(_TASKS)}), algo.<key>=<value> ...; small networks that learn soon are faster",
    )
    add_config_dir(parser)
    words = parsed(parser, words).words
    if not any(word.startswith("algo=") for word in words):
        raise ConfigError("check-agent takes an algorithm: prism check-agent algo=dqn")
    plan = _planned([*words, "dry_run=true"])
    if len(plan.jobs) != 1:
        raise ConfigError("check-agent takes one algorithm, one environment and no grid")

    from ..train.conformance import AGENT_CHECKS, Subject

    job = plan.jobs[0]
    print(f"{job.variant['label']} on {job.env}")
    return 0 if _print(AGENT_CHECKS, Subject(job.spec)) else 1


def _planned(words: list[str]) -> Sweep:
    """Return the plan of an agent on the environment that is named, or on one that it can learn.

    Raises:
        ConfigError: bad input, or it can learn none of them.
    """
    if any(word.startswith("env=") for word in words):
        return sweep(words)
    first: ConfigError | None = None
    for name in _TASKS:
        try:
            return sweep([*words, f"env={name}"])
        except ConfigError as error:
            first = first or error
    assert first is not None
    raise first


def _print(checks: Sequence[Check], subject: object) -> bool:
    """Print a line per check; return whether nothing is wrong."""
    right = True
    for outcome in outcomes(checks, subject):
        print(f"  {_WORDS[outcome.state]:5}  {outcome.name:12}  {outcome.text}", flush=True)
        right &= outcome.state != WRONG
    return right


def _line(name: str, text: str) -> None:
    lines = wrap(text, 80, break_long_words=False, break_on_hyphens=False)
    print(f"  {name:14}  " + f"\n{'':18}".join(lines))


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "check-agent": _check_agent,
    "check-env": _check_env,
}
