"""Curves, comparisons, component studies and reports of runs; reads files and never trains."""

from .api import Results, load

__all__ = ["Results", "load"]
