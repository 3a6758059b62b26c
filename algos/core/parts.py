"""What an agent's future depends on: every class names its parts once, and its state follows.

A part is a tensor or an array that leads with K, an int, a string, anything with a ``state`` and a
``load`` of its own, or a dict of parts.
"""

from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from .agent import State


@runtime_checkable
class Part(Protocol):
    """A piece of an agent with a state of its own."""

    def state(self) -> State:
        """Return all that its future depends on."""

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned."""


class HasParts:
    """Something whose state is that of the attributes it names; one that is None has no state.

    What greedy acting needs stands under the key "policy". Where a part in ``POLICY`` has a policy
    of its own, that goes there, and the rest of it to the others.

    Attributes:
        POLICY: names of the parts that greedy acting needs.
        PARTS: names of the other parts.
        GROWING: names of those parts whose tensors may change their shape.
    """

    POLICY: ClassVar[tuple[str, ...]] = ()
    PARTS: ClassVar[tuple[str, ...]] = ()
    GROWING: ClassVar[tuple[str, ...]] = ()

    def state(self) -> State:
        """Return the state of every part; tensors are the parts' own, not copies."""
        rest = {name: _state(part) for name, part in _named(self, self.PARTS)}
        policy = {}
        for name, part in _named(self, self.POLICY):
            policy[name] = _state(part)
            if _has_policy(part):
                rest[name] = policy[name]
                policy[name] = rest[name].pop("policy")
        return {"policy": policy} | rest if self.POLICY else rest

    def load(self, state: State) -> None:
        """Continue from a state; from its "policy" alone, only acting works.

        Raises:
            ValueError: a part is missing, or a tensor has another shape; one line that names it.
        """
        alone = state.keys() == {"policy"}
        for name, part in _named(self, self.POLICY):
            own = _entry(state["policy"], self, name)
            if _has_policy(part):
                own = {"policy": own} | ({} if alone else _entry(state, self, name))
            _fill(self, name, part, own)
        if not alone:
            for name, part in _named(self, self.PARTS):
                _fill(self, name, part, _entry(state, self, name))


def _named(whole: HasParts, names: tuple[str, ...]) -> list[tuple[str, Any]]:
    """Return names and parts, without those that are None."""
    parts = [(name, getattr(whole, name)) for name in names]
    return [(name, part) for name, part in parts if part is not None]


def _has_policy(part: Any) -> bool:
    return isinstance(part, HasParts) and bool(part.POLICY)


def _state(part: Any) -> Any:
    if isinstance(part, Part):
        return part.state()
    if isinstance(part, dict):
        return {key: _state(x) for key, x in part.items()}
    if isinstance(part, np.ndarray):
        return torch.from_numpy(part)
    return part.detach() if isinstance(part, Tensor) else part


def _entry(state: State, whole: HasParts, name: str) -> Any:
    if name not in state:
        raise ValueError(f"the state lacks {type(whole).__name__}.{name}")
    return state[name]


def _fill(whole: HasParts, name: str, part: Any, state: Any) -> None:
    place = f"{type(whole).__name__}.{name}"
    setattr(whole, name, _filled(part, state, place, name in whole.GROWING))


def _filled(part: Any, state: Any, place: str, grows: bool) -> Any:
    """Return the part as ``state`` has it: where it can be filled, itself, for there are views."""
    if isinstance(part, Part):
        part.load(state)
        return part
    if isinstance(part, dict):
        if missing := part.keys() - state.keys():
            raise ValueError(f"the state lacks {place}.{min(missing)}")
        part.update({k: _filled(x, state[k], f"{place}.{k}", grows) for k, x in part.items()})
        return part
    if not isinstance(part, Tensor | np.ndarray):
        return state
    tensor = torch.from_numpy(part) if isinstance(part, np.ndarray) else part.detach()
    if tensor.shape == state.shape:
        tensor.copy_(state)
        return part
    if not grows:
        shapes = f"{tuple(tensor.shape)}, in the state {tuple(state.shape)}"
        raise ValueError(f"{place} has the shape {shapes}")
    other = state.clone().to(tensor.device)
    return other.numpy() if isinstance(part, np.ndarray) else other
