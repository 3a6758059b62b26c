"""Worlds that say which actions are legal, and agents that are told."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Spec, Step
from prism.algos.core.legality import Legality
from prism.benchmark.store.agents import agent_class
from tests.algos.policy_gradient.agents import WaitingWorld
from tests.helpers import CPU, SEEDS, VECTOR, World


def widened(entries: int) -> spaces.Box:
    """Return the space of vectors of four numbers with masks behind them."""
    low, high = np.append(VECTOR.low, np.zeros(entries)), np.append(VECTOR.high, np.ones(entries))
    return spaces.Box(low.astype(np.float32), high.astype(np.float32))


def counts(actions: spaces.Space) -> list[int]:
    """Return how many entries of a mask each number of an action has."""
    return [int(n) for n in getattr(actions, "nvec", [getattr(actions, "n", 0)])]


def spec(actions: spaces.Space, budget: int = 10_000) -> Spec:
    """Return a task whose observations end in masks."""
    entries = sum(counts(actions))
    return Spec(widened(entries), actions, budget, legal=entries)


def agent(config: Any, actions: spaces.Space, seeds: Sequence[int] = SEEDS) -> Any:
    """Build an agent for such a task."""
    return agent_class(config.agent)(config, spec(actions), seeds, CPU)


def world(
    config: Any, actions: spaces.Space, seeds: Sequence[int] = SEEDS, all_: bool = False
) -> Any:
    """Return a synthetic world of random masks, or of masks of ones."""
    kind = World if config.reset == "each" else WaitingWorld
    entries = counts(actions)

    class Barred(kind):  # type: ignore[misc, valid-type]
        def _observe(self) -> Tensor:
            obs: Tensor = super()._observe()
            first = 4
            for n in entries:
                raw = obs[..., first : first + n]
                legal = (raw > 0.2) | (raw >= raw.amax(-1, keepdim=True))
                obs[..., first : first + n] = 1.0 if all_ else legal.float()
                first += n
            return obs

    made = Barred(widened(sum(entries)), seeds, config.lanes)
    made.actions = actions
    return made


def illegal(step: Step, actions: spaces.Space) -> Tensor:
    """Return which actions ``[K, N]`` of a tick were illegal."""
    legality = Legality(sum(counts(actions)), True)
    mask = legality.mask(step.obs)
    assert mask is not None
    chosen = step.action if step.action.dim() == 3 else step.action.unsqueeze(-1)
    bad, first = torch.zeros(step.reward.shape, dtype=torch.bool), 0
    for d, n in enumerate(counts(actions)):
        part = mask[..., first : first + n]
        bad |= ~part.gather(-1, chosen[..., d : d + 1]).squeeze(-1)
        first += n
    return bad & step.valid


def live(learner: Any, world: Any, ticks: int) -> dict[str, list[Tensor]]:
    """Let an agent live; return actions, metrics, and how often an action was illegal."""
    log: dict[str, list[Tensor]] = {"action": [], "illegal": []}
    for _ in range(ticks):
        action, memo = learner.act(world.obs)
        log["action"].append(action.clone())
        step = world.step(action, memo)
        log["illegal"].append(illegal(step, world.actions).flatten(1).sum(1))
        learner.observe(step)
        for name, value in (learner.update() or {}).items():
            log.setdefault(name, []).append(value.clone())
    return log
