"""Numbers of discrete observations, which arrive as one-hot vectors."""

import numpy as np
import torch
from torch import Tensor

from .agent import Spec
from .mdp import MDP

FACTORS = "factors"  # key of Spec.extras: sizes of an observation's one-hot blocks


class StateIndex:
    """Turns observations ``[..., obs]`` into state numbers ``[...]``, by mixed radix.

    One product with the blocks' ranks does it; float32 is exact below 2^24 states.

    Args:
        spec: of a task whose observations are discrete.
        device: where observations live.
    """

    def __init__(self, spec: Spec, device: torch.device) -> None:
        factors = spec.extras[FACTORS]
        self.states = int(np.prod(factors))
        strides = [int(np.prod(factors[i + 1 :])) for i in range(len(factors))]
        ranks = [np.arange(n) * stride for n, stride in zip(factors, strides, strict=True)]
        self._host = np.concatenate(ranks).astype(np.float32)
        self._ranks = torch.from_numpy(self._host).to(device)
        self._width = len(self._host)  # a mask may lie behind

    def __call__(self, obs: Tensor) -> Tensor:
        """Return the numbers, int64."""
        return (obs[..., : self._width] @ self._ranks).long()

    def host(self, obs: np.ndarray) -> np.ndarray:
        """Return the numbers of observations that are arrays."""
        number = obs.reshape(-1, obs.shape[-1])[:, : self._width] @ self._host
        return number.astype(np.int64).reshape(obs.shape[:-1])


def not_tabular(spec: Spec) -> str | None:
    """Say in one clause why a task has no finite set of states, or None if it has one."""
    if FACTORS not in spec.extras:
        shape = spec.obs_space.shape
        return f"it needs discrete observations, the environment's are arrays of shape {shape}"
    if int(np.prod(spec.extras[FACTORS])) >= 2**24:
        return f"its table would have {np.prod(spec.extras[FACTORS])} states; 2^24 is the limit"
    return None


def one_hots(model: MDP) -> np.ndarray:
    """Return the observation that each state of a model shows, ``[S, obs]`` float32."""
    observation = np.arange(model.states) if model.observation is None else model.observation
    places = np.unravel_index(observation, model.factors)
    blocks = [np.eye(n, dtype=np.float32)[at] for n, at in zip(model.factors, places, strict=True)]
    return np.concatenate(blocks, 1)
