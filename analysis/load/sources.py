"""The sources that runs are read from. Every source is a module with two functions.

``accepts(where: str) -> bool`` returns whether the source reads a place such as
``results/rainbow``, ``runs.csv`` or ``name:rest``. ``read(where: str) -> Frames`` returns two tidy
frames (``prism.analysis.load.frames``) or raises ``AnalysisError`` with one line. A source imports
the packages it needs inside ``read``. To add a source, write its module and list it in ``SOURCES``.
The first source that accepts a place reads it.
"""

from types import ModuleType

from . import arrays, study_folder, table, wandb, wandb_file
from .frames import Frames, complete

SOURCES: tuple[ModuleType, ...] = (arrays, table, wandb, wandb_file, study_folder)


def read(where: str) -> Frames:
    """Read one place with the first source that accepts it, and check the frames."""
    source = next(source for source in SOURCES if source.accepts(where))
    frames: Frames = source.read(where)
    return complete(frames, where)
