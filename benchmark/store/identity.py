"""Run and job ids, equal only for the same experiment, and the hash of the evaluation protocol."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prism.algos.core.settings import defaults

from ..envs import outside
from ..envs.config import EnvConfig
from ..envs.episodes import FINAL, PERIODIC
from ..envs.simulators import simulators
from ..util.secrets import followed
from ..util.versions import version
from .agents import agent_name, policies
from .spec import EvaluationConfig, RunSpec

# These keys do not change what is computed.
NOT_IDENTITY = {
    *("name", "label", "random_score", "reference_score", "score_source", "budget", "ends"),
    *("record", "lowest_score", "highest_score", "native"),
}


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
    """Return a dataclass's defaults as plain data; a field without one has no entry."""

    def plain(value: Any) -> Any:
        nested = dataclasses.is_dataclass(value) and not isinstance(value, type)
        return dataclasses.asdict(value) if nested else value

    return {name: plain(value) for name, value in defaults(config_class).items()}


def identity(spec: RunSpec) -> dict[str, Any]:
    """Return what makes two runs the same experiment: only what differs from the code's defaults.

    So a new config field with a default changes no id, and neither does the place, the device or
    the other seeds of its job.
    """
    evaluation = dataclasses.asdict(spec.evaluation)
    if evaluation["every"] == EvaluationConfig.steps_between(None, spec.budget):
        evaluation["every"] = None  # the default, written out
    if evaluation["policy"] == policies(spec.agent, spec.algo)[0]:
        evaluation["policy"] = None
    algo, env = followed(spec.record["algo"]), followed(spec.record["env"])
    return {
        "agent": agent_name(algo["agent"]),
        "algo": _differing(algo, _defaults(spec.agent.Config)),
        "env": _differing(env, _defaults(EnvConfig)),
        "evaluation": _differing(evaluation, _defaults(EvaluationConfig)),
        "budget": spec.budget,
    }


def run_id(spec: RunSpec, algo: str, env: str, seed: int) -> str:
    """Return a run's id: readable, and equal only for runs of the same experiment and seed."""
    return f"{slug(algo)}-{slug(env)}-s{seed}-{digest([identity(spec), algo, seed])}"


def job_id(spec: RunSpec, algo: str, env: str, seeds: Sequence[int]) -> str:
    """Return the id of a job, the seeds of one cell trained together."""
    return f"{slug(algo)}-{slug(env)}-k{len(seeds)}-{digest([identity(spec), algo, *seeds])}"


def protocol(spec: RunSpec, purpose: str = FINAL) -> tuple[str, dict[str, Any]]:
    """Return what identifies the evaluation side of a run, and the facts that it covers.

    It is a hash of how episodes come about, "-", and the form in which the policy is evaluated.
    Scores with different hashes are not comparable. Agents whose policies are evaluated in
    different forms are, where it is said. Training wrappers are not part of it.

    Args:
        spec: of the run.
        purpose: of the evaluation that gives the score.
    """
    env, evaluation = spec.env, spec.evaluation
    facts: dict[str, Any] = {
        "env": env.id,
        "kwargs": dict(spec.record["env"].get("kwargs") or {}),
        "horizon": env.horizon,
        "episodes": evaluation.episodes,
        "periodic_episodes": evaluation.periodic_episodes,
        "evaluation_seed": evaluation.seed,
        "streams": [PERIODIC, purpose],
        "gymnasium": version("gymnasium"),
    }
    facts |= {name: version(name) for name in simulators(env.id)}
    if extra := outside.applied(spec.record["env"]["wrappers"].get("extra", ()), training=False):
        facts["wrappers"] = extra
    return f"{digest(followed(facts))}-{spec.policy}", facts | {"policy": spec.policy}
