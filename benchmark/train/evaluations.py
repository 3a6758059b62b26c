"""The evaluations of a job in training: which of its seeds play, and by which agent."""

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

    Seeds whose lanes never wait are due at the same tick and play together. Where lanes wait, each
    seed is due at a tick of its own: it plays alone, by an agent that has its policy, so that an
    evaluation costs nothing for the others. What a seed plays is the same, to the bit.

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
        """Evaluate the seeds that are ``due [K]``; what the result holds of others has no meaning.

        Args:
            prefix: "eval" or "final".
            agent: of the K seeds. due: bool.
            tick: called at every step; may raise to abort.
            form: of the policy, greedy | sampled; None: as the spec says.
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
    """Return the results of some seeds, each alone, as those of ``k`` seeds; NaN for the others."""
    first = next(iter(parts.values()))
    whole = EvaluationResult(*(np.full((k, *x.shape[1:]), np.nan) for x in first))
    for seed, part in parts.items():
        for rows, x in zip(whole, part, strict=True):
            rows[seed] = x[0]
    return whole
