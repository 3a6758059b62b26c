"""Evaluation: greedy episodes on separate environments and random streams; training is unaffected.

Every lane (parallel environment) plays one episode assigned in advance, because taking the first
episodes to finish would favour short ones. The episodes' seeds come from ``evaluation.seed``, so
every algorithm and every training seed plays the same episodes.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from prism.algos.core.agent import Agent, HasMemory

from ..envs import facts
from ..envs.table import vector_env
from ..store import checkpoint, records
from ..store.schema import SCHEMA_VERSION, WEIGHTS, RunRecord
from ..store.spec import RunSpec
from ..util.errors import ConfigError, unknown
from .build import build_agent

_CPU = torch.device("cpu")


class EvaluationResult(NamedTuple):
    """Outcome of one evaluation of K seeds on E episodes each."""

    returns: np.ndarray  # [K, E] raw returns; NaN where an environment failed
    lengths: np.ndarray  # [K, E]
    predicted: np.ndarray  # [K] mean predicted value of the visited states; NaN without a critic
    realised: np.ndarray  # [K] mean discounted return from those states
    facts: np.ndarray  # [K, F] means of the env.record entries; NaN where no episode reported one


class Evaluator:
    """Plays the same E episodes for each of K seeds.

    Args:
        spec: defines the environment, used without its reward wrappers, and the episodes' seed.
        k: number of seeds, K.
        episodes: episodes per seed, E.
        device: the agent's device.
    """

    def __init__(self, spec: RunSpec, k: int, episodes: int, device: torch.device) -> None:
        seeds, self._gamma, self._device = [spec.evaluation.seed] * k, spec.gamma, device
        self._env = vector_env(
            spec.env,
            seeds,
            episodes,
            gamma=spec.gamma,
            training=False,
            reset="wait",
            purpose="eval",
        )
        self._facts = len(spec.env.record)

    def __call__(self, agent: Agent, tick: Callable[[], None] = lambda: None) -> EvaluationResult:
        """Play the episodes greedily; ``tick`` is called at every step and may raise to abort."""
        begin_acting(agent)
        obs = self._env.reset()
        returns = np.full(obs.shape[:2], np.nan)
        total, length = np.zeros(obs.shape[:2]), np.zeros(obs.shape[:2], np.int64)
        live = np.ones(obs.shape[:2], bool)
        track = _ValueTrack(obs.shape[:2], self._gamma)
        while live.any():
            tick()
            action, memo = agent.act(torch.from_numpy(obs).to(self._device), explore=False)
            step = self._env.step(action.cpu().numpy())
            total += np.where(step.valid, step.reward, 0)
            length += step.valid
            track.add(memo.get("value"), step.reward, step.terminated, step.valid)
            ended = (step.terminated | step.truncated) & live
            returns[ended] = total[ended]
            live &= step.valid & ~ended
            obs = step.next_obs
        last = agent.act(torch.from_numpy(obs).to(self._device), explore=False)[1].get("value")
        means = facts.means(self._env.drain(), self._facts)
        return EvaluationResult(returns, length, *track.means(last), means)

    @property
    def failed(self) -> dict[int, str]:
        """Return why the environments of a seed failed in the last evaluation."""
        return self._env.failed

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


def begin_acting(agent: Agent) -> None:
    """Tell an agent with a memory that greedy acting begins anew."""
    if isinstance(agent, HasMemory):
        agent.forget()


class _ValueTrack:
    """Predicted values against realised discounted returns (van Hasselt et al. 2016, figure 3).

    A truncated episode is continued by the value predicted for its last state.
    """

    def __init__(self, grid: tuple[int, ...], gamma: float) -> None:
        self._gamma = gamma
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._open = np.ones(grid, bool)  # not terminated, so a bootstrap is due

    def add(self, value: Any, reward: Any, terminated: Any, valid: Any) -> None:
        """Keep one tick."""
        if value is not None:
            self._rows.append((value.cpu().numpy(), np.asarray(reward), np.asarray(valid)))
            self._open &= ~terminated

    def means(self, last_value: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return mean predicted and realised values over the visited states, ``[K]`` each."""
        if not self._rows:
            nothing = np.full(self._open.shape[0], np.nan)
            return nothing, nothing
        after = np.where(self._open, last_value.cpu().numpy(), 0.0)
        predicted, realised, count = (np.zeros(after.shape) for _ in range(3))
        for value, reward, valid in reversed(self._rows):
            # the first value behind an episode is that of its last state, with what led there
            behind = np.where(self._open, value, 0.0)
            after = np.where(valid, reward + self._gamma * after, behind)
            predicted += np.where(valid, value, 0)
            realised += np.where(valid, after, 0)
            count += valid
        states = np.maximum(count.sum(1), 1)
        return predicted.sum(1) / states, realised.sum(1) / states


def evaluate_run(run_dir: Path, episodes: int) -> dict[str, Any]:
    """Evaluate a finished run's weights on new episodes.

    Returns:
        ``{"run_id", "episodes", "mean", "std", "min", "max", "length"}``, returns raw, and the mean
        of each of ``env.record`` under ``eval/<name>``; None where no episode had it.

    Raises:
        ConfigError: there is no run, it has no weights, or the environment fails.
    """
    record, spec, agent = load_run(run_dir)
    evaluator = Evaluator(spec, 1, episodes, _CPU)
    result = evaluator(agent)
    evaluator.close()
    if evaluator.failed:
        raise ConfigError(f"run {run_dir.name}: its environment fails: {evaluator.failed[0]}")
    returns = result.returns[0]
    return {
        "run_id": record["run_id"],
        "episodes": episodes,
        "mean": float(returns.mean()),
        "std": float(returns.std(ddof=1)) if episodes > 1 else None,
        "min": float(returns.min()),
        "max": float(returns.max()),
        "length": float(result.lengths[0].mean()),
    } | {
        f"eval/{name}": None if np.isnan(mean) else float(mean)
        for name, mean in zip(spec.env.record, result.facts[0], strict=True)
    }


def load_run(run_dir: Path) -> tuple[RunRecord, RunSpec, Agent]:
    """Return a finished run's record, its spec, and its trained agent with K = 1.

    Raises:
        ConfigError: there is no run, it has another schema, it has no weights, or they do not fit
            the agent.
    """
    record: RunRecord | None = records.read_json(run_dir / "run.json")
    if record is None:
        siblings = [p.name for p in run_dir.parent.iterdir()] if run_dir.parent.is_dir() else []
        raise unknown("run", run_dir.name, siblings)
    if record.get("schema") != SCHEMA_VERSION:
        raise ConfigError(
            f"run {run_dir.name} has schema {record.get('schema')}, this version reads "
            f"{SCHEMA_VERSION}: use the Prism that wrote it"
        )
    if not (run_dir / WEIGHTS).exists():
        raise ConfigError(f"run {run_dir.name} has no weights: it is not finished")
    spec = RunSpec.parse(record["config"])
    torch.set_num_threads(spec.threads)
    agent = build_agent(spec, [0], _CPU)
    weights = checkpoint.load(run_dir / WEIGHTS)
    try:
        agent.load({"policy": weights})
    except ValueError as error:  # e.g. weights of a version with other parameter names
        raise ConfigError(f"{run_dir / WEIGHTS} is not of this agent: {error}") from None
    return record, spec, agent
