"""Named checks of a subject, such as an agent or an environment, run one after another."""

import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

from .errors import one_line

OK, WRONG, SKIPPED = "ok", "wrong", "skipped"
S = TypeVar("S")


class Wrong(Exception):
    """A check fails; the message is one line that says what is wrong."""


class Skip(Exception):
    """A check does not apply; the message says why."""


class Check(NamedTuple):
    """One check.

    Attributes:
        name: short.
        about: what holds where it passes, one line.
        run: raises Wrong or Skip; any other exception counts as wrong.
        needed: whether the later checks make no sense where it fails.
    """

    name: str
    about: str
    run: Callable[..., None]
    needed: bool = False


class Outcome(NamedTuple):
    """What became of a check."""

    name: str
    state: str  # ok | wrong | skipped
    text: str  # what holds, what is wrong, or why it was skipped


def outcomes(checks: Sequence[Check], subject: object) -> Iterator[Outcome]:
    """Run checks on ``subject`` in their order, and yield their outcomes."""
    missing = ""
    for check in checks:
        if missing:
            yield Outcome(check.name, SKIPPED, f"not checked: {missing} is wrong")
            continue
        try:
            check.run(subject)
            yield Outcome(check.name, OK, check.about)
        except Skip as reason:
            yield Outcome(check.name, SKIPPED, str(reason))
        except Exception as error:
            text = str(error) if isinstance(error, Wrong) else raised(error)
            yield Outcome(check.name, WRONG, text)
            missing = check.name * check.needed


def raised(error: Exception) -> str:
    """Return an exception in one line, with the place in the code that raised it."""
    where = traceback.extract_tb(error.__traceback__)[-1]
    place = f"{Path(where.filename).name}:{where.lineno}, {where.name}"
    return f"{type(error).__name__}: {one_line(error)} ({place})"
