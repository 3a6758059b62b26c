"""The agent protocol: what every algorithm offers to the harness, and all that it is asked for.

Shape letters: K seed, N lane (parallel environments per seed, `num_envs` elsewhere). An agent
always trains K seeds; a single run is K = 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import torch
from gymnasium import spaces
from torch import Tensor

from .rng import Draws

GREEDY, SAMPLED = "greedy", "sampled"  # the forms in which a policy can be evaluated
POLICIES = (GREEDY, SAMPLED)
ENVIRONMENT = "environment"  # key of Spec.extras: ``(gamma) -> a training environment``
State = dict[str, Any]  # nested dicts of tensors that lead with K, ints and strings; nothing else


class Step(NamedTuple):
    """One tick of every seed k < K and lane n < N."""

    obs: Tensor  # [K, N, *obs]
    next_obs: Tensor  # [K, N, *obs], the true successor, never a reset observation
    action: Tensor  # [K, N] int64 | [K, N, D] int64 (multi-discrete) | [K, N, act] float32
    reward: Tensor  # [K, N] float32, the agent's reward (scaled, shaped, clipped)
    terminated: Tensor  # [K, N] bool
    truncated: Tensor  # [K, N] bool
    valid: Tensor  # [K, N] bool; False where a lane waits or its seed has ended
    memo: dict[str, Tensor]  # what act() asked to remember


@dataclass(frozen=True)
class Spec:
    """What an agent may know about its task before the first step."""

    obs_space: spaces.Box  # of one lane; flattened where the raw space is discrete, tuple or dict
    action_space: spaces.Space  # Discrete, MultiDiscrete or Box
    budget: int  # environment steps per seed; schedules need the horizon
    extras: Mapping[str, Any] = field(default_factory=dict)  # tabular model, demonstrations, ...
    legal: int = 0  # entries of the mask behind an observation; see ``core/legality.py``


@dataclass(frozen=True)
class Component:
    """A part of an algorithm that can be taken out or put in.

    ``on`` and ``off`` are overrides of the algorithm's config. ``off`` names what *replaces* the
    component, for instance epsilon-greedy exploration where noisy networks are taken out. A
    ``foundation`` is part of even the plainest agent: it is studied only where it is named.
    ``where`` names the settings under which it changes anything: a key, and its values. An
    ``exact`` one shares its switch with others: it is on only where that has the value of ``on``.
    """

    name: str  # as tables print it: "Rainbow - multi-step"
    paper: str
    on: Mapping[str, Any]
    off: Mapping[str, Any]
    foundation: bool = False
    where: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    exact: bool = False


@dataclass(frozen=True)
class Family:
    """What the component studies of an agent compare with: two of its presets.

    An agent declares it as its class attribute ``FAMILY``, beside ``COMPONENTS``. It holds for that
    class alone: a subclass has presets of its own. Without one, there is no base and no full.
    """

    base: str | None = None  # the preset with every part off
    full: str | None = None  # the preset with every part on
    parts: tuple[str, ...] = ()  # names of the components between the two


@dataclass(frozen=True)
class Preset:
    """What a preset is, in words, and where it comes from.

    An agent has one for each name of a preset in its class attribute ``PRESETS``.
    """

    about: str  # one line
    paper: str = ""  # one, or several with semicolons between them


class Agent(Protocol):
    """Built as ``Agent(config, spec, seeds, device)``; ``config`` is the agent's own ``Config``.

    A class may also declare its ``FAMILY``, describe its ``PRESETS``, and say by a class method
    ``policies(config) -> tuple[str, ...]`` in which forms its policy can be evaluated, the default
    first. Without it the policy is evaluated greedily, and ``act`` needs no ``draws``.

    In evaluation a memo's "value" ``[K, N]`` is the discounted sum of its rewards that the agent
    expects. A class method ``valued(config) -> str | None`` says under which of these forms; None:
    under neither, or in other units. Without it, it is under the greedy policy.
    """

    Config: ClassVar[type]  # dataclass; holds at least ``agent``, ``lanes`` and ``reset``
    COMPONENTS: ClassVar[tuple[Component, ...]]
    max_seeds: ClassVar[int | None]  # None = any number; 1 = does not batch
    interacts: ClassVar[bool]  # False: only update() is called; metrics then carry "consumed"

    def __init__(
        self, config: Any, spec: Spec, seeds: Sequence[int], device: torch.device
    ) -> None: ...

    @classmethod
    def unsupported(cls, config: Any, spec: Spec) -> str | None:
        """Say in one clause why this task is impossible for this agent, or None if it is not."""

    def act(
        self, obs: Tensor, explore: bool = True, draws: Draws | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Choose actions for ``obs [K, N, *obs]`` (evaluation: another N) and a ``Step`` memo.

        Args:
            obs: what the lanes see.
            explore: True: act as training does, with the agent's own random streams. False: act as
                the policy that is evaluated; nothing that training depends on may change.
            draws: with explore=False: None for the greedy policy, else sample the policy, with
                these draws alone.
        """

    def observe(self, step: Step) -> None:
        """Store one tick; learn nothing."""

    def update(self) -> dict[str, Tensor] | None:
        """Learn if due. Metrics ``[K]`` stay on the device; None if nothing was due.

        What is not None counts as an update of each seed; without metrics, it is empty.

        Where only some seeds learned, ``learned [K]`` (bool) among the metrics says which.
        """

    def state(self) -> State:
        """Return all that the future depends on; "policy" is what an evaluation needs."""

    def load(self, state: State) -> None:
        """Continue from what ``state`` returned; from its "policy" alone, only acting works."""


@runtime_checkable
class HasMemory(Protocol):
    """An agent that remembers earlier observations of an episode.

    Greedy acting has a memory of its own, which an evaluation begins anew; the memory of training
    follows what ``observe`` is told.
    """

    def forget(self) -> None:
        """Begin greedy acting anew: every lane is at the start of an episode."""


@runtime_checkable
class HasArrays(Protocol):
    """An agent whose result is worth a picture: a finished run keeps its arrays."""

    def arrays(self) -> dict[str, Tensor]:
        """Return arrays by name, ``[K, ...]``; floats."""


@runtime_checkable
class HasRemarks(Protocol):
    """An agent that can end without having got where it was to get: a finished run says so."""

    def remarks(self) -> Sequence[str | None]:
        """Return, at the end of the budget, one line of each seed, or None: K of them."""
