"""Output without control codes, also to a pipe whose reader may exit: ``prism ... | head``."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from typing import Any, TextIO, cast

from .secrets import CleanStream
from .text import plain


def close_output() -> None:
    """Discard all further output, since its reader has exited."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.__stdout__.fileno())  # type: ignore[union-attr]


def replace_unknown_characters() -> None:
    """Print "?" for a character that the terminal's encoding lacks, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


class _Plain:
    """A text stream that writes control characters out, so that no name gives a terminal orders."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        """Write text as ``plain`` gives it; a carriage return that ends a text is our own."""
        end = "\r" if text.endswith("\r") else ""
        return self.stream.write(plain(text.removesuffix(end)) + end)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)


@contextmanager
def plain_output() -> Iterator[None]:
    """Write the control characters in what is printed out."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (cast(TextIO, _Plain(stream)) for stream in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


class _Lasting:
    """A text stream that discards its output once its reader has exited."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        """Write, unless the reader has exited."""
        try:
            return self._stream.write(text)
        except BrokenPipeError:
            self._leave()
            return len(text)

    def flush(self) -> None:
        """Flush, unless the reader has exited."""
        try:
            self._stream.flush()
        except BrokenPipeError:
            self._leave()

    def _leave(self) -> None:
        close_output()
        print(
            "the reader of the output has exited; the work continues", file=sys.stderr, flush=True
        )

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def _as_printed(stream: Any) -> TextIO:
    """Return a stream that leaves control characters as they are, and hides secrets as before."""
    if isinstance(stream, CleanStream):
        return cast(TextIO, CleanStream(_as_printed(stream.stream)))
    return cast(TextIO, stream.stream if isinstance(stream, _Plain) else stream)


@contextmanager
def lasting_output() -> Iterator[None]:
    """Keep working after the reader of the output exits; one line on stderr reports it.

    A job may run in this process, and prints what it likes.
    """
    before = sys.stdout, sys.stderr
    out, err = map(_as_printed, before)
    sys.stdout, sys.stderr = cast(TextIO, _Lasting(out)), err
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stdout, sys.stderr = before
