"""What the agent protocol asks of actions, metrics and states, checked from outside."""

from collections.abc import Mapping, Sequence
from io import BytesIO
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Agent, State

from ..store import checkpoint
from ..store.spec import RunSpec
from ..util.errors import ConfigError

_LARGE = 1 << 26  # bytes; a larger state is not copied to see whether it comes back


def is_outside(spec: RunSpec) -> bool:
    """Return whether the agent is of another package."""
    return not spec.agent.__module__.startswith("prism.")


def check(spec: RunSpec, wrong: str | None) -> None:
    """Raise ConfigError, which names the agent, if something is wrong."""
    if wrong:
        raise ConfigError(f"algo.agent={spec.algo.agent}: {wrong}")


def wrong_action(
    action: Any, grid: Sequence[int], space: spaces.Space, device: torch.device
) -> str | None:
    """Say in one clause what is wrong with the actions of ``act``; None if nothing is.

    Args:
        action: the actions.
        grid: their K and N.
        space: of one action, Discrete, MultiDiscrete or Box.
        device: on which the observations are.
    """
    continuous = isinstance(space, spaces.Box)
    wanted = (*grid, *(space.shape or ()))
    if not isinstance(action, Tensor):
        return f"act() returns actions of type {type(action).__name__}, not a tensor"
    if tuple(action.shape) != wanted:
        letters = "[K, N, D]" if space.shape else "[K, N]"
        return (
            f"act() returns actions of shape {list(action.shape)}, not {letters} = {list(wanted)}"
        )
    dtype = torch.float32 if continuous else torch.int64
    if action.dtype != dtype:
        return f"act() returns actions of {_kind(action.dtype)}, not {_kind(dtype)}"
    if action.device.type != device.type:
        return f"act() returns actions on {action.device.type}, not {device.type}"
    if continuous:  # those out of bounds are clipped
        return None
    count = space.n if isinstance(space, spaces.Discrete) else space.nvec  # type: ignore[attr-defined]
    chosen = action.cpu().numpy()
    bad = (chosen < 0) | (chosen >= count)
    return f"act() returns the action {chosen[bad][0]}, not one of {space}" if bad.any() else None


def wrong_memo(memo: Any, grid: Sequence[int]) -> str | None:
    """Say in one clause what is wrong with the memo of ``act``; None if nothing is."""
    if not isinstance(memo, dict):
        return f"act() returns a memo of type {type(memo).__name__}, not a dict"
    for name, value in memo.items():
        if not isinstance(value, Tensor) or value.shape[:2] != tuple(grid):
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            return f"act() returns a memo whose {name!r} is {shape}, not [K, N, ...] = {list(grid)}"
    return None


def wrong_metrics(metrics: Any, k: int) -> str | None:
    """Say in one clause what is wrong with the metrics of ``update`` for ``k`` seeds, or None."""
    if metrics is None:
        return None
    if not isinstance(metrics, Mapping):
        return f"update() returns {type(metrics).__name__}, not a dict of metrics, or None"
    for name, value in metrics.items():
        if not isinstance(value, Tensor) or tuple(value.shape) != (k,):
            shape = list(value.shape) if isinstance(value, Tensor) else type(value).__name__
            return f"update() returns {name!r} of shape {shape}, not [K] = [{k}]"
    return None


def wrong_state(state: Any, k: int) -> str | None:
    """Say in one clause what is wrong with an agent's state of ``k`` seeds; None if nothing is."""
    if not isinstance(state, dict):
        return f"state() returns {type(state).__name__}, not a dict"
    if not isinstance(state.get("policy"), dict):
        return 'state() has no dict "policy", what greedy acting needs'
    for at, value in _leaves(state):
        if isinstance(value, Tensor):
            if value.shape[:1] != (k,):
                shape = list(value.shape)
                return f"state() holds {at} of shape {shape}, which does not lead with K = {k}"
        elif type(value) not in (int, str):
            kind = type(value).__name__
            return f"state() holds {at} of type {kind}, not a tensor, an int or a string"
    return None


def wrong_round_trip(agent: Agent, k: int) -> str | None:
    """Say what is wrong if an agent saves and loads its own state; None if nothing is.

    Of a large state only the form is checked.
    """
    state = agent.state()
    wrong = wrong_state(state, k)
    if wrong or checkpoint.size(state) > _LARGE:
        return wrong
    written = saved(state)
    agent.load(reread(written))
    if at := difference(reread(written), agent.state()):
        return f"load() does not restore what state() returned: {at}"
    return None


def saved(state: State) -> bytes:
    """Return a state as the bytes of a checkpoint."""
    buffer = BytesIO()
    torch.save(state, buffer)
    return buffer.getvalue()


def reread(data: bytes) -> State:
    """Return the state in the bytes of ``saved``; nothing in them is executed."""
    state: State = torch.load(BytesIO(data), map_location="cpu", weights_only=True)
    return state


def difference(a: Any, b: Any, at: str = "") -> str | None:
    """Return where two states differ, to the bit; None where they are equal."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if a.keys() != b.keys():
            return f"{at or 'its keys'}: {', '.join(sorted(map(str, a.keys() ^ b.keys())))}"
        found = (difference(a[key], b[key], f"{at}/{key}".lstrip("/")) for key in a)
        return next((place for place in found if place), None)
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return None if a.dtype == b.dtype and identical(a, b) else at
    return None if type(a) is type(b) and a == b else at


def identical(a: Tensor, b: Tensor) -> bool:
    """Return whether two tensors are equal to the bit; NaN equals NaN."""
    a, b = a.cpu(), b.cpu()
    if a.shape != b.shape:
        return False
    return torch.equal(a, b) or (
        a.is_floating_point()
        and torch.equal(a.isnan(), b.isnan())
        and torch.equal(a.nan_to_num(), b.nan_to_num())
    )


def _leaves(state: Any, at: str = "") -> Any:
    for key, value in state.items():
        place = f"{at}/{key}".lstrip("/")
        if isinstance(value, dict):
            yield from _leaves(value, place)
        else:
            yield place, value


def _kind(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
