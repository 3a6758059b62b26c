"""Source: logs of other libraries and trackers, a file or a folder of any depth.

``FORMATS`` lists what is read. A folder is a run if it holds files of a format whose files are a
run's; of several such formats the first is taken, and a note names the files that are left. A
question mark and the keys of ``foreign.KEYS`` after the place say what is not recorded:
``logs/ppo?env=CartPole-v1&label=PPO&seed=3`` (a setting of the run, or else the value itself),
``chart.csv?step=Step&return=score`` (columns).
"""

import re
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from ...errors import AnalysisError, count, unknown
from .. import foreign
from ..cells import layout
from ..frames import Frames, first_line
from . import events, rllib, sb3, wandb_csv
from .files import Found, numbered, told_by_names


@dataclass(frozen=True)
class Format:
    """A format of logs.

    Attributes:
        matches: whether a file has it.
        read: returns what is in the files of one run, or what runs are in one file.
        of_folder: whether the files of a folder belong to one run.
    """

    matches: Callable[[Path], bool]
    read: Callable[[Sequence[Path]], Found | Iterator[Found]]
    of_folder: bool = True


_RUNS = "W&B's CSV of runs"
FORMATS = {
    "Stable-Baselines3's evaluations.npz": Format(sb3.is_evaluations, sb3.evaluations),
    "Stable-Baselines3's progress.csv": Format(sb3.is_progress, sb3.progress),
    "Stable-Baselines3's monitor.csv": Format(sb3.is_monitor, sb3.monitors),
    "RLlib's result.json": Format(rllib.is_result, rllib.result),
    "RLlib's progress.csv": Format(rllib.is_progress, rllib.progress),
    "TensorBoard's event files": Format(events.is_events, events.events),
    "TensorBoard's CSV downloads": Format(events.is_download, events.download, of_folder=False),
    "W&B's CSV of charts": Format(wandb_csv.is_chart, wandb_csv.chart, of_folder=False),
    _RUNS: Format(wandb_csv.is_runs, wandb_csv.runs, of_folder=False),
}
_TIDY = {"env", "seed"}  # a table of runs has these columns
_ENDINGS = (".csv", ".npz", ".json")
_BAD = (OSError, EOFError, ValueError, KeyError, TypeError, IndexError, zipfile.BadZipFile)


def accepts(where: str) -> bool:
    """Accept files of a format, and folders with one."""
    path, _ = _split(where)
    return next(_files(path), None) is not None


def read(where: str) -> Frames:
    """Read every run."""
    path, mapping = _split(where)
    for key in mapping:
        if key not in foreign.KEYS:
            raise unknown("query key", key, foreign.KEYS)
    runs: list[foreign.LoggedRun] = []
    formats, notes = Counter[str](), dict[str, None]()
    for name, files, left in _files_of_runs(path):
        for one in _read(name, files):
            place = files[0].parent if FORMATS[name].of_folder else files[0]
            told, whose = told_by_names(place, one.name)
            config, keys = _settings(told, one.config, mapping)
            about = [one.note, whose.format(", ".join(keys)) if keys else ""]
            inside = place.relative_to(path) if path in place.parents else Path(path.stem)
            label = one.name or str(inside)
            told_notes = tuple(filter(None, about))
            runs.append(foreign.LoggedRun(label, label, one.state, config, one.history, told_notes))
            formats[name] += 1
        if left:
            notes[f"left out beside {files[0].name}: {', '.join(x.name for x in left)}"] = None
    runs = _complete(runs, where)
    if without := sum("seed" not in run.config for run in runs):
        notes[f"no seed is recorded for {count(without, 'run')}: they are numbered from 0"] = None
        runs = list(numbered(runs))
    columns = {key: name for key, name in mapping.items() if key not in foreign.CONFIG}
    frames = foreign.frames(runs, path.name.partition(".")[0], columns, where)
    read_from = [f"{count(number, 'run')} from {name}" for name, number in formats.items()]
    frames.notes[:0] = [f"{where}: {note}" for note in [*read_from, *notes]]
    return frames


def _split(where: str) -> tuple[Path, dict[str, str]]:
    place, _, query = where.partition("?")
    if Path(where).exists():
        return Path(where), {}
    return Path(place), dict(parse_qsl(query, keep_blank_values=True))


def _files(path: Path) -> Iterator[tuple[Path, str]]:
    """Yield the files at or below a place that have a format, with its name."""
    inside = sorted(path.rglob("*")) if path.is_dir() else [path]
    for file in inside:
        known = file.name.lower().endswith(_ENDINGS) or events.is_events(file)
        if known and file.is_file() and (name := _format(file)):
            yield file, name


def _format(file: Path) -> str | None:
    try:
        if file.suffix.lower() == ".csv" and set(layout(file)[2]) >= _TIDY:
            return _RUNS if FORMATS[_RUNS].matches(file) else None
    except (OSError, ValueError):
        return None
    for name, found in FORMATS.items():
        try:
            if found.matches(file):
                return name
        except _BAD:
            continue
    return None


def _files_of_runs(path: Path) -> Iterator[tuple[str, list[Path], list[Path]]]:
    """Yield for each run, or file of runs: the format, its files, and those that are left out."""
    folders: dict[Path, dict[str, list[Path]]] = {}
    for file, name in _files(path):
        if FORMATS[name].of_folder:
            folders.setdefault(file.parent, {}).setdefault(name, []).append(file)
        else:
            yield name, [file], []
    for formats in folders.values():
        first = min(formats, key=list(FORMATS).index)
        left = [file for name, files in formats.items() if name != first for file in files]
        yield first, formats[first], left


def _read(name: str, files: Sequence[Path]) -> list[Found]:
    try:
        found = FORMATS[name].read(files)
        return [found] if isinstance(found, Found) else list(found)
    except AnalysisError:
        raise
    except _BAD as error:
        raise AnalysisError(f"{files[0]}: cannot be read as {name} ({first_line(error)})") from None


def _settings(
    told: dict[str, Any], recorded: dict[str, Any], mapping: dict[str, str]
) -> tuple[dict[str, Any], list[str]]:
    """Return a run's settings under our names, and which of them the names of files told.

    What the query says comes first, then what is recorded, then what names tell.
    """
    settings, keys = dict(recorded), []
    for key, names in foreign.CONFIG.items():
        found = next((recorded[name] for name in names if name in recorded), None)
        if key in mapping:
            found = recorded.get(mapping[key], mapping[key])
        elif found is None and key in told:
            found = told[key]
            keys.append(key)
        for name in names:
            settings.pop(name, None)
        if found is not None:
            settings[names[0]] = settings[key] = found
    return settings, keys


def _complete(runs: list[foreign.LoggedRun], where: str) -> list[foreign.LoggedRun]:
    """Return the runs under ids of their own; each must have an environment and rows.

    Raises:
        AnalysisError: no environment is known.
    """
    seen = Counter[str]()
    unique = []
    for run in runs:
        if "env" not in run.config:
            raise AnalysisError(
                f"{where}: no environment is recorded for {run.name}; write "
                f"'{where}?env=<environment>', and label= and seed= likewise"
            )
        seen[run.name] += 1
        name = run.name if seen[run.name] == 1 else f"{run.name}-{seen[run.name]}"
        unique.append(replace(run, run_id=re.sub(r"\s+", "-", name)))
    return unique
