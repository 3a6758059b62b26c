"""Evaluation: episodes on separate environments and random streams; training is unaffected.

A policy is played greedily or sampled, as ``evaluation.policy`` or else its agent says. A sampled
one draws from streams of the run's seed and the episode, which begin anew with every evaluation.
Each purpose of an evaluation (``envs.episodes``) has episodes of its own.

Every lane (parallel environment) plays one episode assigned in advance, because taking the first
episodes to finish would favour short ones. The episodes' seeds come from ``evaluation.seed``, so
every algorithm and every training seed plays the same episodes.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from prism.algos.core.agent import SAMPLED, Agent, HasMemory
from prism.algos.core.rng import Draws

from ..envs import facts
from ..envs.episodes import NEW
from ..envs.table import vector_env
from ..envs.wrappers import TrainingReward
from ..store import checkpoint, digests, identity, records, trust
from ..store.agents import policies, valued
from ..store.schema import FINISHED, WEIGHTS, RunRecord
from ..store.spec import RunSpec
from ..util.errors import ConfigError, one_line, unknown
from ..util.files import check_inside
from .build import build_agent

_CPU = torch.device("cpu")


class EvaluationResult(NamedTuple):
    """Outcome of one evaluation of K seeds on E episodes each."""

    returns: np.ndarray  # [K, E] raw returns; NaN where an environment failed
    lengths: np.ndarray  # [K, E]; NaN, as all of a seed's results, where it was not played
    predicted: np.ndarray  # [K] mean predicted value of the visited states; NaN: not comparable
    realised: np.ndarray  # [K] mean discounted return from those states, in the agent's rewards
    facts: np.ndarray  # [K, F] means of the env.record entries; NaN where no episode reported one


class Evaluator:
    """Plays the same E episodes for each of K seeds.

    Args:
        spec: defines the environment, used without its reward wrappers, and the episodes' seed.
        seeds: the K seeds of the runs, from which sampled policies draw.
        purpose: which episodes are played, one of ``envs.episodes.EVALUATIONS``.
        episodes: episodes per seed, E.
        device: the agent's device.
    """

    def __init__(
        self,
        spec: RunSpec,
        seeds: Sequence[int],
        purpose: str,
        episodes: int,
        device: torch.device,
    ) -> None:
        self._spec, self._seeds, self._purpose, self._device = spec, seeds, purpose, device
        self._env = vector_env(
            spec.env,
            [spec.evaluation.seed] * len(seeds),
            episodes,
            gamma=spec.gamma,
            training=False,
            reset="wait",
            purpose=purpose,
        )
        self._facts = len(spec.env.record)

    def __call__(
        self,
        agent: Agent,
        tick: Callable[[], None] = lambda: None,
        seeds: np.ndarray | None = None,
        policy: str | None = None,
    ) -> EvaluationResult:
        """Play the episodes.

        Args:
            agent: whose policies play.
            tick: called at every step; may raise to abort.
            seeds: ``[K]`` bool, which seeds play; None = all.
            policy: greedy | sampled; None: as the spec says.
        """
        obs = self._env.reset(seeds)
        grid = obs.shape[:2]
        played = np.ones(grid[0], bool) if seeds is None else np.asarray(seeds)
        act = acting(agent, self._spec, self._seeds, self._purpose, grid[1], policy)
        returns = np.full(grid, np.nan)
        total, length = np.zeros(grid), np.where(played[:, None], np.zeros(grid), np.nan)
        live = np.repeat(played[:, None], grid[1], 1)
        track = _ValueTrack(grid, self._spec, policy or self._spec.policy)
        while live.any():
            tick()
            action, memo = act(torch.from_numpy(obs).to(self._device))
            step = self._env.step(action.cpu().numpy())
            total += np.where(step.valid, step.reward, 0)
            length += step.valid
            track.add(memo.get("value"), step.reward, step.terminated, step.valid)
            ended = (step.terminated | step.truncated) & live
            returns[ended] = total[ended]
            live &= step.valid & ~ended
            obs = step.next_obs
        last = act(torch.from_numpy(obs).to(self._device))[1].get("value")
        means = facts.means(self._env.drain(), self._facts)
        return EvaluationResult(returns, length, *track.means(last), means)

    @property
    def failed(self) -> dict[int, str]:
        """Return why the environments of a seed failed in the last evaluation."""
        return self._env.failed

    def close(self) -> None:
        """Close the environments."""
        self._env.close()


def acting(
    agent: Agent,
    spec: RunSpec,
    seeds: Sequence[int],
    purpose: str,
    lanes: int,
    policy: str | None = None,
) -> Callable[[torch.Tensor], tuple[torch.Tensor, dict[str, torch.Tensor]]]:
    """Return how an agent acts in an evaluation; what it remembers begins anew.

    Args:
        agent: whose policies play.
        spec: of its runs.
        seeds: the K seeds of the runs.
        purpose: of the evaluation.
        lanes: episodes of each seed.
        policy: greedy | sampled; None: as the spec says.
    """
    if isinstance(agent, HasMemory):
        agent.forget()
    if (policy or spec.policy) != SAMPLED:
        return partial(agent.act, explore=False)  # an agent may know of no draws
    members = [(seed, spec.evaluation.seed) for seed in seeds]
    draws = Draws(members, f"{purpose}/act", lanes, spec.device)
    return partial(agent.act, explore=False, draws=draws)


class _ValueTrack:
    """Predicted values against realised discounted returns (van Hasselt et al. 2016, figure 3).

    Like is compared with like: returns are of the rewards that the agent learns from, clipped and
    scaled, and values are those of the policy that is played. There is nothing to compare where
    the agent's values are of another policy or in other units (``valued``), or where its rewards
    cannot be told from the raw ones. A truncated episode is continued by the value predicted for
    its last state.
    """

    def __init__(self, grid: tuple[int, ...], spec: RunSpec, policy: str) -> None:
        self._gamma, self._wrappers = spec.gamma, spec.env.wrappers
        self._comparable = valued(spec.agent, spec.algo) == policy
        self._rows: list[tuple[np.ndarray, ...]] = []
        self._open = np.ones(grid, bool)  # not terminated, so a bootstrap is due

    def add(self, value: Any, reward: Any, terminated: Any, valid: Any) -> None:
        """Keep one tick."""
        reward = TrainingReward.of(self._wrappers, np.asarray(reward))
        if self._comparable and value is not None and reward is not None:
            self._rows.append((value.cpu().numpy(), reward, np.asarray(valid)))
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
        states = np.where(count.any(1), count.sum(1), np.nan)
        return predicted.sum(1) / states, realised.sum(1) / states


def evaluate_run(
    run_dir: Path,
    episodes: int,
    policy: str | None = None,
    purpose: str = NEW,
    seed: int | None = None,
) -> dict[str, Any]:
    """Evaluate a finished run's weights on episodes that neither chose nor scored them.

    Args:
        run_dir: the run's folder.
        episodes: how many.
        policy: greedy | sampled; None: as in its final evaluation.
        purpose: which episodes; FINAL repeats the final score, SELECTION is for choosing.
        seed: of the episodes; None: evaluation.seed of the run.

    Returns:
        An ``Evaluation`` of schema.py without its name and weights; a fact that no episode had is
        None.

    Raises:
        ConfigError: there is no run, it has no weights, the environment fails, or the policy has
            no such form.
    """
    record, spec, agent = load_run(run_dir)
    forms = policies(spec.agent, spec.algo)
    if policy is not None and policy not in forms:
        raise unknown("--policy", policy, forms)
    played = {"evaluation.policy": policy or spec.policy, "evaluation.episodes": episodes}
    spec = spec.changed(played | ({} if seed is None else {"evaluation.seed": seed}))
    evaluator = Evaluator(spec, [record["seed"]], purpose, episodes, _CPU)
    result = evaluator(agent)
    evaluator.close()
    if evaluator.failed:
        raise ConfigError(f"run {run_dir.name}: its environment fails: {evaluator.failed[0]}")
    returns = result.returns[0]
    return {
        "run_id": record["run_id"],
        "policy": spec.policy,
        "stream": purpose,
        "seed": spec.evaluation.seed,
        "protocol": identity.protocol(spec, purpose)[0],
        "episodes": episodes,
        "mean": float(returns.mean()),
        "std": float(returns.std(ddof=1)) if episodes > 1 else None,
        "min": float(returns.min()),
        "max": float(returns.max()),
        "length": float(result.lengths[0].mean()),
        "facts": {
            name: None if np.isnan(mean) else float(mean)
            for name, mean in zip(spec.env.record, result.facts[0], strict=True)
        },
        "returns": returns.tolist(),
    }


def load_run(run_dir: Path) -> tuple[RunRecord, RunSpec, Agent]:
    """Return a finished run's record, its spec, and its trained agent with K = 1.

    Raises:
        ConfigError: there is no run, it has another schema, it has no weights, they do not fit the
            agent, a file has changed since the run finished, or its folder is not trusted or holds
            a link that leads out of it.
    """
    if run_dir.is_dir():
        check_inside(run_dir)
    record: RunRecord | None = records.read_json(run_dir / "run.json")
    if record is None:
        siblings = [p.name for p in run_dir.parent.iterdir()] if run_dir.parent.is_dir() else []
        raise unknown("run", run_dir.name, siblings)
    if not (run_dir / WEIGHTS).exists():
        raise ConfigError(f"run {run_dir.name} has no weights: it is not finished")
    status = records.read_status(run_dir)
    if status is None:
        raise ConfigError(f"run {run_dir.name} has no status: it is not known to be finished")
    finished = status["state"] == FINISHED
    if finished and (why := digests.fault(run_dir, status, (digests.RECORD, WEIGHTS))):
        raise ConfigError(f"run {run_dir.name}: {why}; {digests.REMEDY}")
    spec = trust.spec(record["config"], run_dir.resolve().parent.parent)
    torch.set_num_threads(spec.threads)
    agent = build_agent(spec, [record["seed"]], _CPU)
    weights = checkpoint.load(run_dir / WEIGHTS)
    try:
        agent.load({"policy": weights})
    except Exception as error:  # what a file that is not of this agent makes of loading it
        raise ConfigError(f"{run_dir / WEIGHTS} is not of this agent: {one_line(error)}") from None
    return record, spec, agent
