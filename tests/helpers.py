"""Small tools that several tests share: agents from presets, and a synthetic world."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from hypothesis import settings
from omegaconf import OmegaConf
from torch import Tensor

from prism.algos.core.agent import Spec, Step
from prism.algos.core.rng import generator
from prism.algos.dqn.config import DQNConfig, Exploration
from prism.algos.dqn.dqn import DQN
from prism.benchmark.plan import config as cfg

CPU = torch.device("cpu")
SEEDS = (3, 11, 42)
VECTOR = spaces.Box(-1.0, 1.0, (4,), np.float32)
IMAGE = spaces.Box(0, 1, (4, 10, 10), np.bool_)  # as a MinAtar game


def examples(count: int) -> settings:
    """Return the settings of a property test: so many examples, more where the profile has more."""
    return settings(max_examples=count * settings().max_examples // 100)


@cache
def presets() -> tuple[str, ...]:
    """Return the names of the presets in conf/algo that are of the DQN family."""
    with cfg.session():
        names = cfg.options("algo")
        family = [n for n in names if cfg.composed(f"algo={n}").algo.agent == DQNConfig.agent]
    assert family
    return tuple(family)


@cache
def _preset(name: str) -> DQNConfig:
    with cfg.session():
        config = OmegaConf.to_object(cfg.composed(f"algo={name}").algo)
    assert isinstance(config, DQNConfig)
    return config


def preset(name: str, **changes: Any) -> DQNConfig:
    """Return a preset, built from its YAML, with some fields changed."""
    return replace(_preset(name), **changes)


def tiny(name: str = "dqn", **changes: Any) -> DQNConfig:
    """Return a preset with a small network and an update at every tick."""
    small = {"hidden": [16, 16], "batch_size": 8, "buffer_size": 64, "learning_starts": 8}
    small |= {"train_every": 1, "target_every": 10, "atoms": 11, "quantiles": 8}
    support = {"v_min": -10.0, "v_max": 10.0}
    return preset(name, **(small | support | changes))


def agent(config: DQNConfig, seeds: Sequence[int] = SEEDS, **spec: Any) -> DQN:
    """Build an agent; ``spec`` may set ``obs``, ``actions`` and ``budget``."""
    task = Spec(
        spec.get("obs", VECTOR), spaces.Discrete(spec.get("actions", 3)), spec.get("budget", 1000)
    )
    return DQN(config, task, seeds, CPU)


class World:
    """K seeds x N lanes of random observations, rewards and episode ends; reward depends on action.

    Everything of a seed comes from its own stream, so it is the same in any company.
    """

    def __init__(self, obs: spaces.Box, seeds: Sequence[int], lanes: int = 1) -> None:
        self.space, self.lanes = obs, lanes
        self.streams = [generator(seed, "world") for seed in seeds]
        self.obs = self._observe()

    def _observe(self) -> Tensor:
        shape = (self.lanes, *self.space.shape)
        if self.space.dtype == np.bool_:
            draws = [g.random(shape) < 0.2 for g in self.streams]
        elif self.space.dtype == np.uint8:
            draws = [g.integers(0, 256, shape, np.uint8) for g in self.streams]
        else:
            draws = [g.uniform(-1, 1, shape).astype(np.float32) for g in self.streams]
        return torch.from_numpy(np.stack(draws))

    def step(self, action: Tensor, memo: dict[str, Tensor] | None = None) -> Step:
        """Answer an action; the successor of an episode's end is not the next first observation."""
        draws = np.stack([g.random((3, self.lanes), np.float32) for g in self.streams])
        reward, end, how = torch.from_numpy(draws).unbind(1)
        ended = end < 0.15
        terminated = ended & (how < 0.5)
        before, successor, first = self.obs, self._observe(), self._observe()
        wide = ended.view(*ended.shape, *[1] * len(self.space.shape))
        self.obs = torch.where(wide, first, successor)
        return Step(
            before,
            successor,
            action,
            reward + 0.1 * (action if action.dim() == 2 else action.float().mean(-1)),
            terminated,
            ended & ~terminated,
            torch.ones_like(ended),
            memo or {},
        )


def drive(learner: DQN, world: World, ticks: int) -> dict[str, list[Tensor]]:
    """Let an agent live for some ticks; return its actions, replay draws and metrics."""
    log: dict[str, list[Tensor]] = {"action": [], "index": [], "weight": [], "loss": []}
    sample = learner.experience.sampler.sample

    def spy(beta: float) -> tuple[Tensor, Tensor]:
        index, weight = sample(beta)
        log["index"].append(index.clone())
        log["weight"].append(weight.clone())
        return index, weight

    learner.experience.sampler.sample = spy  # type: ignore[method-assign]
    for _ in range(ticks):
        action, memo = learner.act(world.obs)
        log["action"].append(action.clone())
        learner.observe(world.step(action, memo))
        metrics = learner.update()
        if metrics:
            log["loss"].append(metrics["loss/value"].clone())
    learner.experience.sampler.sample = sample  # type: ignore[method-assign]
    return log


def steady(level: float = 0.1) -> Exploration:
    """Return epsilon-greedy exploration at one level."""
    return Exploration(schedule="constant", start=level, end=level, fraction=0.0)


def equal(a: Any, b: Any, at: str = "") -> None:
    """Assert that two states are equal to the bit, and say where they are not."""
    if isinstance(a, dict):
        assert a.keys() == b.keys(), at
        for key in a:
            equal(a[key], b[key], f"{at}/{key}")
    elif isinstance(a, Tensor):
        assert a.dtype == b.dtype and torch.equal(a, b), at
    else:
        assert a == b, at


def copied(state: Any) -> Any:
    """Return a deep copy of a state, whose tensors are otherwise the agent's own."""
    if isinstance(state, dict):
        return {key: copied(x) for key, x in state.items()}
    return state.clone() if isinstance(state, Tensor) else state
