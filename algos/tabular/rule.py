"""What a learning rule is given, and what it offers.

Lanes take turns: a rule sees one lane of every seed at a time, so its arrays are ``[K]``.
"""

from collections.abc import Callable
from typing import ClassVar, NamedTuple, Protocol

from numpy import ndarray as Array

from ..core.parts import Part

Policy = Callable[[Array, Array], Array]  # (q [A, ...], s [...]) -> probabilities [A, ...]


class Transition(NamedTuple):
    """One step of one lane of every seed; all ``[K]``."""

    s: Array
    a: Array
    r: Array  # float64
    s_next: Array  # the true successor
    a_next: Array  # the action that the behaviour takes there; of rules that ask for it
    terminated: Array  # nothing follows
    ended: Array  # the episode is over; where it did not terminate, its values go on
    valid: Array  # False: nothing happened, nothing is learned
    chance: Array  # of a under the behaviour, float64; of rules that ask for a_next
    chance_next: Array  # of a_next; of rules that ask for a_next
    lane: int
    any_ended: bool  # whether any seed's episode is over: spares the work for none


class Rule(Part, Protocol):
    """A way to learn from transitions."""

    chooses_next: ClassVar[bool]  # it looks at a_next, so the action is chosen before it learns

    def learn(self, t: Transition) -> Array:
        """Learn from one transition of every seed; returns the error ``[K]``."""

    def at(self, s: Array) -> Array:
        """Return the action values ``[A, K, N]`` of ``s [K, N]`` that the policies look at."""

    def q(self) -> Array:
        """Return all action values, ``[K, S, A]``."""
