"""The tracker protocol, and the trackers of one run.

A tracker mirrors the local rows, which stay the source of truth. A tracker that fails is turned off
with one line, and the run's status says why. Training and the local rows are not affected.
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

    Every method is called in the training thread, so slow work belongs in another thread. Secrets
    are removed from everything that a tracker receives.

    A class may also have a static method ``settle(trackers)``. It is called once at the end of a
    job, after ``finish``, with the trackers of all seeds, and may wait for them.

    Args:
        folder: the run folder. ``prism.benchmark.store.rows.timed_rows(folder)`` returns its rows.
        tracking: the config's ``tracking``: project, entity, tags, notes and so on.
    """

    def __init__(self, folder: Path, tracking: Mapping[str, Any]) -> None: ...

    @property
    def status(self) -> str:
        """Return the mirror's status in a word or two, for ``status.json``."""

    def begin(self, record: RunRecord, resume_at: int | None) -> None:
        """Start, or continue after a resume.

        Args:
            record: the contents of ``run.json``.
            resume_at: step of the checkpoint. The folder's rows up to it are kept; later ones are
                computed again. None for a new run, which has no rows.
        """

    def log(self, row: Row) -> None:
        """Log one row, as ``timed_rows`` returns it; None is a missing or non-finite value."""

    def finish(self, state: str, reason: str | None) -> None:
        """End the mirror; ``state`` and ``reason`` are those of ``status.json``."""


class Trackers:
    """The trackers of one run. Never raises: a tracker that fails is turned off.

    Args:
        folder: the run folder.
        config: names the trackers.
        record: the contents of ``run.json``.
        resume_at: as in ``Tracker.begin``.
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
        """Return each tracker's status by the name of its sink; "lost: <reason>" if turned off."""
        statuses: dict[str, str] = {}
        self._each(lambda name, tracker: statuses.update({name: str(tracker.status)}))
        return statuses | self._lost

    def log(self, row: Row) -> None:
        """Log one row to every tracker."""
        self._each(lambda _, tracker: tracker.log(row))

    def finish(self, state: str, reason: str | None) -> None:
        """End every tracker; secrets are removed from ``reason``."""
        public = None if reason is None else clean_text(reason)
        self._each(lambda _, tracker: tracker.finish(state, public))

    def lose(self, name: str, error: BaseException) -> None:
        """Turn a tracker off and print why."""
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
        """Return the live trackers that have a ``settle``, with their names."""
        return [(name, each) for name, each in self._live.items() if hasattr(each, "settle")]


def settle(runs: Iterable[Trackers]) -> None:
    """Let the trackers of a job complete: call ``settle`` once per kind of tracker."""
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
    """Return an error as one line of at most 200 characters, without secrets."""
    words = f"{type(error).__name__}: {error}".strip(": ").split()
    return clean_text(" ".join(words))[:200]


@cache
def say(line: str) -> None:
    """Print a line, once per process."""
    print(line, file=sys.stderr, flush=True)
