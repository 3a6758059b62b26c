"""Evaluations during training: which seeds of a job are evaluated, and with which agent."""

from collections.abc import Callable, Sequence

import numpy as np
import torch

from prism.algos.core.agent import Agent

from ..envs.episodes import FINAL, PERIODIC
from ..store.checkpoint import take_seed
from ..store.spec import RunSpec
from .build import build_agent
from .evaluate import EvaluationResult, Evaluator


class Evaluations:
    """Evaluates those of K seeds that are due.

    Where lanes never wait, all seeds are due at the same tick and are evaluated together. Where
    lanes wait, each seed is due at its own tick. It is then evaluated alone, with a single-seed
    agent that gets a copy of its policy, so that the other seeds cost nothing. Results are the same
    to the bit either way.

    Args:
        spec: of the job. seeds: the K seeds. device: the agent's device.

    Attributes:
        failed: seed index -> why its environments failed in the last evaluation.
    """

    def __init__(self, spec: RunSpec, seeds: Sequence[int], device: torch.device) -> None:
        together = spec.algo.reset == "each" or len(seeds) == 1
        self._alone = [] if together else [build_agent(spec, [seed], device) for seed in seeds]
        self._evaluators = {  # of all seeds, or one for each
            prefix: [
                Evaluator(spec, members, purpose, episodes, device)
                for members in ([list(seeds)] if together else [[seed] for seed in seeds])
            ]
            for prefix, purpose, episodes in (
                ("eval", PERIODIC, spec.evaluation.periodic_episodes),
                ("final", FINAL, spec.evaluation.episodes),
            )
        }
        self.failed: dict[int, str] = {}

    def __call__(
        self,
        prefix: str,
        agent: Agent,
        due: np.ndarray,
        tick: Callable[[], None] = lambda: None,
        form: str | None = None,
    ) -> EvaluationResult:
        """Evaluate the seeds that are ``due [K]``; the result's rows of others have no meaning.

        Args:
            prefix: "eval" or "final".
            agent: of the K seeds. due: bool.
            tick: called at every step; may raise to abort.
            form: of the policy, greedy or sampled; None: the form that the spec names.
        """
        if not self._alone:
            (evaluator,) = self._evaluators[prefix]
            result = evaluator(agent, tick, policy=form)
            self.failed = evaluator.failed
            return result
        policy, self.failed = agent.state()["policy"], {}
        parts: dict[int, EvaluationResult] = {}
        for k in np.flatnonzero(due).tolist():
            self._alone[k].load({"policy": take_seed(policy, k)})
            evaluator = self._evaluators[prefix][k]
            parts[k] = evaluator(self._alone[k], tick, policy=form)
            if evaluator.failed:
                self.failed[k] = evaluator.failed[0]
        return _joined(parts, len(self._alone))

    def close(self) -> None:
        """Close the environments."""
        for evaluators in self._evaluators.values():
            for evaluator in evaluators:
                evaluator.close()


def _joined(parts: dict[int, EvaluationResult], k: int) -> EvaluationResult:
    """Join the results of single seeds into one of ``k`` seeds; NaN for seeds without a result."""
    first = next(iter(parts.values()))
    whole = EvaluationResult(*(np.full((k, *x.shape[1:]), np.nan) for x in first))
    for seed, part in parts.items():
        for rows, x in zip(whole, part, strict=True):
            rows[seed] = x[0]
    return whole
