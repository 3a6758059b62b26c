"""``prism extend <study> until=decided``: more seeds where a comparison is open, until it is not.

The numbers of seeds at which the study is looked at are planned before the first look and kept in
``decisions.json`` with what each look found, so that a command that was stopped goes on, and no
second command begins the error budget anew.
"""

import json
import shlex
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from ..store import ledger, records, schema, studies
from ..util.errors import ConfigError, unknown
from ..util.files import check_inside
from ..util.text import plain, plural
from .parser import folder

if TYPE_CHECKING:
    from prism.analysis.questions.adaptive import Record

FILE = "decisions.json"
UNTIL = "until=decided max_seeds=40"
_KEYS = ("until", "max_seeds", "step", "reference")
_HELP = f"""\
usage: prism extend results/<study> {UNTIL} [step=5] [reference=<label>] [hydra/launcher=...]

Run what the study plans, look which comparisons are decided, run more seeds of those agents whose
comparisons are open, and look again: at every step up to max_seeds. The family-wise error over all
looks is at most 5%. The same command again goes on where it stopped.

  max_seeds    seeds per agent and environment at the last look
  step         seeds between two looks (default: as many as there are now)
  reference    label that agents are compared with (default: the best is sought)
"""


def until(words: list[str], run: Callable[[Path, list[str]], bool]) -> int:
    """Run seeds until all comparisons are decided, or there are ``max_seeds``.

    Args:
        words: the command line after ``extend``.
        run: runs what a study plans, with words for the launcher; says whether all is finished.

    Returns:
        0 if all is decided or the last look is made, 1 if runs did not finish.

    Raises:
        ConfigError: bad input, or other looks than those that the study's error budget is for.
    """
    if {"-h", "--help"} & set(words):
        print(_HELP, end="")
        return 0
    options, more = _options(words)
    study = folder(words[0])
    check_inside(study)
    record = _record(study, options)
    from prism.analysis.errors import AnalysisError
    from prism.analysis.questions import adaptive  # pandas takes a second to import

    while record["open"] != [] and len(record["looks"]) < len(record["seeds"]):
        _plan(study, record)
        if not run(study, more):
            print(f"look      not made: runs are missing; {_again(study, options)}")
            return 1
        try:
            record = adaptive.look(study, record)
        except AnalysisError as error:
            raise ConfigError(str(error)) from None
        records.write_json(study / FILE, record)
        print("\n" + plain("\n".join(adaptive.told(record))) + "\n", flush=True)
    if record["open"] == []:
        print("all comparisons are decided")
    else:
        print(f"the last look is made; not decided: {plain(', '.join(record['open'] or []))}")
    print(f"report   prism report {shlex.quote(str(study))}")
    return 0


def _options(words: list[str]) -> tuple[dict[str, str], list[str]]:
    """Return the values of ``_KEYS``, and the words that are for the launcher."""
    if not words or "=" in words[0] or words[0].startswith("-"):
        raise ConfigError(f"extend takes the folder of a study: prism extend results/x {UNTIL}")
    found: dict[str, str] = {}
    more = []
    for word in words[1:]:
        key, sign, value = word.partition("=")
        if key in _KEYS and sign:
            found[key] = value
        else:
            more.append(word)
    if found["until"] != "decided":
        raise unknown("until", found["until"], ["decided"])
    if "max_seeds" not in found:
        raise ConfigError(f"max_seeds is missing: say where to stop, as in {UNTIL}")
    for key in ("max_seeds", "step"):
        if key in found and not (found[key].isdecimal() and int(found[key]) > 0):
            raise ConfigError(f"{key}={found[key]}: it is a number of seeds, 1 or more")
    return found, more


def _record(study: Path, options: dict[str, str]) -> "Record":
    """Return the record of the looks of a study: the one it has, or a new one.

    Raises:
        ConfigError: the options ask for other looks than those planned; cells differ in seeds.
    """
    from prism.analysis.errors import AnalysisError
    from prism.analysis.questions import adaptive

    path, reference = study / FILE, options.get("reference")
    last = int(options["max_seeds"])
    try:
        record = adaptive.checked(json.loads(path.read_text())) if path.exists() else None
    except (ValueError, AnalysisError) as error:
        raise ConfigError(f"{path}: {error}; without the file, a new error budget begins") from None
    if record and record["looks"]:
        seeds = record["seeds"]
        step = int(options.get("step", seeds[1] - seeds[0] if len(seeds) > 1 else last))
        if seeds != _looks(seeds[0], last, step) or record["reference"] != reference:
            raise ConfigError(
                f"{study} is looked at with {', '.join(map(str, seeds))} seeds"
                + (f" and reference={record['reference']}" if record["reference"] else "")
                + ": its error budget is for these looks, and cannot be planned anew"
            )
        return record
    plan = ledger.read_plan(study)
    labels = list(dict.fromkeys(run["variant"]["label"] for run in plan["runs"]))
    if reference is not None and reference not in labels:
        raise unknown("reference", reference, labels)
    counts = _seeds(plan)
    first, many = min(counts.values()), max(counts.values())
    if first < many:
        least = next(cell for cell, n in counts.items() if n == first)
        most = next(cell for cell, n in counts.items() if n == many)
        raise ConfigError(
            f"{' on '.join(least)} has {plural(first, 'seed')} and {' on '.join(most)} {many}: "
            "every cell needs as many before the first look"
        )
    if last < first:
        raise ConfigError(f"max_seeds={last}: there are {first} seeds already")
    try:
        adaptive.check(study, reference)
    except AnalysisError as error:
        raise ConfigError(str(error)) from None
    record = adaptive.begun(_looks(first, last, int(options.get("step", first))), reference)
    records.write_json(path, record)
    return record


def _looks(first: int, last: int, step: int) -> list[int]:
    """Return the numbers of seeds at which a study is looked at."""
    return [*range(first, last, step), last]


def _seeds(plan: schema.Plan) -> Counter[tuple[str, str]]:
    """Return the number of planned seeds of every label and environment."""
    return Counter((run["variant"]["label"], run["env"]) for run in plan["runs"])


def _plan(study: Path, record: "Record") -> None:
    """Plan the seeds that the open agents lack for the next look."""
    counts, labels = _seeds(ledger.read_plan(study)), record["open"]
    if labels is None:
        return
    have = min(n for (label, _), n in counts.items() if label in labels)
    lack = record["seeds"][len(record["looks"])] - have
    if lack > 0:
        studies.extend(study, lack, labels)


def _again(study: Path, options: dict[str, str]) -> str:
    words = " ".join(shlex.quote(f"{key}={value}") for key, value in options.items())
    return f"continue with prism extend {shlex.quote(str(study))} {words}"
