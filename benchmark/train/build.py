"""An agent from what a run is asked to do: the one place where agents are made."""

from collections.abc import Sequence

import torch

from prism.algos.core.agent import Agent

from ..envs.make import make_spec
from ..store.spec import RunSpec


def build_agent(spec: RunSpec, seeds: Sequence[int], device: torch.device) -> Agent:
    """Return the agent of a run, of K seeds, that has not learned yet.

    Raises:
        ConfigError: the environment cannot be built.
    """
    return spec.agent(spec.algo, make_spec(spec.env, spec.budget), list(seeds), device)
