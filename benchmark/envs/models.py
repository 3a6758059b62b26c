"""The tabular model of an environment, if it has one."""

from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from prism.algos.core.mdp import MDP, from_table

from ..util.errors import ConfigError
from .blackjack import blackjack
from .config import EnvConfig
from .textbook import MOVES
from .textbook import Tabular as TextbookEnv

_LAKE_MOVES = ((0, -1), (1, 0), (0, 1), (-1, 0))  # left, down, right, up


def factors_of(space: spaces.Space) -> tuple[int, ...] | None:
    """Return the sizes of an observation's one-hot blocks; None if the space is not discrete."""
    if isinstance(space, spaces.Discrete):
        return (int(space.n),)
    if isinstance(space, spaces.MultiDiscrete):
        return tuple(int(n) for n in space.nvec.ravel())
    if isinstance(space, spaces.Tuple):
        parts = [factors_of(part) for part in space.spaces]
        return None if None in parts else tuple(n for part in parts for n in part or ())
    return None


def model_of(config: EnvConfig, env: gymnasium.Env) -> MDP | None:
    """Return the model of an environment: its own, that of its table ``P`` or of its rules.

    Args:
        config: how ``env`` was built.
        env: the environment; its wrappers are ignored.

    Returns:
        None if there is none, or if the environment does not always follow its table.

    Raises:
        ConfigError: the table is not a valid model.
    """
    bare: Any = env.unwrapped
    if isinstance(bare, TextbookEnv):
        return bare.model
    if type(bare).__name__ == "BlackjackEnv":
        return blackjack(bare.natural, bare.sab)
    if getattr(bare, "fickle_passenger", False) or not hasattr(bare, "P"):
        return None
    start = getattr(bare, "initial_state_distrib", None)
    if start is None:
        return None
    try:
        facts = _grid(bare) | _legal(config, bare)
        return from_table(bare.P, np.asarray(start), **facts)
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise ConfigError(
            f"env.id: the table P of {config.id} is not a valid model: {error}"
        ) from None


def _legal(config: EnvConfig, env: Any) -> dict[str, Any]:
    """Return which actions are legal in each state, where agents are to know and it says so."""
    if not config.masks or not hasattr(env, "action_mask"):
        return {}
    return {"legal": np.stack([env.action_mask(s) for s in range(len(env.P))])}


def _grid(env: Any) -> dict[str, Any]:
    """Return the shape and moves of a gridworld; empty if the states do not form a grid."""
    shape = getattr(getattr(env, "desc", None), "shape", None) or getattr(env, "shape", None)
    if shape is None or int(np.prod(shape)) != len(env.P):
        return {}
    moves = _LAKE_MOVES if hasattr(env, "desc") else MOVES
    return {"grid": tuple(map(int, shape)), "moves": moves}
