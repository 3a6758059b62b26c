"""SIGINT and SIGTERM: the first requests a clean stop, and a second SIGINT stops at once.

SIGINT is a person's key. SIGTERM comes from programs, which may each ask for the same stop: the
launcher, the watchdog and a cluster, say. However often it comes, it leaves time to save.
"""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

ASKING = (signal.SIGINT, signal.SIGTERM)


class Stopped(BaseException):
    """A stop was requested during work that can be abandoned."""


@contextmanager
def handled(by: Callable[[int], None]) -> Iterator[None]:
    """Call ``by`` on SIGINT and SIGTERM; outside the main thread there are no signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda n, _: by(n)) for number in ASKING}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Yield a function that returns whether a stop was requested; a SIGINT after it interrupts."""
    requested = threading.Event()

    def ask(number: int) -> None:
        if requested.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        requested.set()

    with handled(ask):
        yield requested.is_set
