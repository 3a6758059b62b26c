"""Who a run is: ids that are equal only for the same experiment, and the evaluation protocol."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from prism.algos.core.settings import defaults

from ..envs.config import EnvConfig
from ..envs.simulators import simulators
from ..util.secrets import followed
from ..util.versions import version
from .agents import agent_class, agent_name
from .job import Evaluation

# Names, scores and the budget's source say nothing about what is computed.
NOT_IDENTITY = {
    *("name", "label", "random_score", "reference_score", "score_source", "budget", "ends"),
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
        "agent": agent_name(algo["agent"]),
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
        "gymnasium": version("gymnasium"),
    }
    facts |= {name: version(name) for name in simulators(env["id"])}
    return digest(followed(facts)), facts
