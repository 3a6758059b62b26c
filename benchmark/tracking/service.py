"""The one thread of a process that talks to W&B, and how long anybody waits for it.

Neither a slow start nor an unreachable server is ever in training's way: every call is queued, and
the only wait is ``Service.wait``, once at the end of a job.
"""

import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Literal

Mode = Literal["auto", "online", "offline", "disabled"]
StartMode = Literal["online", "offline"]
MODES: tuple[Mode, ...] = ("auto", "online", "offline", "disabled")

_GATHER = 5.0  # seconds at most that a row waits for others; W&B uploads every fifteen
_SHARE = 0.03  # of a job's time that the wait at its end may take ...
_PATIENCE = (5.0, 60.0)  # ... and the least and the most seconds it lasts
_TEARDOWN = 3.0  # seconds that the service process has to end by itself
_STUCK = "the service does not answer"
_THREADS = ("NetStatThr", "ChkStopThr", "IntMsgThr")  # W&B's own, of each run
_ENV_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


def wanted_mode(mode: Mode) -> Mode:
    """Return what ``WANDB_MODE`` makes of "auto"; any other mode stays."""
    return _ENV_MODES.get(os.environ.get("WANDB_MODE", ""), "auto") if mode == "auto" else mode


def quiet_setup() -> None:
    """Set the SDK up: no messages, no telemetry."""
    import wandb

    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if not _can_write(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wandb")):
        # without a place for its log, W&B's service writes it among ours
        os.environ.setdefault("WANDB_CACHE_DIR", os.path.join(tempfile.gettempdir(), "prism-wandb"))
    wandb.setup(wandb.Settings(silent=True))


def _can_write(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK)


def logged_in() -> bool:
    """Say whether credentials are at hand, without a prompt and without asking the server."""
    import wandb

    quiet_setup()
    return bool(wandb.login(prompt=False, verify=False))


class Service:
    """The thread, and what it has learned about W&B."""

    def __init__(self) -> None:
        self.unreachable = False  # an online start failed: go on offline
        self.live: set[Any] = set()  # open runs
        self._login: bool | None = None
        self._began = time.monotonic()
        self._stuck: threading.Event | None = None  # set once what it was stuck in is over
        self._said: set[str] = set()
        self._endings: list[threading.Thread] = []
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._hurry = threading.Event()
        threading.Thread(target=self._work, name="wandb-mirror", daemon=True).start()

    def resolve(self, wanted: Mode) -> StartMode:
        """Settle "auto", and "online" where it cannot be or has failed before.

        Without credentials the SDK would ask for some, on a terminal and in the midst of training.
        """
        if wanted == "offline":
            return wanted
        if self._login is None:
            self._login = logged_in()
        if wanted == "online" and not self._login:
            self.say("not logged in, recording offline: set WANDB_API_KEY or run `wandb login`")
        return "online" if self._login and not self.unreachable else "offline"

    def call(self, function: Callable[[], None], hurry: bool = True) -> None:
        """Queue a call.

        Without hurry it waits for others: every time that this thread or W&B's service wakes up,
        training loses the core for a moment and finds its cache cold.
        """
        self._calls.put(function)
        if hurry:
            self._hurry.set()

    def end(self, function: Callable[[], None]) -> None:
        """Run the end of one W&B run beside those of the others: each waits for its upload."""
        thread = threading.Thread(target=function, name="wandb-end", daemon=True)
        self._endings.append(thread)
        thread.start()

    def wait(self, patience: float | None = None) -> str | None:
        """Wait until all that was queued is done, uploads included; say why not if it is not.

        Args:
            patience: seconds that the wait lasts at most; None for 3 % of this process's time with
                W&B, and at least five seconds.
        """
        if self._stuck and not self._stuck.is_set():
            return _STUCK
        if patience is None:
            least, most = _PATIENCE
            patience = min(most, max(least, _SHARE * (time.monotonic() - self._began)))
        deadline = time.monotonic() + patience
        done = threading.Event()
        self.call(done.set)
        self._stuck = None if done.wait(patience) else done
        if self._stuck:
            return _STUCK
        endings, self._endings = self._endings, []
        for thread in endings:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in endings):
            self.unreachable = True
            return f"the upload was not complete {patience:.0f} s after the end"
        return None

    def say(self, what: str) -> None:
        """Print a line, once per process."""
        if what not in self._said:
            self._said.add(what)
            print(f"W&B: {what}", file=sys.stderr, flush=True)

    def _work(self) -> None:
        while True:
            self._hurry.wait(_GATHER)
            self._hurry.clear()
            while not self._calls.empty():
                self._calls.get()()


@cache
def service(pid: int) -> Service:
    """Return the service of process ``pid``: a forked child needs a thread of its own."""
    return Service()


def teardown() -> None:
    """End W&B's service process and wait for it: only then is every finished run on the disk.

    ``run.finish`` returns before that, and a worker process that leaves without exit handlers, as
    those of ``multiprocessing`` do, would take the unwritten rows with it. A service that goes on
    uploading to a server that refuses it does not end by itself; it is killed.
    """
    _hush()
    thread = threading.Thread(target=_teardown, name="wandb-teardown", daemon=True)
    thread.start()
    thread.join(_TEARDOWN)
    if thread.is_alive():
        for pid in _cores():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        thread.join(_TEARDOWN)


def _teardown() -> None:
    import wandb

    with suppress(Exception):  # raised by a dead service
        wandb.teardown()


@cache
def _hush() -> None:
    """Say nothing when W&B's threads die behind a teardown: that is no news, and a long one."""
    usual = threading.excepthook

    def hook(died: threading.ExceptHookArgs) -> None:
        if died.thread is None or died.thread.name not in _THREADS:
            usual(died)

    threading.excepthook = hook


def _cores() -> list[int]:
    """Return the process ids of W&B's services that are children of this process."""
    command = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "comm="]
    listed = subprocess.run(command, capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=3) for line in listed.splitlines()]
    return [
        int(pid)
        for pid, parent, state, name in rows
        if int(parent) == os.getpid() and Path(name).name.startswith("wandb-core")
        if not state.startswith("Z")
    ]
