"""The commands that read results."""

from .commands import COMMANDS, main

__all__ = ["COMMANDS", "main"]
