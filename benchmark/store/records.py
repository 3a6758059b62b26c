"""Reads and writes the small files of a study's folder as a whole."""

import json
import platform
import sys
from functools import cache
from pathlib import Path
from typing import Any

from ..envs.reproducible import irreproducible
from ..util import atomic, versions
from ..util.errors import ConfigError
from ..util.secrets import clean, clean_text
from . import digests, identity, provenance, reader, schema
from .job import Job

_LONGEST = 200  # bytes of a study's name: file systems allow 255, minus room for a suffix
_NOT_RECORDED = ("tracking", "limits")  # parts of a job's config that change no result
_VERSIONS = ("torch", "gymnasium", "numpy", "hydra-core", "wandb")


def _machine() -> str:
    """Return the kind of machine, such as "Linux x86_64"."""
    return f"{platform.system()} {platform.machine()}"


def write_json(path: Path, value: Any, sync: bool = False) -> None:
    """Write JSON without secrets; a reader sees the whole old file or the whole new one.

    With ``sync`` this holds even after a power cut. A plan or status gets a digest of itself.
    """
    value = clean(value)
    if path.name in digests.SEALED:
        value = digests.sealed(value)
    atomic.write(path, (json.dumps(value, indent=1) + "\n").encode(), sync)


def write_text(path: Path, text: str) -> None:
    """Write text without secrets."""
    path.write_text(clean_text(text))


def study_name(key: str, name: str) -> str:
    """Return a study's name if it is valid as the name of a folder.

    Raises:
        ConfigError: it is empty, contains a path or a control character, begins with a dot, or is
            longer than file systems allow.
    """
    long = len(name.encode(errors="replace")) > _LONGEST
    if not reader.is_name(name) or name != name.strip() or long:
        raise ConfigError(f"{key}={name!r} is not the name of a folder")
    return name


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, held to its type in ``schema.py``; None if there is none.

    Raises:
        ConfigError: the file is broken, as after a power cut or on a full disk, or holds what no
            Prism writes; see ``reader.read``.
    """
    return reader.read(path)


def read_passing(path: Path) -> Any:
    """Return the content of a file that will be rewritten anyway; None if it is broken or absent.

    A broken file is reported once per process.
    """
    try:
        return read_json(path)
    except ConfigError as error:
        say_once(f"{error}: treated as missing")
        return None


@cache
def say_once(line: str) -> None:
    """Print a line to stderr, unless this process has said it already."""
    print(line, file=sys.stderr, flush=True)


def read_status(run_dir: Path) -> schema.Status | None:
    """Return a run's status; None if it never started or its status.json is broken."""
    status: schema.Status | None = read_passing(run_dir / "status.json")
    return status


def read_record(run_dir: Path) -> schema.RunRecord | None:
    """Return what a run was; None if it never started or its run.json is broken."""
    record: schema.RunRecord | None = read_passing(run_dir / "run.json")
    return record


def run_dir(job: Job, run: str) -> Path:
    """Return the folder of one run of a job."""
    return Path(job.study_dir) / "runs" / run


def job_dir(job: Job) -> Path:
    """Return the folder of a job: its checkpoint, heartbeat and log."""
    return Path(job.study_dir) / "jobs" / job.job_id


def run_record(job: Job, k: int) -> schema.RunRecord:
    """Return the content of ``run.json`` for seed ``k`` of a job."""
    env = job.spec.env
    protocol_hash, facts = identity.protocol(job.spec)
    return schema.RunRecord(
        schema=schema.SCHEMA_VERSION,
        run_id=job.run_ids[k],
        job_id=job.job_id,
        study=job.study,
        variant=job.variant,
        algo=job.algo,
        env=job.env,
        seed=job.seeds[k],
        budget=job.spec.budget,
        config={key: x for key, x in job.spec.record.items() if key not in _NOT_RECORDED},  # type: ignore[typeddict-item]
        scores={
            "random": env.random_score,
            "reference": env.reference_score,
            "lowest": env.lowest_score,
            "highest": env.highest_score,
        },
        protocol=protocol_hash,
        protocol_facts=facts,
        code=provenance.code_hash(job.spec),
        git=provenance.git_sha(),
        versions={name: versions.version(name) for name in _VERSIONS}
        | {"python": platform.python_version(), "machine": _machine()},
        tuned=job.tuned,
        irreproducible=irreproducible(job.spec.record["env"]),
        pack={
            "seeds": job.seeds,
            "device": job.spec.device,
            "threads": job.spec.threads,
        },
    )
