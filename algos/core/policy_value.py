"""A policy and a critic: two networks of one shape that are computed as one, or two heads.

Twin networks lie side by side as 2K stacked networks, so both cost one set of operations.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor, nn

from .legality import NO_MASKS, Legality, barred
from .nets import Conv2d, InitStream, Linear, Mode
from .recurrent import MemoryShape, Recurrent
from .rng import Member
from .torso import BARE, Around, Hidden, Torso


@dataclass(frozen=True)
class PolicyShape:
    """What the networks are made of.

    Attributes:
        obs: shape of an observation without its mask; three numbers mean an image ``[C, H, W]``.
        outputs: of the policy. values: of the critic; 0 = there is no critic.
        free_std: log standard deviations that do not depend on the state, else 0.
        hidden, conv, activation, obs_scale: see ``Torso``.
        shared: one torso with two heads instead of two networks.
        orthogonal: initial weights, with gains of sqrt(2), 0.01 (policy) and 1 (critic).
        log_std: where the log standard deviations start.
        memory: of the recurrent layer between torso and heads; None: there is none.
        legality: how observations carry masks. around: normalisation and dropout.
    """

    obs: tuple[int, ...]
    outputs: int
    values: int
    free_std: int
    hidden: tuple[int, ...]
    conv: tuple[tuple[int, int, int], ...]
    activation: str
    obs_scale: float
    shared: bool
    orthogonal: bool
    log_std: float
    memory: MemoryShape | None = None
    legality: Legality = NO_MASKS
    around: Around = BARE

    @property
    def members(self) -> int:
        """Networks per seed: the policy and, where it is one of its own, the critic."""
        return 2 if self.values and not self.shared else 1


class _Net(nn.Module):
    """M stacked networks, ``[M, B, *obs] -> [M, B, width]``."""

    def __init__(
        self, init: InitStream, members: Sequence[Member], shape: PolicyShape, width: int
    ) -> None:
        super().__init__()
        self.torso = Torso(
            init,
            shape.obs,
            shape.hidden,
            shape.conv,
            layer=Hidden(init, members, "policy", shape.around, shape.activation),
            obs_scale=shape.obs_scale,
        )
        features = self.torso.width
        self.memory: Recurrent | None = None
        if shape.memory is not None:
            self.memory = Recurrent(init, features, shape.memory)
            features = self.memory.width
        self.head = Linear(init, features, width)

    def forward(self, obs: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        return self.head.forward(self.torso.forward(obs, mode))

    def recall(
        self, obs: Tensor, state: Tensor, begins: Tensor | None, mode: Mode
    ) -> tuple[Tensor, Tensor]:
        """Return ``[M, T, B, width]`` and states ``[M, T, B, S]`` of ``obs [M, T, B, *obs]``."""
        assert self.memory is not None
        x = self.torso.forward(obs.flatten(1, 2), mode).view(*obs.shape[:3], -1)
        y, states = self.memory.forward(x, state, begins)
        return self.head.forward(y.flatten(1, 2)).view(*obs.shape[:3], -1), states

    def of_member(self, shape: PolicyShape, member: int, members: int) -> Self:
        """Return every ``members``-th network, whose parameters are views of these."""
        few = [0] * (self.head.weight.shape[0] // members)
        net = type(self)(InitStream(few), few, shape, self.head.n_out)
        for mine, whole in (net.parameters(), self.parameters()), (net.buffers(), self.buffers()):
            for ours, theirs in zip(mine, whole, strict=True):
                ours.data = theirs.data[member::members]
        return net


class PolicyValue(nn.Module):
    """K policies with their critics.

    Outputs of a policy are barred where the observation's mask says so.

    ``tie`` must follow whatever moves the parameters to other memory. Stacked parameters lead with
    ``K * members``: a seed's policy, then, where it is a network of its own, its critic.

    Attributes:
        members: networks per seed.
    """

    def __init__(self, shape: PolicyShape, seeds: Sequence[int], name: str = "policy") -> None:
        super().__init__()
        self.shape = shape
        self.members = shape.members
        ids: list[Member] = [(seed, m) for seed in seeds for m in range(self.members)]
        init = InitStream(ids, f"init/{name}")
        apart = self.members == 2
        width = max(shape.outputs, shape.values) if apart else shape.outputs + shape.values
        self.net = _Net(init, ids, shape, width)
        if shape.orthogonal:
            self._start_orthogonal(init)
        free = torch.full((len(ids), 1, shape.free_std), shape.log_std)
        self.free_std = nn.Parameter(free) if shape.free_std else None
        self.tie()

    @torch.no_grad()
    def _start_orthogonal(self, init: InitStream) -> None:
        for layer in self.net.torso.modules():
            if isinstance(layer, Linear | Conv2d):
                layer.orthogonal(init, math.sqrt(2))
        if self.net.memory is not None:
            self.net.memory.orthogonal(init, 1.0)
        head, p, v = self.net.head, self.shape.outputs, self.shape.values
        policy, critic = (init.orthogonal(n, head.n_in) for n in (p, max(v, 1)))
        head.weight.zero_()
        assert head.bias is not None
        head.bias.zero_()
        rows = head.weight[..., : head.n_in]
        rows[:: self.members, :p] = 0.01 * policy[:: self.members]
        if self.members == 2:
            rows[1::2, :v] = critic[1::2]
        elif v:
            rows[:, p : p + v] = critic

    def tie(self) -> None:
        """Make the views of single members anew."""
        if self.members == 2:
            # not submodules: their parameters are those of ``net``
            views = [self.net.of_member(self.shape, m, 2) for m in range(2)]
            self._alone: tuple[_Net, ...] = tuple(views)

    @property
    def log_std(self) -> Tensor | None:
        """The policies' free log standard deviations ``[K, 1, D]``."""
        return None if self.free_std is None else self.free_std[:: self.members]

    def forward(self, obs: Tensor, mode: Mode = Mode.SAMPLE) -> tuple[Tensor, Tensor]:
        """Return policy outputs ``[K, B, P]`` and values ``[K, B, V]`` of ``obs [K, B, *obs]``."""
        p, v = self.shape.outputs, self.shape.values
        legal, obs = self._read(obs)
        if self.members == 1:
            out = self.net.forward(obs, mode)
            return barred(out[..., :p], legal), out[..., p:]
        out = self.net.forward(obs.repeat_interleave(2, 0), mode)
        both = out.view(-1, 2, *out.shape[1:])
        return barred(both[:, 0, :, :p], legal), both[:, 1, :, :v]

    def _read(self, obs: Tensor) -> tuple[Tensor | None, Tensor]:
        """Return what is legal, and the observations without it."""
        legality = self.shape.legality
        return legality.mask(obs), legality.plain(obs)

    def recall(
        self, obs: Tensor, state: Tensor, begins: Tensor | None = None, mode: Mode = Mode.SAMPLE
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Go through sequences with a memory.

        Args:
            obs: ``[K, T, B, *obs]``. state: ``[K, members, B, S]``, before the first step.
            begins: ``[K, T, B]`` bool, where an episode begins; None: nowhere. mode: as ever.

        Returns:
            Policy outputs ``[K, T, B, P]``, values ``[K, T, B, V]`` and the states behind the steps
            ``[K, members, T, B, S]``.
        """
        m, (p, v) = self.members, (self.shape.outputs, self.shape.values)
        legal, obs = self._read(obs)
        if m == 2:
            obs = obs.repeat_interleave(2, 0)
            begins = None if begins is None else begins.repeat_interleave(2, 0)
        out, states = self.net.recall(obs, state.flatten(0, 1), begins, mode)
        states = states.view(-1, m, *states.shape[1:])
        if m == 1:
            return barred(out[..., :p], legal), out[..., p:], states
        both = out.view(-1, 2, *out.shape[1:])
        return barred(both[:, 0, ..., :p], legal), both[:, 1, ..., :v], states

    @torch.no_grad()
    def policy(self, obs: Tensor) -> Tensor:
        """Return the policy's outputs alone, without a graph."""
        net = self.net if self.members == 1 else self._alone[0]
        legal, obs = self._read(obs)
        return barred(net.forward(obs)[..., : self.shape.outputs], legal)

    @torch.no_grad()
    def values(self, obs: Tensor) -> Tensor:
        """Return the critic's values alone, without a graph."""
        obs = self.shape.legality.plain(obs)
        if self.members == 1:
            return self.net.forward(obs)[..., self.shape.outputs :]
        return self._alone[1].forward(obs)[..., : self.shape.values]
