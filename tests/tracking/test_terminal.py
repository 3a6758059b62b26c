"""Never a prompt, on a terminal or without one, and no need of a home to write to."""

import os
import pty
import subprocess
import sys
import threading
from pathlib import Path

import pytest

SCRIPT = """
import sys
from pathlib import Path
from prism.benchmark.tracking.wandb import WandbMirror
from tests.tracking.runs import folder, record, row, tracking

mirror = WandbMirror(folder(Path(sys.argv[1]), 0), tracking(sys.argv[2]))
mirror.begin(record(0), None)
mirror.log(row(1))
mirror.finish("finished")
WandbMirror.settle([mirror])
print("status", mirror.status)
"""


def run(folder: Path, mode: str, terminal: bool) -> str:
    """Mirror a run in a process that nobody answers; return what it printed."""
    ours, theirs = pty.openpty()
    environment = {k: x for k, x in os.environ.items() if not k.startswith(("WANDB", "XDG"))}
    environment |= {"HOME": "/proc/nowhere", "NETRC": "/proc/nowhere/netrc"}
    streams = dict.fromkeys(("stdin", "stdout", "stderr"), theirs)
    if not terminal:
        streams = {"stdin": subprocess.DEVNULL, "stdout": theirs, "stderr": theirs}
    command = [sys.executable, "-c", SCRIPT, str(folder), mode]
    process = subprocess.Popen(command, env=environment, start_new_session=True, **streams)
    os.close(theirs)
    patience = threading.Timer(60, process.kill)  # a question would wait for ever
    patience.start()
    printed = b""
    try:
        while part := os.read(ours, 4096):
            printed += part
    except OSError:  # the other end is closed
        pass
    assert process.wait() == 0
    patience.cancel()
    os.close(ours)
    return printed.decode()


@pytest.mark.parametrize(
    ("mode", "terminal"), [("auto", True), ("online", True), ("offline", False)]
)
def test_nobody_is_asked_and_the_home_is_left_alone(tmp_path, mode, terminal):
    lines = run(tmp_path, mode, terminal).splitlines()
    assert lines[-1] == "status offline"
    said = ["W&B: not logged in, recording offline: set WANDB_API_KEY or run `wandb login`"]
    assert lines[:-1] == (said if mode == "online" else [])
    assert len(list(tmp_path.glob("runs/0/wandb/offline-run-*/*.wandb"))) == 1
