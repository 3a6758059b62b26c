"""Tabular tasks that several tests share: a model, an agent on it, and the loop in short."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from omegaconf import OmegaConf

from prism.algos.core.agent import Spec, Step
from prism.algos.core.mdp import MDP, MODEL, from_arrays
from prism.algos.core.states import FACTORS
from prism.algos.tabular.agent import Tabular
from prism.algos.tabular.config import TabularConfig
from prism.benchmark.envs.table import TableVecEnv
from prism.benchmark.plan import config as cfg
from tests.helpers import CPU


def random_mdp(seed: int, states: int = 5, actions: int = 2, sure: bool = False) -> MDP:
    """Return a random process whose last state ends an episode; ``sure``: nothing is random."""
    rng = np.random.default_rng(seed)
    if sure:
        to = np.eye(states)[rng.integers(states, size=(states, actions))]
    else:
        to = rng.dirichlet(np.full(states, 0.5), (states, actions))
    reward = rng.normal(size=(states, actions, states))
    start = np.append(np.full(states - 1, 1 / (states - 1)), 0.0)
    return from_arrays(to, reward, start, np.arange(states) == states - 1)


def spec_of(model: MDP, budget: int) -> Spec:
    """Return what an agent knows about a model."""
    obs = spaces.Box(0.0, 1.0, (sum(model.factors),))
    extras = {FACTORS: model.factors, MODEL: model}
    return Spec(obs, spaces.Discrete(model.actions), budget, extras)


@cache
def presets() -> dict[str, TabularConfig]:
    """Return the presets of the family, built from their YAML."""
    with cfg.session():
        algos = {name: cfg.composed(f"algo={name}").algo for name in cfg.options("algo")}
        return {
            name: OmegaConf.to_object(algo)
            for name, algo in algos.items()
            if algo.agent == TabularConfig.agent
        }


class Life:
    """An agent on a model, and its loop.

    Args:
        config: of the agent, or ``agent`` itself. model: the process. seeds: K of them.
        budget: of ticks. horizon: steps after which an episode is cut.
    """

    def __init__(
        self,
        config: Any,
        model: MDP,
        seeds: Sequence[int],
        budget: int = 10_000,
        horizon: int | None = None,
        cls: Callable[..., Any] = Tabular,
    ) -> None:
        self.agent = cls(config, spec_of(model, budget * config.lanes), seeds, CPU)
        self.env = TableVecEnv(
            model, spaces.Discrete(model.actions), horizon, seeds, config.lanes, reset=config.reset
        )
        self.obs = torch.from_numpy(self.env.begin())
        self.metrics: dict[str, torch.Tensor] | None = None

    def tick(self) -> Step:
        """Live for one tick."""
        action, memo = self.agent.act(self.obs)
        result = self.env.step(action.numpy())
        next_obs, *rest = map(torch.from_numpy, result)
        step = Step(self.obs, next_obs, action, *rest, memo)
        self.agent.observe(step)
        self.metrics = self.agent.update()
        self.obs = torch.from_numpy(self.env.begin())
        return step

    def live(self, ticks: int) -> "Life":
        """Live for some ticks."""
        for _ in range(ticks):
            self.tick()
        return self
