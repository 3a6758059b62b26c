"""The shared lower part of every network: convolutions, then fully connected layers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from gymnasium import spaces
from torch import Tensor, nn

from .agent import Component
from .nets import (
    BatchNorm,
    Conv2d,
    Dropout,
    InitStream,
    LayerNorm,
    Linear,
    Mode,
    innermost,
    through,
)
from .rng import Member

NORMS = ("none", "layer", "batch")

COMPONENTS = (  # of agents with the settings ``norm`` and ``dropout``
    Component(
        "layer norm",
        "Ba et al. 2016",
        on={"norm": "layer"},
        off={"norm": "none"},
        foundation=True,
        exact=True,
    ),
    Component(
        "batch norm",
        "Ioffe and Szegedy 2015",
        on={"norm": "batch"},
        off={"norm": "none"},
        foundation=True,
        exact=True,
    ),
    Component(
        "dropout",
        "Srivastava et al. 2014",
        on={"dropout": 0.1},
        off={"dropout": 0.0},
        foundation=True,
    ),
)

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "relu": lambda: nn.ReLU(inplace=True),
    "tanh": nn.Tanh,
}


def obs_scale(space: spaces.Box) -> float:
    """Return what a ``Torso`` divides observations by: of images, their largest value, else 1.

    Images are three dimensions; fewer dimensions are plain numbers, whatever their type. Images
    without bounds, or within [-1, 1], stay as they are.
    """
    if len(space.shape) != 3:
        return 1.0
    largest = float(max(abs(float(space.low.min())), abs(float(space.high.max()))))
    return largest if 1 < largest < float("inf") else 1.0


def too_small(space: spaces.Box, conv: Sequence[Sequence[int]]) -> str | None:
    """Say in one clause why convolutions do not fit on the images of a space, None if they do."""
    if len(space.shape) != 3:
        return None
    _, height, width = space.shape
    for _, kernel, stride in conv:
        if min(height, width) < kernel:
            return f"conv={[list(layer) for layer in conv]} does not fit on images {space.shape}"
        height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
    return None


@dataclass(frozen=True)
class Around:
    """What stands around a hidden layer's activation.

    Attributes:
        norm: "none", "layer" or "batch", before it.
        dropout: rate of the dropout behind it.
        batch: B while learning, which fixes the shape of dropout's masks.
    """

    norm: str = "none"
    dropout: float = 0.0
    batch: int = 1


BARE = Around()


class Hidden:
    """Makes hidden layers: an affine map, normalisation, activation, dropout.

    A linear map before batch normalisation has no bias, which would be subtracted again.

    Args:
        init: draws the initial parameters. seeds: the members. name: keys the streams of dropout.
        around: see there. activation: "relu" or "tanh".
    """

    def __init__(
        self,
        init: InitStream,
        seeds: Sequence[Member],
        name: str,
        around: Around = BARE,
        activation: str = "relu",
    ) -> None:
        self._init, self._seeds, self._name = init, tuple(seeds), name
        self._around, self._activation, self._dropouts = around, activation, 0

    def __call__(self, n_in: int, n_out: int) -> nn.Sequential:
        """Return a layer of new weights."""
        return self.behind(Linear(self._init, n_in, n_out, biased=self._around.norm != "batch"))

    def behind(self, linear: Linear) -> nn.Sequential:
        """Return a layer that begins with these weights."""
        layers: list[nn.Module] = [linear]
        if self._around.norm == "layer":
            layers.append(LayerNorm(len(self._seeds), linear.n_out))
        elif self._around.norm == "batch":
            layers.append(BatchNorm(len(self._seeds), linear.n_out))
        layers.append(ACTIVATIONS[self._activation]())
        if self._around.dropout > 0:
            purpose = f"dropout/{self._name}/{self._dropouts}"
            self._dropouts += 1
            mask = (self._around.batch, linear.n_out)
            layers.append(Dropout(self._around.dropout, self._seeds, purpose, mask))
        return nn.Sequential(*layers)


class Torso(nn.Module):
    """K torsos, ``[K, B, *obs] -> [K, B, width]``.

    Args:
        init: draws the initial parameters, convolutions first.
        obs: shape of an observation; three numbers mean an image ``[C, H, W]``.
        hidden: widths of the fully connected layers.
        conv: ``(channels, kernel, stride)`` of each convolution, for images only; ReLU follows.
        layer: makes a hidden layer from its two widths; by default ``Linear`` and ReLU.
        obs_scale: what observations are divided by; see the function of this name.

    Attributes:
        width: features that come out.
    """

    def __init__(
        self,
        init: InitStream,
        obs: Sequence[int],
        hidden: Sequence[int],
        conv: Sequence[tuple[int, int, int]] = (),
        *,
        layer: Callable[[int, int], nn.Module] | None = None,
        obs_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.obs_scale = obs_scale
        self.convs = nn.ModuleList()
        self.width = int(torch.Size(obs).numel())
        if len(obs) == 3:
            channels, height, width = obs
            for n, kernel, stride in conv:
                self.convs.append(Conv2d(init, channels, n, kernel, stride))
                channels = n
                height, width = (height - kernel) // stride + 1, (width - kernel) // stride + 1
            self.width = channels * height * width
        self.layers, layer = nn.ModuleList(), layer or Hidden(init, (), "")
        for n in hidden:
            self.layers.append(layer(self.width, n))
            self.width = n
        self._layers = innermost(self.layers)

    def forward(self, obs: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Return the features."""
        x = obs if obs.is_floating_point() else obs.float()
        if self.obs_scale != 1:
            x = x / self.obs_scale
        for conv in self.convs:
            x = conv(x).relu_()
        if x.dim() > 3:
            x = x.flatten(2)
        return through(self._layers, x, mode)
