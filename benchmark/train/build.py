"""Builds the agent of a run; the only place where agents are constructed."""

from collections.abc import Sequence

import torch

from prism.algos.core.agent import Agent

from ..envs.make import make_spec
from ..store.spec import RunSpec


def build_agent(spec: RunSpec, seeds: Sequence[int], device: torch.device) -> Agent:
    """Return the untrained agent of a run, with one member per seed.

    Raises:
        ConfigError: the environment cannot be built.
    """
    return spec.agent(spec.algo, make_spec(spec.env, spec.budget), list(seeds), device)
