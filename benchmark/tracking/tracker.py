"""What a tracker is, and the trackers of one run: mirrors of the local rows, which are the truth.

A tracker that fails turns itself off with one line, and the status of the run says why. Neither
training nor the local rows suffer.
"""

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, Protocol

from ..store.rows import Row
from ..store.schema import RunRecord
from ..store.spec import TrackingConfig
from ..store.trackers import tracker_class
from ..util.secrets import clean, clean_text


class Tracker(Protocol):
    """The mirror of one run: one seed of one variant on one environment.

    All of it is called in the thread that trains, so what takes long belongs into another. No
    secret is in what a tracker is given.

    A class may also have a static method ``settle(trackers)``. At the end of a job it is called
    once, with the trackers of all seeds, after each was told to finish; it may wait for them.

    Args:
        folder: the run folder. ``prism.benchmark.store.rows.timed_rows(folder)`` returns its rows.
        tracking: the config's ``tracking``: project, entity, tags, notes and the others.
    """

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None: ...

    @property
    def status(self) -> str:
        """Return how the mirror stands, in a word or two for ``status.json``."""

    def begin(self, record: RunRecord, resume_at: int | None) -> None:
        """Start, or go on.

        Args:
            record: the run's ``run.json``.
            resume_at: step up to which the folder's rows are kept, and behind which they are
                computed again; None for a new run, which has no rows.
        """

    def log(self, row: Row) -> None:
        """Take one row, as ``timed_rows`` returns it; None is a missing or non-finite value."""

    def finish(self, state: str, reason: str | None) -> None:
        """Take the end of the run; ``state`` and ``reason`` are those of ``status.json``."""


class Trackers:
    """The trackers of one run. Nothing here raises.

    Args:
        folder: the run folder.
        config: names the trackers.
        record: the run's ``run.json``.
        resume_at: as of ``Tracker.begin``.
    """

    def __init__(
        self, folder: Path, config: TrackingConfig, record: RunRecord, resume_at: int | None
    ) -> None:
        settings, record = clean(asdict(config)), clean(record)
        self._live: dict[str, Tracker] = {}
        self._lost: dict[str, str] = {}
        for name in dict.fromkeys(config.sinks):
            try:
                self._live[name] = tracker_class(name)(folder, settings)
                self._live[name].begin(record, resume_at)
            except (Exception, SystemExit) as error:
                self.lose(name, error)

    @property
    def status(self) -> dict[str, str]:
        """Return how each stands, by the name of its sink: the tracker's word, or "lost: <why>"."""
        told: dict[str, str] = {}
        self._each(lambda name, tracker: told.update({name: str(tracker.status)}))
        return told | self._lost

    def log(self, row: Row) -> None:
        """Pass on one row."""
        self._each(lambda _, tracker: tracker.log(row))

    def finish(self, state: str, reason: str | None) -> None:
        """Pass on the end of the run."""
        told = None if reason is None else clean_text(reason)
        self._each(lambda _, tracker: tracker.finish(state, told))

    def lose(self, name: str, error: BaseException) -> None:
        """Turn a tracker off."""
        self._live.pop(name, None)
        self._lost[name] = f"lost: {why(error)}"
        say(f"{name}: mirror off, training goes on: {why(error)}; the local rows are complete")

    def _each(self, call: Callable[[str, Tracker], object]) -> None:
        for name, tracker in tuple(self._live.items()):
            try:
                call(name, tracker)
            except (Exception, SystemExit) as error:
                self.lose(name, error)

    def settling(self) -> Iterable[tuple[str, Tracker]]:
        """Return the trackers, by name, that may have to be waited for at the end."""
        return [(name, each) for name, each in self._live.items() if hasattr(each, "settle")]


def settle(runs: Iterable[Trackers]) -> None:
    """Wait until the trackers of a job have ended, each kind as long as it finds fair."""
    kinds: dict[str, list[tuple[Trackers, Any]]] = {}
    for run in runs:
        for name, tracker in run.settling():
            kinds.setdefault(name, []).append((run, tracker))
    for name, kind in kinds.items():
        try:
            kind[0][1].settle([tracker for _, tracker in kind])
        except (Exception, SystemExit) as error:
            for run, _ in kind:
                run.lose(name, error)


def why(error: BaseException) -> str:
    """Return an error as one short line without a secret."""
    words = f"{type(error).__name__}: {error}".strip(": ").split()
    return clean_text(" ".join(words))[:200]


@cache
def say(line: str) -> None:
    """Print a line, once per process."""
    print(line, file=sys.stderr, flush=True)
