"""Which actions are legal: a mask that travels behind the observation.

Where the environment says it (``env.masks: true``), an observation ends in a mask, 1 for what is
legal and 0 for the rest: a vector in as many more numbers, an image in one more plane. So whatever
stores observations (replay, rollouts, checkpoints) stores their masks, those of true successors
too. Networks see the observation without it.

An illegal action's logit or value becomes the lowest finite number. Its probability is then exactly
0, it adds exactly 0 to entropies and KLs, no gradient passes through it, and a maximum passes it by
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
    """Return the field ``masks`` of the configs that know of masks."""
    return setting(
        "use", "whether the environment's word on legal actions counts (env.masks)", choices=MASKS
    )


@dataclass(frozen=True)
class Legality:
    """How masks come out of observations ``[..., *obs]``.

    Attributes:
        entries: of a mask; 0: observations carry none.
        used: whether there are masks that count.
        image: whether observations are ``[C, H, W]``, the mask in the last plane.
    """

    entries: int = 0
    used: bool = False
    image: bool = False

    @classmethod
    def of(cls, spec: Spec, masks: str) -> "Legality":
        """Return that of a task, for an agent whose setting is ``masks``."""
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
        """Return what stands behind an observation, as it is stored."""
        return obs[..., -1:, :, :] if self.image else obs[..., -self.entries :]

    def mask(self, obs: Tensor) -> Tensor | None:
        """Return which actions are legal, ``[..., entries]`` bool; None where no mask counts."""
        if not self.used:
            return None
        behind = self._behind(obs)
        return (behind.flatten(-3)[..., : self.entries] if self.image else behind) > 0

    def renewed(self, obs: Tensor, plain: Tensor) -> Tensor:
        """Return ``plain`` observations with the masks of ``obs`` behind them."""
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
    """Return ``values [..., A]`` with the lowest finite number where an action is not ``legal``."""
    if legal is None:
        return values
    return values.masked_fill(~legal, torch.finfo(values.dtype).min)
