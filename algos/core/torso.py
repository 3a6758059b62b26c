"""The shared lower part of every network: convolutions, then fully connected layers."""

from collections.abc import Callable, Sequence

import torch
from gymnasium import spaces
from torch import Tensor, nn

from .nets import Conv2d, InitStream, Linear, Mode, innermost, through

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


class Torso(nn.Module):
    """K torsos, ``[K, B, *obs] -> [K, B, width]``.

    Args:
        init: draws the initial parameters, convolutions first.
        obs: shape of an observation; three numbers mean an image ``[C, H, W]``.
        hidden: widths of the fully connected layers.
        conv: ``(channels, kernel, stride)`` of each convolution, for images only; ReLU follows.
        layer: makes a hidden layer from its two widths; by default ``Linear`` and ``activation``.
        activation: "relu" or "tanh", of the default layer.
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
        activation: str = "relu",
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
        self.layers = nn.ModuleList()
        for n in hidden:
            if layer is None:
                plain = Linear(init, self.width, n)
                self.layers.append(nn.Sequential(plain, ACTIVATIONS[activation]()))
            else:
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
