"""What is found in a log's files, and what the names of files and folders say about a run."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from ..foreign import LoggedRun


@dataclass(frozen=True)
class Found:
    """A run in a file: its rows, and the settings that are recorded with them.

    Attributes:
        history: its rows.
        config: its settings.
        note: what was taken.
        name: the name of the run, if the file holds several.
        state: the tracker's word.
    """

    history: pd.DataFrame
    config: dict[str, Any] = field(default_factory=dict)
    note: str = ""
    name: str = ""
    state: str = "finished"


CLEANRL = re.compile(r"(?:run-)?(?P<env>.+?)__(?P<label>.+?)__(?P<seed>\d+)(?:__\d+)?(?:-tag-.*)?")
_RLLIB = re.compile(r"(?P<label>[A-Z]\w*?)_(?P<env>.+?-v\d+)_\w+?_(?P<seed>\d{5})_.*")
_NUMBERED = re.compile(r"(?P<env>.+-v\d+)_(?P<seed>\d+)")  # in the folder of the algorithm
_SEED = re.compile(r"(?:^|[^a-z])seed[_=-]?(\d+)|[_-]s(\d+)$", re.IGNORECASE)


def told_by_names(path: Path, name: str) -> tuple[dict[str, Any], str]:
    """Return label, env and seed as far as names tell them, and a note of which names.

    Args:
        path: the file, or the folder of the run.
        name: the name of the run within the file; empty if the file holds one.
    """
    parts = [name] if name else [path.name.removesuffix(path.suffix), *_folders(path)]
    for pattern, whose in ((CLEANRL, "CleanRL"), (_RLLIB, "RLlib")):
        for part in parts:
            if match := pattern.fullmatch(part):
                return match.groupdict(), f"{{}} told by the names of runs, as {whose} has them"
    if name:
        return {"label": name}, "{} told by the names of runs"
    for folder in [path, *path.parents]:
        match = _NUMBERED.fullmatch(folder.name)
        if match and folder.parent.name:
            found = {**match.groupdict(), "label": folder.parent.name, **_arguments(folder)}
            return found, "{} told by folders as rl-zoo3 has them, <algorithm>/<env>_<n>"
    seeds = [match for part in parts for match in [_SEED.search(part)] if match]
    found = {"seed": seeds[0][1] or seeds[0][2]} if seeds else {}
    return found | {"label": _folders(path)[0]}, "{} told by the names of folders"


def _folders(path: Path) -> list[str]:
    folder = path.absolute() if path.is_dir() else path.absolute().parent
    return [part for part in reversed(folder.parts) if part != folder.anchor] or ["run"]


def _arguments(folder: Path) -> dict[str, Any]:
    """Return the seed in rl-zoo3's ``args.yml``, if there is one."""
    for path in folder.glob("*/args.yml"):
        try:
            content = dict(yaml.load(path.read_text(), _Plain))
        except (OSError, ValueError, TypeError, yaml.YAMLError):
            continue
        seed = content.get("seed")
        return {"seed": seed} if isinstance(seed, int) and seed >= 0 else {}
    return {}


class _Plain(yaml.SafeLoader):
    """Reads ordered mappings as Python writes them, and runs nothing."""


_Plain.add_constructor(
    "tag:yaml.org,2002:python/object/apply:collections.OrderedDict",
    lambda loader, node: loader.construct_sequence(node, deep=True)[0],
)


def numbered(runs: Iterable[LoggedRun]) -> Iterator[LoggedRun]:
    """Give runs without a seed the next free number of their label and environment."""
    taken: dict[tuple[str, str], set[str]] = {}
    cells = [((str(run.config.get("label")), str(run.config["env"])), run) for run in runs]
    for cell, run in cells:
        taken.setdefault(cell, set()).add(str(run.config.get("seed")))
    for cell, run in cells:
        if "seed" in run.config:
            yield run
            continue
        seed = next(number for number in count() if str(number) not in taken[cell])
        taken[cell].add(str(seed))
        yield replace(run, config={**run.config, "seed": seed})
