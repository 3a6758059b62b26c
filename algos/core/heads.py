"""Value networks: a torso, and a plain or a dueling head."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

from torch import Tensor, nn

from .legality import NO_MASKS, Legality
from .nets import InitStream, Linear, Mode, NoisyLinear, innermost, through
from .recurrent import MemoryShape, Recurrent
from .rng import Member
from .torso import Around, Hidden, Torso


@dataclass(frozen=True)
class NetShape:
    """What a value network is made of.

    Attributes:
        obs: shape of an observation without its mask; three numbers mean an image ``[C, H, W]``.
        actions: A. atoms: Z, outputs per action.
        hidden: widths of the fully connected layers; the last is the head's own hidden layer.
        conv: ``(channels, kernel, stride)`` of each convolution, for images only.
        dueling: separate streams for value and advantage (Wang et al. 2016).
        noisy: whether the head's layers are noisy; sigma0: their initial noise.
        norm: "none", "layer" or "batch", before each hidden layer's ReLU.
        dropout: rate of the dropout behind it.
        batch: B while learning, which fixes the shape of dropout's masks.
        obs_scale: what observations are divided by (255 for frames).
        memory: of the recurrent layer between torso and head; None: there is none.
        legality: how observations carry masks.
    """

    obs: tuple[int, ...]
    actions: int
    atoms: int
    hidden: tuple[int, ...]
    conv: tuple[tuple[int, int, int], ...]
    dueling: bool
    noisy: bool
    sigma0: float
    norm: str
    dropout: float
    batch: int
    obs_scale: float
    memory: MemoryShape | None = None
    legality: Legality = NO_MASKS


class QNetwork(nn.Module):
    """K value networks, ``[K, B, *obs] -> [K, B, A, Z]``.

    ``name`` keys the random streams, so that two networks of one agent differ.
    """

    def __init__(self, shape: NetShape, seeds: Sequence[Member], name: str) -> None:
        super().__init__()
        self.shape = shape
        self._seeds, self._name, self._init = tuple(seeds), name, InitStream(seeds, f"init/{name}")
        self._noises = count()  # number the noisy layers, whose streams must differ
        around = Around(shape.norm, shape.dropout, shape.batch)
        self._layer = Hidden(self._init, seeds, name, around)
        *below, last = shape.hidden or (0,)
        self.torso = Torso(
            self._init,
            shape.obs,
            below,
            shape.conv,
            layer=self._layer,
            obs_scale=shape.obs_scale,
        )
        width = self.torso.width
        self.memory: Recurrent | None = None
        if shape.memory is not None:
            self.memory = Recurrent(self._init, width, shape.memory)
            width = self.memory.width
        self.advantage = self._stream(width, last, shape.actions * shape.atoms)
        self.value = self._stream(width, last, shape.atoms) if shape.dueling else None
        self._advantage = innermost(self.advantage)
        self._value = innermost(self.value) if self.value is not None else None
        self._noisy = [m for m in self.modules() if isinstance(m, NoisyLinear)]

    def _linear(self, n_in: int, n_out: int) -> Linear:
        if not self.shape.noisy:
            return Linear(self._init, n_in, n_out)
        purpose = f"noise/{self._name}/{next(self._noises)}"
        return NoisyLinear(self._init, n_in, n_out, self._seeds, purpose, self.shape.sigma0)

    def _hidden(self, n_in: int, n_out: int) -> nn.Sequential:
        if not self.shape.noisy:
            return self._layer(n_in, n_out)
        return self._layer.behind(self._linear(n_in, n_out))

    def _stream(self, n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
        if not n_hidden:
            return nn.Sequential(self._linear(n_in, n_out))
        return nn.Sequential(self._hidden(n_in, n_hidden), self._linear(n_hidden, n_out))

    def forward(self, obs: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Return the values of every action, illegal ones too."""
        return self._heads(self.torso.forward(self.shape.legality.plain(obs), mode), mode)

    def recall(
        self, obs: Tensor, state: Tensor, begins: Tensor | None = None, mode: Mode = Mode.SAMPLE
    ) -> tuple[Tensor, Tensor]:
        """Go through sequences with a memory.

        Args:
            obs: ``[K, T, B, *obs]``. state: ``[K, B, S]``, before the first step.
            begins: ``[K, T, B]`` bool, where an episode begins; None: nowhere. mode: as ever.

        Returns:
            Values ``[K, T, B, A, Z]``, illegal actions' too, and the states behind the steps
            ``[K, T, B, S]``.
        """
        assert self.memory is not None
        plain = self.shape.legality.plain(obs.flatten(1, 2))
        x = self.torso.forward(plain, mode).view(*obs.shape[:3], -1)
        y, states = self.memory.forward(x, state, begins)
        out = self._heads(y.flatten(1, 2), mode)
        return out.view(*obs.shape[:3], *out.shape[2:]), states

    def _heads(self, x: Tensor, mode: Mode) -> Tensor:
        batch = x.shape[1]
        out = through(self._advantage, x, mode)
        out = out.reshape(len(out), batch, self.shape.actions, self.shape.atoms)
        if self._value is not None:
            value = through(self._value, x, mode).unsqueeze(2)
            out = value + out - out.mean(2, keepdim=True)  # Wang et al. 2016, eq. 9
        return out

    def resample(self) -> None:
        """Draw new noise for every noisy layer."""
        for layer in self._noisy:
            layer.resample()
