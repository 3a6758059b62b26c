"""What a learning rule is given, and what it offers.

Lanes take turns: a rule sees one lane of every seed at a time, so its tensors are ``[K]``.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor

from algos.core.agent import State

Policy = Callable[[Tensor, Tensor], Tensor]  # (q [..., A], s [...]) -> probabilities [..., A]


class Transition(NamedTuple):
    """One step of one lane of every seed; all ``[K]``."""

    s: Tensor
    a: Tensor
    r: Tensor  # float64
    s_next: Tensor  # the true successor
    a_next: Tensor  # the action that the behaviour takes there; of rules that ask for it
    terminated: Tensor  # nothing follows
    ended: Tensor  # the episode is over; where it did not terminate, its values go on
    valid: Tensor  # False: nothing happened, nothing is learned
    chance: Tensor  # of a under the behaviour, float64
    chance_next: Tensor  # of a_next; of rules that ask for a_next
    lane: int
    any_ended: bool  # whether any seed's episode is over: spares the work for none


class Rule(Protocol):
    """A way to learn from transitions."""

    chooses_next: ClassVar[bool]  # it looks at a_next, so the action is chosen before it learns

    def learn(self, t: Transition) -> Tensor:
        """Learn from one transition of every seed; returns the error ``[K]``."""

    def at(self, s: Tensor) -> Tensor:
        """Return the action values of states ``[K, N]`` that the policies look at."""

    def q(self) -> Tensor:
        """Return all action values, ``[K, S, A]``."""

    def state(self) -> State:
        """Return what it remembers, the values apart."""

    def load(self, state: State) -> None:
        """Continue from that."""
