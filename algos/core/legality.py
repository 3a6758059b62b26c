"""Which actions are legal: a mask that is stored with the observation.

Where the environment tells it (``env.masks: true``), a mask is appended to each observation, 1 for
a legal action and 0 for an illegal one: as further numbers of a vector, or as one more plane of an
image. Whatever stores observations (replay, rollouts, checkpoints) thereby stores their masks, also
those of true successors. Networks see the observation without the mask.

An illegal action's logit or value becomes the lowest finite number. Its probability is then exactly
0, it adds exactly 0 to entropies and KLs, it gets no gradient, and a maximum never chooses it
(Huang and Ontañón 2022).
"""

from dataclasses import dataclass
from typing import Any

import torch
from gymnasium import spaces
from torch import Tensor

from .agent import Component, Spec
from .settings import setting

MASKS = ("use", "ignore")

COMPONENT = Component(
    "action masks",
    "Huang and Ontañón 2022",
    on={"masks": "use"},
    off={"masks": "ignore"},  # the agent may take what is illegal, and bootstrap from it
    foundation=True,
)


def masks_setting() -> Any:
    """Return the field ``masks`` of the configs of agents that can use masks."""
    return setting(
        "use", "whether the environment's word on legal actions counts (env.masks)", choices=MASKS
    )


@dataclass(frozen=True)
class Legality:
    """How to take masks from observations ``[..., *obs]``.

    Attributes:
        entries: numbers of a mask; 0: observations carry none.
        used: whether observations carry masks and the agent uses them.
        image: whether observations are ``[C, H, W]``, the mask in the last plane.
    """

    entries: int = 0
    used: bool = False
    image: bool = False

    @classmethod
    def of(cls, spec: Spec, masks: str) -> "Legality":
        """Return the legality of a task for an agent whose setting is ``masks``."""
        used = spec.legal > 0 and masks == "use"
        return cls(spec.legal, used, len(spec.obs_space.shape) == 3)

    def space(self, space: spaces.Box) -> spaces.Box:
        """Return the space of observations without their masks."""
        if not self.entries:
            return space
        cut = slice(-1 if self.image else -self.entries)
        return spaces.Box(space.low[cut], space.high[cut], dtype=space.dtype.type)

    def plain(self, obs: Tensor) -> Tensor:
        """Return observations without their masks."""
        if not self.entries:
            return obs
        return (obs[..., :-1, :, :] if self.image else obs[..., : -self.entries]).contiguous()

    def _behind(self, obs: Tensor) -> Tensor:
        """Return the stored mask of an observation: its last numbers or its last plane."""
        return obs[..., -1:, :, :] if self.image else obs[..., -self.entries :]

    def mask(self, obs: Tensor) -> Tensor | None:
        """Return which actions are legal, ``[..., entries]`` bool; None where masks are unused."""
        if not self.used:
            return None
        behind = self._behind(obs)
        return (behind.flatten(-3)[..., : self.entries] if self.image else behind) > 0

    def renewed(self, obs: Tensor, plain: Tensor) -> Tensor:
        """Return ``plain`` observations with the masks of ``obs`` appended."""
        if not self.entries:
            return plain
        return torch.cat([plain, self._behind(obs).to(plain.dtype)], -3 if self.image else -1)


NO_MASKS = Legality()


def unheeded(spec: Spec) -> str | None:
    """Say why a task is impossible for an agent that knows of no masks, or None if it has none."""
    if not spec.legal:
        return None
    return "it does not know which actions are legal: leave env.masks at false"


def barred(values: Tensor, legal: Tensor | None) -> Tensor:
    """Return ``values [..., A]`` with the lowest finite number for actions that are illegal."""
    if legal is None:
        return values
    return values.masked_fill(~legal, torch.finfo(values.dtype).min)
