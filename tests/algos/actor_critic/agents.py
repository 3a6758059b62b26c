"""Small tools of the off-policy agents' tests: agents from presets, and driving them."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from omegaconf import OmegaConf
from torch import Tensor

from prism.algos.actor_critic.off_policy import OffPolicyConfig
from prism.algos.core.agent import Spec
from prism.benchmark.plan import config as cfg
from prism.benchmark.store.agents import agent_class
from tests.helpers import CPU, SEEDS, VECTOR, World

PRESETS = ("ddpg", "td3", "sac", "sac_discrete")
ACTIONS = spaces.Box(np.float32([-2.0, 0.0]), np.float32([2.0, 1.0]))  # neither unit nor centred
CHOICES = spaces.Discrete(3)


@cache
def _preset(name: str) -> Any:
    with cfg.session():
        return OmegaConf.to_object(cfg.composed(f"algo={name}").algo)


def preset(name: str, **changes: Any) -> Any:
    """Return a preset, built from its YAML, with some fields changed."""
    return replace(_preset(name), **changes)


def tiny(name: str, **changes: Any) -> Any:
    """Return a preset with a small network and an update at every tick."""
    small = {"hidden": [16, 16], "batch_size": 8, "buffer_size": 64}
    return preset(name, **(small | {"warmup": 4, "learning_starts": 8} | changes))


def agent(config: OffPolicyConfig, seeds: Sequence[int] = SEEDS, **spec: Any) -> Any:
    """Build an agent; ``spec`` may set ``obs``, ``actions`` and ``budget``."""
    actions = CHOICES if config.agent == "sac_discrete" else ACTIONS
    task = Spec(spec.get("obs", VECTOR), spec.get("actions", actions), spec.get("budget", 1000))
    return agent_class(config.agent)(config, task, seeds, CPU)


def drive(learner: Any, world: World, ticks: int) -> dict[str, list[Tensor]]:
    """Let an agent live for some ticks; return its actions, replay draws and metrics."""
    log: dict[str, list[Tensor]] = {"action": [], "index": []}
    sampler = learner.experience.sampler
    sample = sampler.sample

    def spy(beta: float) -> tuple[Tensor, Tensor]:
        index, weight = sample(beta)
        log["index"].append(index.clone())
        return index, weight

    sampler.sample = spy
    for _ in range(ticks):
        action, memo = learner.act(world.obs)
        log["action"].append(action.clone())
        learner.observe(world.step(action, memo))
        for name, value in (learner.update() or {}).items():
            log.setdefault(name, []).append(value.clone())
    sampler.sample = sample
    return log


def grown(config: OffPolicyConfig, ticks: int = 40, **spec: Any) -> tuple[Any, World]:
    """Return an agent that has lived for a while, and its world; its targets lag behind."""
    world = World(spec.get("obs", VECTOR), SEEDS, config.lanes)
    learner = agent(config, **spec)
    drive(learner, world, ticks)
    return learner, world


def in_float64(params: Tensor, sizes: Sequence[int]) -> list[tuple[Tensor, Tensor]]:
    """Return one network's layers ``(weight [out, in], bias [out])`` as float64 leaves."""
    layers, begin = [], 0
    for n_in, n_out in pairwise(sizes):
        wide_in, wide_out = max(n_in, 2), max(n_out, 2)  # widths of one are padded
        end = begin + wide_in * wide_out
        weight = params[begin:end].view(wide_out, wide_in)[:n_out, :n_in]
        bias = params[end : end + wide_out][:n_out]
        begin = end + wide_out
        layers.append(tuple(x.double().clone().requires_grad_() for x in (weight, bias)))
    return layers


def forward64(layers: list[tuple[Tensor, Tensor]], x: Tensor) -> Tensor:
    """Apply a perceptron in the textbook's way."""
    for i, (weight, bias) in enumerate(layers):
        x = x @ weight.T + bias
        x = torch.relu(x) if i < len(layers) - 1 else x
    return x


def flat64(layers: list[tuple[Tensor, Tensor]], loss: Tensor) -> Tensor:
    """Return the gradient of ``loss`` in the order in which a network keeps its parameters."""
    gradients = torch.autograd.grad(loss, [x for layer in layers for x in layer])
    rows = []
    for g in gradients:  # a width of one is padded to two by zeros
        pad = [(0, max(0, 2 - n)) for n in g.shape]
        rows.append(torch.from_numpy(np.pad(g.numpy(), pad)).flatten())
    return torch.cat(rows)
