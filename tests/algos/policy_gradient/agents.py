"""What the tests of the family share: every agent and option, built small, and how it lives."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from typing import Any

import torch
from gymnasium import spaces
from omegaconf import OmegaConf
from torch import Tensor

from prism.algos.core.agent import Spec, Step
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_spec
from prism.benchmark.envs.vector import SeedVecEnv
from prism.benchmark.plan import config as cfg
from prism.benchmark.store.agents import agent_class
from tests.helpers import CPU, SEEDS, VECTOR, World

DISCRETE = spaces.Discrete(3)
MULTI = spaces.MultiDiscrete([2, 3])
BOX = spaces.Box(-1, 1, (2,))
ACTIONS: dict[str, spaces.Space] = {"discrete": DISCRETE, "multi": MULTI, "box": BOX}
SMALL: dict[str, dict[str, Any]] = {  # an update every few ticks
    "ppo": {"rollout": 8, "batch_size": 8, "lanes": 4, "epochs": 2},
    "recurrent_ppo": {"rollout": 8, "batch_size": 16, "lanes": 4, "epochs": 2, "memory_size": 16},
    "a2c": {"lanes": 4},
    "reinforce": {"lanes": 4},
    "reinforce_baseline": {"lanes": 4},
    "trpo": {"rollout": 8, "lanes": 4, "batch_size": 16, "critic_epochs": 2},
    "grpo": {"lanes": 4, "groups": 2, "epochs": 2},
}


@cache
def _preset(name: str) -> Any:
    with cfg.session():
        return OmegaConf.to_object(cfg.composed(f"algo={name}").algo)


def config(name: str, **changes: Any) -> Any:
    """Return a preset with some fields changed."""
    return replace(_preset(name), **changes)


def small(name: str, **changes: Any) -> Any:
    """Return a preset with a small network that learns often."""
    return config(name, **{"hidden": [16, 16], **SMALL[name], **changes})


def agent(
    config: Any,
    seeds: Sequence[int] = SEEDS,
    actions: spaces.Space = DISCRETE,
    obs: spaces.Box = VECTOR,
    budget: int = 10_000,
) -> Any:
    """Build an agent from its config."""
    return agent_class(config.agent)(config, Spec(obs, actions, budget), seeds, CPU)


def live(learner: Any, world: Any, ticks: int) -> dict[str, list[Tensor]]:
    """Let an agent live for some ticks; return its actions and metrics."""
    log: dict[str, list[Tensor]] = {"action": []}
    for _ in range(ticks):
        action, memo = learner.act(world.obs)
        log["action"].append(action.clone())
        learner.observe(world.step(action, memo))
        for name, value in (learner.update() or {}).items():
            log.setdefault(name, []).append(value.clone())
    return log


def params(learner: Any) -> Tensor:
    """Return the parameters of an agent's networks, ``[K * members, D]``."""
    flat: Tensor = learner.learner.params
    return flat


class EnvWorld:
    """An environment in the place of a synthetic world."""

    def __init__(self, env: EnvConfig, config: Any, seeds: Sequence[int] = SEEDS) -> None:
        self.env = SeedVecEnv(env, seeds, config.lanes, reset=config.reset)
        self.obs = torch.from_numpy(self.env.begin())

    def step(self, action: Tensor, memo: dict[str, Tensor] | None = None) -> Step:
        """Answer an action."""
        before, result = self.obs, self.env.step(action.numpy())
        successor, *rest = map(torch.from_numpy, result)
        self.obs = torch.from_numpy(self.env.begin())
        return Step(before, successor, action, *rest, memo or {})


def train(config: Any, probe: str, ticks: int, seeds: Sequence[int] = (0, 1), **kwargs: Any) -> Any:
    """Run the loop of the harness in its shortest form, on a tiny environment."""
    env = EnvConfig(name=probe, id=f"Prism/{probe}-v0", kwargs=kwargs)
    spec = make_spec(env, ticks * config.lanes)
    learner = agent_class(config.agent)(config, spec, seeds, CPU)
    world = EnvWorld(env, config, seeds)
    live(learner, world, ticks)
    world.env.close()
    return learner


class WaitingWorld(World):
    """A world whose ended lanes wait until every lane of their seed has ended."""

    def __init__(self, obs: spaces.Box, seeds: Sequence[int], lanes: int) -> None:
        super().__init__(obs, seeds, lanes)
        self.over = torch.zeros(len(seeds), lanes, dtype=torch.bool)

    def step(self, action: Tensor, memo: dict[str, Tensor] | None = None) -> Step:
        """Answer an action; a lane that waits stays where it is."""
        valid, before = ~self.over, self.obs
        step = super().step(action, memo)
        ends = [(flag & valid) for flag in (step.terminated, step.truncated)]
        self.over |= ends[0] | ends[1]
        self.over &= ~self.over.all(-1, keepdim=True)
        wide = valid.view(*valid.shape, *[1] * len(self.space.shape))
        next_obs = torch.where(wide, step.next_obs, before)
        return Step(before, next_obs, action, step.reward * valid, *ends, valid, memo or {})


def world_of(config: Any, seeds: Sequence[int] = SEEDS, obs: spaces.Box = VECTOR) -> World:
    """Return the world that a config's ``reset`` asks for."""
    kind = World if config.reset == "each" else WaitingWorld
    return kind(obs, seeds, config.lanes)
