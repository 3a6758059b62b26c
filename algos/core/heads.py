"""Value networks: a torso of convolutions or layers, and a plain or a dueling head."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count

import torch
from torch import Tensor, nn

from algos.core.nets import (
    BatchNorm,
    Conv2d,
    Dropout,
    InitStream,
    LayerNorm,
    Linear,
    NoisyLinear,
)
from algos.core.rng import Draws, Member


@dataclass(frozen=True)
class NetShape:
    """What a value network is made of.

    Attributes:
        obs: shape of an observation; three numbers mean an image ``[C, H, W]``.
        actions: A. atoms: Z, outputs per action.
        hidden: widths of the fully connected layers; the last is the head's own hidden layer.
        conv: ``(channels, kernel, stride)`` of each convolution, for images only.
        dueling: separate streams for value and advantage (Wang et al. 2016).
        noisy: whether the head's layers are noisy; sigma0: their initial noise.
        norm: "none", "layer" or "batch", before each hidden layer's ReLU.
        dropout: rate of the dropout behind it.
        batch: B while learning, which fixes the shape of dropout's masks.
        obs_scale: what observations are divided by (255 for frames).
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


class QNetwork(nn.Module):
    """K value networks, ``[K, B, *obs] -> [K, B, A, Z]``.

    ``name`` keys the random streams, so that two networks of one agent differ.
    """

    def __init__(self, shape: NetShape, seeds: Sequence[Member], name: str) -> None:
        super().__init__()
        self.shape = shape
        self._seeds, self._name, self._init = tuple(seeds), name, InitStream(seeds, f"init/{name}")
        self._noises = count()  # numbers the noisy layers, whose streams must differ
        self.convs = nn.ModuleList()
        width = self._build_convs() if len(shape.obs) == 3 else int(torch.Size(shape.obs).numel())
        *torso, last = shape.hidden or (0,)
        self.torso = nn.ModuleList()
        for n in torso:
            self.torso.append(self._hidden(width, n, noisy=False))
            width = n
        self.advantage = self._stream(width, last, shape.actions * shape.atoms)
        self.value = self._stream(width, last, shape.atoms) if shape.dueling else None
        # Plain tuples of the innermost layers: acting spares the modules' calls and look-ups.
        self._torso, self._advantage = _flat(self.torso), _flat(self.advantage)
        self._value = _flat(self.value) if self.value is not None else None
        self._noisy = [m for m in self.modules() if isinstance(m, NoisyLinear)]
        self._dropouts = [m for m in self.modules() if isinstance(m, Dropout)]
        self._modal = bool(self._dropouts) or shape.norm == "batch"
        self.eval()

    def _build_convs(self) -> int:
        channels, height, width = self.shape.obs
        for n, kernel, stride in self.shape.conv:
            self.convs.append(Conv2d(self._init, channels, n, kernel, stride))
            channels = n
            height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
        return channels * height * width

    def _linear(self, n_in: int, n_out: int, noisy: bool) -> Linear:
        if not noisy:
            return Linear(self._init, n_in, n_out)
        purpose = f"noise/{self._name}/{next(self._noises)}"
        return NoisyLinear(self._init, n_in, n_out, self._seeds, purpose, self.shape.sigma0)

    def _hidden(self, n_in: int, n_out: int, noisy: bool) -> nn.Sequential:
        layers: list[nn.Module] = [self._linear(n_in, n_out, noisy)]
        if self.shape.norm == "layer":
            layers.append(LayerNorm(len(self._seeds), n_out))
        elif self.shape.norm == "batch":
            layers.append(BatchNorm(len(self._seeds), n_out))
        layers.append(nn.ReLU(inplace=True))
        if self.shape.dropout > 0:
            index = sum(isinstance(m, Dropout) for m in self.modules())
            purpose = f"dropout/{self._name}/{index}"
            mask = (self.shape.batch, n_out)
            layers.append(Dropout(self.shape.dropout, self._seeds, purpose, mask))
        return nn.Sequential(*layers)

    def _stream(self, n_in: int, n_hidden: int, n_out: int) -> nn.Sequential:
        if not n_hidden:
            return nn.Sequential(self._linear(n_in, n_out, self.shape.noisy))
        hidden = self._hidden(n_in, n_hidden, self.shape.noisy)
        return nn.Sequential(hidden, self._linear(n_hidden, n_out, self.shape.noisy))

    def forward(self, obs: Tensor) -> Tensor:
        """Return the values of every action."""
        x = obs if obs.dtype == torch.float32 else obs.float()
        if self.shape.obs_scale != 1:
            x = x / self.shape.obs_scale
        for conv in self.convs:
            x = conv(x).relu_()
        if x.dim() > 3:
            x = x.flatten(2)
        batch = x.shape[1]
        if batch == 1:  # once for all layers, see nets.py
            x = x.expand(-1, 2, -1).contiguous()
        x = _through(self._torso, x)
        out = _through(self._advantage, x)[:, :batch]
        out = out.reshape(len(out), batch, self.shape.actions, self.shape.atoms)
        if self._value is not None:
            value = _through(self._value, x)[:, :batch].unsqueeze(2)
            out = value + out - out.mean(2, keepdim=True)  # Wang et al. 2016, eq. 9
        return out

    def resample(self) -> None:
        """Draw new noise for every noisy layer."""
        for layer in self._noisy:
            layer.resample()

    def learn_mode(self, learning: bool) -> None:
        """Switch batch norm and dropout between learning and acting."""
        if self._modal:
            self.train(learning)

    def streams(self) -> dict[str, Draws]:
        """Return the random streams of noise and dropout, which belong to the agent's state."""
        layers: list[NoisyLinear | Dropout] = [*self._noisy, *self._dropouts]
        return {layer.draws.purpose: layer.draws for layer in layers}

    def running(self) -> list[Tensor]:
        """Return the running statistics of batch norm, which no gradient moves."""
        norms = [m for m in self.modules() if isinstance(m, BatchNorm)]
        return [t for norm in norms for t in (norm.mean, norm.var)]

    def use_mean(self, mean: bool) -> None:
        """Act with the mean weights of noisy layers, or with their noise."""
        for layer in self._noisy:
            layer.mean = mean


def _flat(module: nn.Module) -> tuple[nn.Module, ...]:
    """Return a module's innermost layers in order."""
    inner = (nn.Sequential, nn.ModuleList)
    if not isinstance(module, inner):
        return (module,)
    return tuple(layer for child in module for layer in _flat(child))


def _through(layers: tuple[nn.Module, ...], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer.forward(x)
    return x
