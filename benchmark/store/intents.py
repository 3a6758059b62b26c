"""What a command on a whole study leaves when it is killed, and how the next one completes it.

A rename changes many files: it writes first what it is about to do, into ``intent.json`` of the
study, and removes this at the end. A delete begins with a new name that says so, beside the other
studies. Every command that changes a study calls ``complete`` under its lock, and also collects the
partial files of processes that are dead. ``status`` tells of all this, and changes nothing.
"""

import os
import secrets
import shutil
import socket
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

from ..util import atomic
from ..util.text import plural
from . import leases, records

_FILE = "intent.json"
_DELETED = ".prism-deleted-"
_OLD = 86_400.0  # seconds after which another machine's partial file is nobody's any more


def rename(study_dir: Path, target: Path, mirrored: int) -> None:
    """Rename a study's folder, and its name in its files; the caller holds its lock.

    Args:
        study_dir: the study; target: its new folder, which does not exist.
        mirrored: kept for ``renamed``.
    """
    intent = {"from": study_dir.name, "rename": target.name, "mirrored": mirrored}
    records.write_json(study_dir / _FILE, intent)
    study_dir.rename(target)
    complete(target)


def renamed(study_dir: Path, target: Path) -> int | None:
    """Return ``mirrored`` of a rename that was cut short after the folder's, None without one."""
    intent = _intent(target) or {}
    same = (intent.get("from"), intent.get("rename")) == (study_dir.name, target.name)
    return intent.get("mirrored", 0) if same and not study_dir.exists() else None


def delete(study_dir: Path) -> None:
    """Delete a study; other processes see it disappear at once. The caller holds its lock."""
    trash = study_dir.with_name(f".{study_dir.name}{_DELETED}{secrets.token_hex(4)}")
    study_dir.rename(trash)
    _remove(trash)


def finish_deleting(study_dir: Path) -> bool:
    """Complete the deletions of a study that were cut short; return whether there were any."""
    begin = f".{study_dir.absolute().name}{_DELETED}"
    left = [path for path in _trash(study_dir) if path.name.startswith(begin)]
    for path in left:
        _remove(path)
    return bool(left)


def complete(study_dir: Path) -> None:
    """Complete what a killed command has begun, and remove what it has left.

    A rename that has not reached the folder's name yet is dropped. The caller holds the lock.
    """
    intent = _intent(study_dir)
    if intent is not None:
        if intent.get("rename") == study_dir.absolute().name:
            _give_name(study_dir, study_dir.absolute().name)
        (study_dir / _FILE).unlink()
    for path in _trash(study_dir):
        _remove(path)
    for path in [*_copies(study_dir), *_partial(study_dir)]:
        _remove(path)


def give_to(folder: Path, study: str) -> None:
    """Write a study's name into a run's record, unless that is broken."""
    record = records.read_record(folder)
    if record is not None and record["study"] != study:
        records.write_json(folder / "run.json", {**record, "study": study})


def copy_of(run_dir: Path) -> Path:
    """Return where a run's folder is copied to before it takes its name."""
    return run_dir.with_name(f".{run_dir.name}")


def told(study_dir: Path) -> list[str]:
    """Return what is half done or left over in and beside a study, a line each."""
    intent, lines = _intent(study_dir), []
    if intent is not None:
        lines.append(f"half done: rename from {intent.get('from')} to {intent.get('rename')}")
    for path in _trash(study_dir):
        lines.append(f"half done: delete of {path.name[1:].rpartition(_DELETED)[0]}, in {path}")
    left = Counter({"copied run": len(_copies(study_dir)), "partial file": 0})
    left["partial file"] = sum(1 for _ in _partial(study_dir))
    lines += [f"left over by a killed process: {plural(n, what)}" for what, n in left.items() if n]
    if lines:
        lines.append("the next command that changes or resumes this study completes and removes it")
    return lines


def _give_name(study_dir: Path, name: str) -> None:
    for path in study_dir.glob("runs/*/run.json"):
        give_to(path.parent, name)
    plan = records.read_json(study_dir / "plan.json")
    records.write_json(study_dir / "plan.json", {**plan, "study": name})


def _intent(study_dir: Path) -> dict[str, Any] | None:
    intent = records.read_passing(study_dir / _FILE)
    return intent if isinstance(intent, dict) else None


def _trash(study_dir: Path) -> list[Path]:
    """Return the folders beside a study whose deletion was cut short."""
    beside = study_dir.absolute().parent.glob(f".*{_DELETED}*")
    return [path for path in beside if path.is_dir() and not path.is_symlink()]


def _copies(study_dir: Path) -> list[Path]:
    return [path for path in study_dir.glob("runs/.*") if path.is_dir() and not path.is_symlink()]


def _partial(study_dir: Path) -> Iterator[Path]:
    """Yield the partial files below a folder that killed processes have left.

    Of this machine's, those whose process has ended. Whether another machine's process lives cannot
    be seen: its files count once they are a day old, as no write takes that long.
    """
    for parent, _, names in os.walk(study_dir):
        for name in names:
            writer = atomic.writer(name) if name.startswith(".") else None
            if writer is not None and _is_dead(path := Path(parent, name), *writer):
                yield path


def _is_dead(path: Path, pid: int, host: str | None) -> bool:
    if host == socket.gethostname():
        return not leases.born(pid)
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > _OLD
    return False


def _remove(path: Path) -> None:
    """Delete a file or folder that another process may be deleting too."""
    while path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):
            shutil.rmtree(path)
    path.unlink(missing_ok=True)
