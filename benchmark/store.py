"""Who a run is (ids and hashes) and where it lies (the run folder's small files)."""

import dataclasses
import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import benchmark.schema as schema
from benchmark import atomic
from benchmark.agents import agent_class
from benchmark.envs.config import EnvConfig
from benchmark.errors import ConfigError
from benchmark.job import Evaluation, Job
from benchmark.secrets import clean, clean_text, followed

_ROOT = Path(__file__).resolve().parent.parent
_PACKAGES = ("algos", "benchmark")  # what makes a run
# Names, scores and the budget's source say nothing about what is computed.
NOT_IDENTITY = {
    *("name", "label", "random_score", "reference_score", "score_source", "budget", "ends"),
}
# The distributions whose version can change what an environment does, by a part of its id.
_SIMULATORS = {"MinAtar": "minatar", "Lunar": "box2d", "Bipedal": "box2d", "ALE": "ale-py"}
_MUJOCO = re.compile(
    r"(Cheetah|Hopper|Walker2d|Ant|Humanoid|Swimmer|Reacher|Pusher|Inverted).*-v\d"
)
_LONGEST = 200  # bytes of a study's name: file systems take 255, and a suffix has to fit
_NOT_RECORDED = ("tracking", "limits")  # of a job's config: they change no result
_VERSIONS = ("torch", "gymnasium", "numpy", "hydra-core", "wandb")


def slug(text: str) -> str:
    """Return ``text`` in lower case with only letters, digits, dots and single hyphens."""
    return re.sub(r"-+", "-", re.sub(r"[^a-z0-9.]+", "-", text.lower())).strip("-")


def digest(value: Any, length: int = 10) -> str:
    """Return the first ``length`` hex digits of the SHA-256 of a JSON-able value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:length]


def _differing(config: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of ``config`` that differ from ``defaults``, nested ones one by one."""
    out: dict[str, Any] = {}
    for key, value in config.items():
        if key in NOT_IDENTITY:
            continue
        default = defaults.get(key)
        if isinstance(value, Mapping) and isinstance(default, Mapping) and default:
            value = _differing(value, default)
            if value:
                out[key] = value
        elif value != default:
            out[key] = value
    return out


def _defaults(config_class: type) -> dict[str, Any]:
    """Return a dataclass's defaults; a field without one has no entry."""
    out = {}
    for f in dataclasses.fields(config_class):
        if f.default is not dataclasses.MISSING:
            out[f.name] = f.default
        elif f.default_factory is not dataclasses.MISSING:
            value = f.default_factory()
            nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
            out[f.name] = dataclasses.asdict(value) if nested else value
    return out


