"""Curves, comparisons, component studies and reports of runs; reads files and never trains."""

from .api import Study, load

__all__ = ["Study", "load"]
