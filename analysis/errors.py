"""Messages of the analysis: errors in one line, with the nearest valid names; and counts."""

import difflib
from collections.abc import Iterable

_CLOSE, _LISTED = 3, 8  # names in a message: close ones, or else the first valid ones


class AnalysisError(ValueError):
    """Bad input; the text is one line for the user."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the end of a message: the names nearest to ``name``, or else the first valid names."""
    candidates = list(dict.fromkeys(map(str, names)))
    by_case = {candidate.lower(): candidate for candidate in reversed(candidates)}
    matches = difflib.get_close_matches(name.lower(), by_case, _CLOSE, 0.4)
    longer = [low for low in by_case if low.startswith(name.lower()) and low not in matches]
    close = [by_case[match] for match in [*matches, *reversed(longer)][:_CLOSE]]
    listed = close or candidates[:_LISTED]
    quote = repr if any("," in candidate for candidate in listed) else str
    more = ", ..." if not close and len(candidates) > _LISTED else ""
    return f"{'nearest' if close else 'valid'}: {', '.join(map(quote, listed))}{more}"


def unknown(key: str, name: str, names: Iterable[str]) -> AnalysisError:
    """Return the error for a name that does not exist.

    Args:
        key: the option, argument or query key that holds the name.
        name: the name that was given.
        names: the valid names.
    """
    return AnalysisError(f"{key}: unknown {name!r}; {nearest(name, names)}")


def count(number: int, noun: str) -> str:
    """Return "1 run" or "2 runs"."""
    return f"{number} {noun}{'' if number == 1 else 's'}"