def identity(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes two runs the same experiment: only what differs from the code's defaults.

    So a new config field with a default changes no id, and neither does the place, the device or
    the company in which a run is computed.
    """
    evaluation = dict(config["evaluation"])
    if evaluation["every"] == Evaluation.steps_between(None, config["budget"]):
        evaluation["every"] = None  # the default, said in numbers
    algo, env = followed(config["algo"]), followed(config["env"])
    return {
        "agent": algo["agent"],
        "algo": _differing(algo, _defaults(agent_class(algo["agent"]).Config)),
        "env": _differing(env, _defaults(EnvConfig)),
        "evaluation": _differing(evaluation, _defaults(Evaluation)),
        "budget": config["budget"],
    }


def run_id(config: Mapping[str, Any], algo: str, env: str, seed: int) -> str:
    """Return a run's id: readable, and equal only for runs of the same experiment and seed."""
    return f"{slug(algo)}-{slug(env)}-s{seed}-{digest([identity(config), algo, seed])}"


def job_id(config: Mapping[str, Any], algo: str, env: str, seeds: Sequence[int]) -> str:
    """Return the id of a job, the seeds of one cell trained together."""
    return f"{slug(algo)}-{slug(env)}-k{len(seeds)}-{digest([identity(config), algo, *seeds])}"


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return "absent"


def protocol(config: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the hash of the evaluation side of a run, and the facts that it covers.

    Scores of different protocols are not comparable. Training wrappers are not part of it.
    """
    env, evaluation = config["env"], config["evaluation"]
    facts: dict[str, Any] = {
        "env": env["id"],
        "kwargs": dict(env.get("kwargs") or {}),
        "horizon": env.get("horizon"),
        "episodes": evaluation["episodes"],
        "periodic_episodes": evaluation["periodic_episodes"],
        "evaluation_seed": evaluation["seed"],
        "gymnasium": _version("gymnasium"),
    }
    for part, distribution in _SIMULATORS.items():
        if part in env["id"]:
            facts[distribution] = _version(distribution)
    if _MUJOCO.match(env["id"]):
        facts["mujoco"] = _version("mujoco")
    return digest(followed(facts)), facts


def code_hash(config: Mapping[str, Any] | None = None) -> str:
    """Return the hash of the code that makes a run: every Python file of algos/ and benchmark/.

    Where a config's agent or ``env.imports`` is of other packages, that of theirs stands behind it.
    """
    named = (config["algo"]["agent"], config["env"].get("imports") or "") if config else ()
    others = {re.split("[.:]", name)[0] for name in named} - {"", *_PACKAGES}
    ours = _hash_of(*_PACKAGES)[:12]
    return f"{ours}-{_hash_of(*sorted(others))[:8]}" if others else ours


@cache
def _hash_of(*packages: str) -> str:
    """Return the hash of every Python file of packages, wherever they are installed."""
    sha = hashlib.sha256()
    for package in packages:
        for root in _roots(package):
            for path in _python_files(root):
                sha.update(str(path.relative_to(root.parent)).encode())
                sha.update(path.read_bytes())
    return sha.hexdigest()


def _roots(package: str) -> list[Path]:
    """Return the folders of a package, or the file of a single module; nothing is imported."""
    try:
        spec = find_spec(package)
    except ValueError:  # the program itself, which is found as no module
        spec = None
    if spec is None:
        return []
    if spec.submodule_search_locations is not None:
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin)] if spec.has_location and spec.origin else []


def _python_files(root: Path) -> Iterator[Path]:
    """Yield the modules at and below a path, in order; a folder beside them is not gone through."""
    if root.suffix == ".py":
        yield root
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(filter(str.isidentifier, folders))  # .venv and its like hold no module
        yield from (Path(folder) / name for name in sorted(files) if name.endswith(".py"))


@cache
def git_sha() -> str | None:
    """Return the checkout's commit, ``+`` behind it if files differ from it; None outside git."""
    try:
        head, dirty = (
            subprocess.run(
                ["git", "-C", str(_ROOT), *args], capture_output=True, text=True, check=True
            ).stdout.strip()
            for args in (["rev-parse", "HEAD"], ["status", "--porcelain", "-uno"])
        )
    except (OSError, subprocess.CalledProcessError):
        return None
    return head + ("+" if dirty else "")


def keep_diff(study_dir: Path) -> None:
    """Keep how the checkout differs from its commit, once for each version of the code."""
    path = study_dir / "code" / f"{code_hash()}.diff"
    if path.exists() or not (git_sha() or "").endswith("+"):
        return
    command = ["git", "-C", str(_ROOT), "diff", "HEAD"]
    diff = subprocess.run(command, capture_output=True, text=True, errors="replace")
    if diff.returncode == 0:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, f"# git {git_sha()}\n{diff.stdout}")


def write_json(path: Path, value: Any, sync: bool = False) -> None:
    """Write JSON, no secret in it, so that a reader sees the old file or the new one whole.

    With ``sync`` this holds after a power cut too.
    """
    atomic.write(path, (json.dumps(clean(value), indent=1) + "\n").encode(), sync)


def write_text(path: Path, text: str) -> None:
    """Write text, no secret in it."""
    path.write_text(clean_text(text))


def study_name(key: str, name: str) -> str:
    """Return a study's name if it can be the name of its folder.

    Raises:
        ConfigError: it is empty, would lie in another folder or is longer than file systems take.
    """
    plain = name == Path(name).name == name.strip() and name != ".." and "\0" not in name
    if not name or not plain or len(name.encode()) > _LONGEST:
        raise ConfigError(f"{key}={name!r} is not the name of a folder")
    return name


def read_json(path: Path) -> Any:
    """Return the content of a JSON file, or None if there is none.

    Raises:
        ConfigError: it is broken, as a power cut or a full disk may leave it.
    """
    try:
        return json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise ConfigError(f"{path} cannot be read ({error})") from None


def read_passing(path: Path) -> Any:
    """Return the content of a file that will be written again; None where it is broken or absent.

    That it is broken is said once in a process.
    """
    try:
        return read_json(path)
    except ConfigError as error:
        _say_once(f"{error}: taken as absent")
        return None


@cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def read_status(run_dir: Path) -> schema.Status | None:
    """Return a run's status; None if it never began, or nobody can tell how far it got."""
    status: schema.Status | None = read_passing(run_dir / "status.json")
    return status


def run_dir(job: Job, run: str) -> Path:
    """Return the folder of one run of a job."""
    return Path(job.study_dir) / "runs" / run


def job_dir(job: Job) -> Path:
    """Return the folder of a job: its checkpoint, heartbeat and log."""
    return Path(job.study_dir) / "jobs" / job.job_id


def run_record(job: Job, k: int) -> schema.RunRecord:
    """Return what ``run.json`` says of seed ``k`` of a job."""
    env = job.config["env"]
    protocol_hash, facts = protocol(job.config)
    return schema.RunRecord(
        schema=schema.SCHEMA_VERSION,
        run_id=job.run_ids[k],
        job_id=job.job_id,
        study=job.study,
        variant=job.variant,
        algo=job.algo,
        env=job.env,
        seed=job.seeds[k],
        budget=job.config["budget"],
        config={key: value for key, value in job.config.items() if key not in _NOT_RECORDED},
        scores={"random": env.get("random_score"), "reference": env.get("reference_score")},
        protocol=protocol_hash,
        protocol_facts=facts,
        code=code_hash(job.config),
        git=git_sha(),
        versions={name: _version(name) for name in _VERSIONS},
        tuned=job.tuned,
        pack={
            "seeds": job.seeds,
            "device": job.config["device"],
            "threads": job.config["threads"],
        },
    )
