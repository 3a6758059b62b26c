"""Where runs come from. Every source is a module with two functions.

``accepts(where: str) -> bool`` says whether a text like ``results/rainbow``, ``runs.csv`` or
``name:rest`` is its own; ``read(where: str) -> Frames`` returns the two tidy frames
(``prism.analysis.load.frames``) or raises ``AnalysisError`` with one line. A source imports what it
needs inside ``read``. To add one: write the module and put it into ``SOURCES``; nothing else of the
analysis knows where runs came from. The first that accepts reads.
"""

from types import ModuleType

from . import arrays, study_folder, table, wandb, wandb_file
from .frames import Frames, complete

SOURCES: tuple[ModuleType, ...] = (arrays, table, wandb, wandb_file, study_folder)


def read(where: str) -> Frames:
    """Read one place with the first source that accepts it, and check what it gives."""
    source = next(source for source in SOURCES if source.accepts(where))
    frames: Frames = source.read(where)
    return complete(frames, where)
