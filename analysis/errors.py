"""What a user is told in one line."""

import difflib
from collections.abc import Iterable


class AnalysisError(ValueError):
    """Bad input; its text is one line for the user."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the names nearest to ``name``, or the first few, for the end of a message."""
    candidates = list(dict.fromkeys(map(str, names)))
    return ", ".join(difflib.get_close_matches(name, candidates, 3, 0.4) or candidates[:8])
