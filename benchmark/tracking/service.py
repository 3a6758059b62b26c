"""The one thread per process that talks to W&B.

Neither a slow start nor an unreachable server delays training: every call is queued, and training
waits only once, at the end of a job, in ``Service.wait``.
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

_GATHER = 5.0  # longest time in seconds that a row is held back to batch it; W&B uploads every 15 s
_SHARE = 0.03  # fraction of the job's time that the final wait may take ...
_PATIENCE = (5.0, 60.0)  # ... and its bounds, in seconds
_TEARDOWN = 3.0  # seconds before a service process that does not exit is killed
_STUCK = "the service does not answer"
_THREADS = ("NetStatThr", "ChkStopThr", "IntMsgThr")  # threads that W&B starts for each run
_ENV_MODES: dict[str, Mode] = {
    "online": "online",
    "run": "online",
    "offline": "offline",
    "dryrun": "offline",
    "disabled": "disabled",
}


def wanted_mode(mode: Mode) -> Mode:
    """Resolve "auto" with ``WANDB_MODE``; return any other mode unchanged."""
    return _ENV_MODES.get(os.environ.get("WANDB_MODE", ""), "auto") if mode == "auto" else mode


def quiet_setup() -> None:
    """Set up the SDK without messages and telemetry."""
    import wandb

    os.environ.setdefault("WANDB_ERROR_REPORTING", "false")
    if not _can_write(Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "wandb")):
        # W&B's service would otherwise write its log into our output
        os.environ.setdefault("WANDB_CACHE_DIR", os.path.join(tempfile.gettempdir(), "prism-wandb"))
    wandb.setup(wandb.Settings(silent=True))


def _can_write(folder: Path) -> bool:
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return os.access(folder, os.W_OK)


def logged_in() -> bool:
    """Say whether there are credentials. Neither prompts nor contacts the server."""
    import wandb

    quiet_setup()
    return bool(wandb.login(prompt=False, verify=False))


class Service:
    """The thread that talks to W&B, its queue, and what is known about the server."""

    def __init__(self) -> None:
        self.unreachable = False  # an online start failed: later runs start offline
        self.live: set[Any] = set()  # open runs
        self._login: bool | None = None
        self._began = time.monotonic()
        self._stuck: threading.Event | None = None  # set when the call that blocked it returns
        self._said: set[str] = set()
        self._endings: list[threading.Thread] = []
        self._calls: SimpleQueue[Callable[[], None]] = SimpleQueue()
        self._hurry = threading.Event()
        threading.Thread(target=self._work, name="wandb-mirror", daemon=True).start()

    def resolve(self, wanted: Mode) -> StartMode:
        """Return the mode to start in: offline if not logged in or if an online start has failed.

        Without this check, the SDK would prompt for credentials in the middle of training.
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

        Args:
            function: what to call.
            hurry: wake the thread now. Otherwise the call waits up to 5 s for others, because each
                wake-up of this thread or of W&B's service takes the core from training and evicts
                its cache.
        """
        self._calls.put(function)
        if hurry:
            self._hurry.set()

    def end(self, function: Callable[[], None]) -> None:
        """Close a W&B run in a thread of its own, so that the uploads of all runs overlap."""
        thread = threading.Thread(target=function, name="wandb-end", daemon=True)
        self._endings.append(thread)
        thread.start()

    def wait(self, patience: float | None = None) -> str | None:
        """Wait for all queued calls and uploads.

        Args:
            patience: longest wait in seconds; None for 3 % of the service's age, clipped to 5 to
                60 s.

        Returns:
            None if all are done, else the reason.
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
    """Return the service of process ``pid``. Keyed by process: threads do not survive a fork."""
    return Service()


def teardown() -> None:
    """End W&B's service process and wait for it: only then is every finished run on disk.

    ``run.finish`` returns earlier, and ``multiprocessing`` workers skip exit handlers, so unwritten
    rows would be lost. A service that keeps retrying an upload does not exit; it is killed.
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

    with suppress(Exception):  # the service may be dead already
        wandb.teardown()


@cache
def _hush() -> None:
    """Suppress the tracebacks of W&B's threads, which always die when the service ends."""
    default = threading.excepthook

    def hook(args: threading.ExceptHookArgs) -> None:
        if args.thread is None or args.thread.name not in _THREADS:
            default(args)

    threading.excepthook = hook


def _cores() -> list[int]:
    """Return the process ids of the live W&B services that this process started."""
    command = ["ps", "-A", "-o", "pid=", "-o", "ppid=", "-o", "stat=", "-o", "comm="]
    output = subprocess.run(command, capture_output=True, text=True).stdout
    rows = [line.split(maxsplit=3) for line in output.splitlines()]
    return [
        int(pid)
        for pid, parent, state, name in rows
        if int(parent) == os.getpid() and Path(name).name.startswith("wandb-core")
        if not state.startswith("Z")
    ]
