"""Generalised state-dependent exploration (Raffin et al. 2021, "Smooth exploration for robotic
reinforcement learning"): the noise of an action is a linear function of the policy's features.

``noise = features @ (std * draws)``. The normal ``draws`` are held for some ticks, during which the
same state gets the same noise. Over all draws the noise is Gaussian with variance
``features^2 @ std^2``.

Letters: H features, A numbers of an action.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..core.nets import Mode, per_seed
from ..core.parts import HasParts
from ..core.rng import RandomStream
from .networks import Perceptron, Sizes

_TINY = 1e-6  # added to the variance, whose logarithm must be finite where no feature is active


class FeatureGaussian(Perceptron):
    """K policies whose deviation is a function of their last hidden features.

    Args:
        seeds: the K seeds. sizes: of the networks that give the mean.
        log_std: initial logarithm of the weights' deviations ``[K, H, A]``.
    """

    def __init__(self, seeds: Sequence[int], sizes: Sizes, log_std: float) -> None:
        super().__init__(seeds, "actor", *sizes)
        # widths of one are padded: products of such matrices depend on K in the last bit
        width, actions = max(self.torso.width, 2), max(self.head.n_out, 2)
        self.log_std = nn.Parameter(torch.full((len(seeds), width, actions), log_std))

    def forward(self, x: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        """Return mean and log deviation of the Gaussian, ``[K, B, 2 A]``, alike in every mode."""
        features = self.torso.forward(x)
        # the deviation sends no gradient into the features, as in the published code
        square = self._padded(features.detach()).square()
        variance = torch.bmm(square, per_seed(torch.exp, 2 * self.log_std))
        variance = variance[:, : x.shape[1], : self.head.n_out]
        log_std = 0.5 * per_seed(torch.log, variance + _TINY)
        return torch.cat([self.head.forward(features), log_std], -1)

    def noisy(self, x: Tensor, draws: Tensor) -> Tensor:
        """Return the mean plus the noise of ``draws [K, N, H, A]``, ``[K, N, A]``."""
        features = self.torso.forward(x)
        std = per_seed(torch.exp, self.log_std)[:, : self.torso.width, : self.head.n_out]
        noise = features.unsqueeze(-1) * (std.unsqueeze(1) * draws)
        return self.head.forward(features) + per_seed(lambda n: n.sum(-2), noise)

    def _padded(self, features: Tensor) -> Tensor:
        rows, width = features.shape[1:]
        return F.pad(features, (0, max(0, 2 - width), 0, max(0, 2 - rows)))


class HeldDraws(HasParts):
    """Normal draws ``[K, N, H, A]`` for each lane, replaced every ``every`` ticks.

    Args:
        seeds: the K seeds. shape: ``(N, H, A)``. every: ticks between two draws.
    """

    PARTS = ("stream", "draws", "age")

    def __init__(
        self, seeds: Sequence[int], shape: tuple[int, int, int], every: int, device: torch.device
    ) -> None:
        self.every, self.age = every, 0
        self.stream = RandomStream(seeds, "act/gsde", shape, "normal", device)
        self.draws = torch.zeros(len(seeds), *shape, device=device)

    def __call__(self) -> Tensor:
        """Return the draws for the next tick."""
        if self.age % self.every == 0:
            self.draws = self.stream()
        self.age += 1
        return self.draws
