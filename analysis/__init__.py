"""Learning curves, comparisons, ablations and reports of runs. Reads files and never trains."""

from .api import Study, load

__all__ = ["Study", "load"]
