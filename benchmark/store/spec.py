"""What a run is asked to do, as types. Plain data is for files and between processes."""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Protocol

from prism.algos.core.agent import POLICIES, Agent
from prism.algos.core.settings import setting

from ..envs.config import EnvConfig, from_dict
from ..util.errors import ConfigError, check_recorded
from ..util.secrets import reveal
from .agents import agent_class, policies

WANDB_MODES = ("auto", "online", "offline", "disabled")


class AlgoConfig(Protocol):
    """What every agent's ``Config`` has; its other settings are known to the agent alone."""

    agent: str  # a registered name, or "module:Class"
    lanes: int  # parallel environments per seed (``num_envs`` elsewhere)
    reset: str  # each | shared | wait


@dataclass
class EvaluationConfig:
    """How agents are scored: episodes on environments of their own, which training never sees."""

    episodes: int = setting(20, "episodes of the final evaluation, the final score", ge=1)
    periodic_episodes: int = setting(5, "episodes of an evaluation during training", ge=1)
    every: int | None = setting(
        None, "environment steps of one seed between evaluations; null: budget / 20; 0: none", ge=0
    )
    seed: int = setting(12345, "of the episodes, which are the same for every algorithm", ge=0)
    policy: str | None = setting(
        None,
        "the form in which a policy is evaluated: its likeliest or best action, or sampled;"
        " null: the agent's default, see prism help algo=<name>",
        choices=POLICIES,
    )
    also: str | None = setting(
        None,
        "a form for a second final evaluation of the same episodes, in final/return_<form>",
        choices=POLICIES,
    )

    @staticmethod
    def steps_between(every: int | None, budget: int) -> int:
        """Return the steps between periodic evaluations that ``every`` means; 0 = none."""
        return max(1, budget // 20) if every is None else every


@dataclass
class Limits:
    """What one job may use; a job beyond a limit is ended, and its runs say so."""

    memory: float | None = setting(None, "GB of resident memory; null: no limit", ge=0)
    timeout: float | None = setting(None, "seconds of one attempt; null: no limit", ge=0)
    hang: float | None = setting(
        600.0, "seconds without a step of training or evaluation; null: no limit", ge=0
    )


@dataclass
class TrackingConfig:
    """Where metrics are mirrored to; the files of the run folder are always written."""

    sinks: list[str] = setting(["wandb"], "trackers, each a registered name or module:Class")
    wandb: str = setting("auto", "auto: online with a login, else offline", choices=WANDB_MODES)
    project: str = setting("prism", "W&B project")
    entity: str | None = setting(None, "W&B user or team; null: the login's own")
    job_type: str = setting("train", "W&B job type")
    tags: list[str] = setting([], "W&B tags beside the study, algorithm and environment")
    notes: str | None = setting(None, "W&B notes")
    report: bool = setting(
        False, "send the study's plan and report to W&B when its sweep ends; it takes a minute"
    )
    artifacts: bool = setting(False, "the last and the best weights, as W&B artifacts")
    video: bool = setting(
        False, "a video of the first evaluation episode, in the run folder and on W&B"
    )
    git_diff: bool = setting(
        True, "keep how the checkout differs from its commit, in the study's folder"
    )

    @property
    def active(self) -> list[str]:
        """Return the sinks that take rows; W&B has a mode in which it takes none."""
        return [name for name in self.sinks if name != "wandb" or self.wandb != "disabled"]


@dataclass(frozen=True, eq=False)
class RunSpec:
    """One variant on one environment, without its seeds: parsed once, then read by attributes.

    Attributes:
        algo: the agent's settings, of the agent's own ``Config``; env: the environment.
        evaluation: how it is scored; budget: environment steps per seed.
        log_every: steps between rows of metrics; None = budget / 200.
        checkpoint_every: seconds; 0 = never.
        device: of torch; threads: of one job.
        tracking: mirrors; limits: what a job may use.
        record: the same as plain data for files, in which secrets are references.
    """

    algo: AlgoConfig
    env: EnvConfig
    evaluation: EvaluationConfig
    budget: int
    log_every: int | None
    checkpoint_every: float
    device: str
    threads: int
    tracking: TrackingConfig
    limits: Limits
    record: dict[str, Any]

    @classmethod
    def parse(cls, record: Mapping[str, Any]) -> "RunSpec":
        """Read plain data, as a plan or a run's record holds it; what is absent has its default.

        Raises:
            ConfigError: one line that names the key: an unknown one, a value out of range, an agent
                that is not here, or an environment variable that is not set.
        """
        algo = reveal(record["algo"], "algo")
        return cls(
            algo=_build(agent_class(algo["agent"]).Config, algo, "algo"),
            env=from_dict(record["env"]),
            evaluation=_build(EvaluationConfig, record["evaluation"], "evaluation"),
            budget=record["budget"],
            log_every=record["log_every"],
            checkpoint_every=record["checkpoint_every"],
            device=record["device"],
            threads=record["threads"],
            tracking=_build(TrackingConfig, record.get("tracking") or {}, "tracking"),
            limits=_build(Limits, record.get("limits") or {}, "limits"),
            record=dict(record),
        )

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RunSpec) and self.record == other.record

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle the record alone: who reads it reveals its references, and knows the secrets."""
        return RunSpec.parse, (self.record,)

    def changed(self, changes: Mapping[str, Any]) -> "RunSpec":
        """Return this with some dotted keys ("evaluation.every") set to other values."""
        record = deepcopy(self.record)
        for key, value in changes.items():
            *path, last = key.split(".")
            node = record
            for part in path:
                node = node[part]
            node[last] = value
        return RunSpec.parse(record)

    @property
    def agent(self) -> type[Agent]:
        """Return the agent's class."""
        return agent_class(self.algo.agent)

    @property
    def policy(self) -> str:
        """Return the form in which the policy is evaluated: the one asked for, or the default."""
        return self.evaluation.policy or policies(self.agent, self.algo)[0]

    @property
    def unsupported(self) -> str | None:
        """Say in one clause which evaluation is impossible for this agent, or None if none is."""
        forms = policies(self.agent, self.algo)
        for key, form in (("policy", self.evaluation.policy), ("also", self.evaluation.also)):
            if form is not None and form not in forms:
                return f"evaluation.{key}={form}: its policy is evaluated {' or '.join(forms)} only"
        return None

    @property
    def gamma(self) -> float:
        """Return the agent's discount; 1 where it has none."""
        return float(getattr(self.algo, "gamma", 1.0))

    @property
    def cpus(self) -> int:
        """Return how many jobs of one process a job counts as; an agent of processes says."""
        return int(getattr(self.algo, "cpus", 1))

    @property
    def cores(self) -> int:
        """Return how many cores a job keeps busy: what to ask a cluster for."""
        return self.cpus * self.threads

    @property
    def row_every(self) -> int:
        """Return the steps between rows of metrics."""
        return self.log_every or max(1, self.budget // 200)

    @property
    def evaluate_every(self) -> int:
        """Return the steps between periodic evaluations; 0 = none."""
        return self.evaluation.steps_between(self.evaluation.every, self.budget)


def _build(config: type, values: Mapping[str, Any], key: str) -> Any:
    """Return a config dataclass made of plain values; errors name the key."""
    check_recorded(key, values, config)
    try:
        return config(**values)
    except ConfigError:
        raise
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{key}.{error}") from None
