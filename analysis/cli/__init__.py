"""The command line of the analysis: ``python -m analysis``."""

from .commands import COMMANDS, main

__all__ = ["COMMANDS", "main"]
