"""Turns run folders into curves, comparisons and component studies; reads files, never trains."""
