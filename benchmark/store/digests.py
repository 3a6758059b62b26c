"""Digests: how a reader knows that a file is what Prism wrote.

``plan.json`` and ``status.json`` hold a digest of themselves. The ``status.json`` of a finished run
also holds the digest of every file that its result is made of, and the run's id. Whoever uses such
a file asks ``fault`` first. Sizes are compared at the cost of a look at the folder; a file whose
size is right is read and hashed. This module imports nothing of Prism but the schema.
"""

import hashlib
import json
import stat
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from . import schema

RECORD, METRICS, COPY = "run.json", "metrics.jsonl", "metrics.parquet"
TIMING = "timing.jsonl"
SEALED = ("plan.json", "status.json")  # hold a digest of themselves
FILES = (RECORD, METRICS, COPY, TIMING, schema.WEIGHTS, schema.BEST, schema.ARRAYS)

REMEDY = "prism resume computes the run again"

_TICK = 2.0  # seconds; two changes within a tick of a file system's clock look like one
_OWN = "digest"  # the key of a file's digest of itself
_GIVEN = "study"  # the key of run.json that a rename or merge changes

_whole: dict[tuple[Path, Collection[str]], int] = {}  # what this process has found to be whole


def sealed(value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a JSON object with a digest of itself."""
    bare = {key: x for key, x in value.items() if key != _OWN}
    return bare | {_OWN: _of_values(bare)}


def unsealed(value: dict[str, Any]) -> dict[str, Any]:
    """Return a JSON object without the digest of itself; older versions wrote none.

    Raises:
        ValueError: its values are not those that the digest was made of.
    """
    bare = {key: x for key, x in value.items() if key != _OWN}
    if _OWN in value and value[_OWN] != _of_values(bare):
        raise ValueError("it has changed since Prism wrote it")
    return bare


def take(folder: Path, run_id: str) -> schema.Digests:
    """Return the digests of a run that finishes."""
    files = {name: _entry(folder / name) for name in FILES if (folder / name).exists()}
    return schema.Digests(run_id=run_id, files=files)


def known(status: Mapping[str, Any]) -> bool:
    """Return whether the status of a finished run has digests; older versions wrote none."""
    return status.get("digests") is not None


def fault(
    folder: Path,
    status: Mapping[str, Any],
    names: Collection[str] = FILES,
    deep: bool = True,
) -> str:
    """Return what is wrong with the files of a finished run, in words; "" if nothing is.

    Args:
        folder: the run's folder.
        status: its status.
        names: which files to check; those that the run never had are passed over.
        deep: compare digests too, not only sizes.
    """
    try:
        run_id, promised = _promised(folder, status)
    except (KeyError, TypeError, AttributeError):
        return "status.json: its digests cannot be read"
    if run_id != folder.name:
        return f"status.json is that of {run_id}"
    seen = []
    for name in (name for name in promised if name in names):
        try:
            at = (folder / name).stat()
        except OSError:
            return f"{name} is missing"
        if not stat.S_ISREG(at.st_mode):
            return f"{name} is not a file"
        size = promised[name].get("size")
        if size is not None and at.st_size != size:
            return f"{name} has {at.st_size} bytes; it had {size} when the run finished"
        seen.append((name, promised[name].get("sha256"), at.st_ino, at.st_mtime, at.st_ctime))
    if not deep or _whole.get((folder, names)) == hash(tuple(seen)):
        return ""
    for name, digest, *_ in seen:
        try:
            if digest is not None and _entry(folder / name)["sha256"] != digest:
                return f"{name} has changed since the run finished"
        except (OSError, ValueError, RecursionError, AttributeError) as error:
            return f"{name} cannot be read ({error})"
    if all(time.time() - changed > _TICK for *_, changed in seen):
        _whole[folder, names] = hash(tuple(seen))
    return ""


def _promised(folder: Path, status: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the id and the files that a status tells of; older ones know one file's size."""
    if known(status):
        digests = status["digests"]
        return digests["run_id"], {name: dict(x) for name, x in digests["files"].items()}
    size = status.get("size")
    return folder.name, {} if size is None else {METRICS: {"size": size}}


def _entry(path: Path) -> schema.FileDigest:
    if path.name == RECORD:
        values = {key: x for key, x in json.loads(path.read_bytes()).items() if key != _GIVEN}
        return schema.FileDigest(size=None, sha256=_of_values(values))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return schema.FileDigest(size=file.tell(), sha256=digest)


def _of_values(value: Any) -> str:
    """Return the SHA-256 of a JSON value, however it is written."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
