"""Learning curves, comparisons, ablations and reports of runs. Reads files and never trains."""

from .api import Results, load

__all__ = ["Results", "load"]
