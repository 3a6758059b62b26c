"""Curves, comparisons, component studies and reports of runs; reads files and never trains."""

from analysis.api import Study, load

__all__ = ["Study", "load"]
