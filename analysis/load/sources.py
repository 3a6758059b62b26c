"""The sources that runs are read from. Every source is a module with two functions.

``accepts(where: str) -> bool`` returns whether the source reads a place such as
``results/rainbow``, ``runs.csv`` or ``name:rest``. ``read(where: str) -> Frames`` returns two tidy
frames (``prism.analysis.load.frames``) or raises ``AnalysisError`` with one line. A source imports
the packages it needs inside ``read``. To add a source, write its module and list it in ``SOURCES``.
The first source that accepts a place reads it.
"""

from pathlib import Path
from types import ModuleType

from ..errors import AnalysisError, nearest
from . import arrays, logs, scores_json, study_folder, table, wandb, wandb_file
from .environments import renamed
from .frames import Frames, complete

SOURCES: dict[str, ModuleType] = {
    "W&B projects (wandb:entity/project)": wandb,
    "study folders (plan.json)": study_folder,
    "offline .wandb files": wandb_file,
    "logs of " + ", ".join(logs.FORMATS): logs,
    "arrays of scores (.npz, .npy)": arrays,
    "scores in JSON of rliable, Dopamine, marl-eval": scores_json,
    "tables of runs (.csv, .parquet)": table,
}


def read(where: str) -> Frames:
    """Read one place with the first source that accepts it, and check the frames.

    Raises:
        AnalysisError: there is no such place, or no source reads it.
    """
    source = next((source for source in SOURCES.values() if source.accepts(where)), None)
    if source is None:
        raise _unread(where)
    frames: Frames = source.read(where)
    return named(complete(frames, where), where)


def named(frames: Frames, where: str) -> Frames:
    """Call the environments of other programs by their names in ``conf/env``, with a note."""
    names = {} if frames.planned else renamed(frames.runs.env)
    if names:
        frames.runs["env"] = frames.runs.env.replace(names)
        told = ", ".join(f"{theirs} is {ours}" for theirs, ours in names.items())
        frames.notes.append(f"{where}: by their names in conf/env: {told}")
    return frames


def _unread(where: str) -> AnalysisError:
    path = Path(where)
    if not path.exists():
        beside = [found.name for found in sorted(path.parent.glob("*"))]
        hint = f"; {nearest(path.name, beside)}" if beside else ""
        return AnalysisError(f"{where}: no such file or folder{hint}")
    studies = sorted(found.parent.name for found in path.glob("*/plan.json"))
    if studies:
        return AnalysisError(f"{where}: holds studies, name one: {nearest(path.name, studies)}")
    what = "a folder without" if path.is_dir() else "not"
    return AnalysisError(f"{where}: {what} a format that is read; these are: {'; '.join(SOURCES)}")
