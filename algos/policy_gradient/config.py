"""Settings that the policy-gradient agents share."""

import math
from dataclasses import dataclass, field
from typing import ClassVar

from ..core import torso
from ..core.checks import check_layers, check_optimizer, one_of, within

_POSITIVE = ("lanes",)
_SHARES = ("gamma",)
_NOT_NEGATIVE = ("entropy",)


@dataclass
class PolicyGradientConfig:
    """Network, optimiser and normalisation; steps are environment steps of one seed."""

    RESETS: ClassVar[tuple[str, ...]] = ("each",)

    agent: str = ""
    name: str = ""
    label: str = ""
    lanes: int = 4  # environments per seed
    reset: str = "each"
    gamma: float = 0.99  # discount per step

    hidden: list[int] = field(default_factory=lambda: [64, 64])
    conv: list[list[int]] = field(default_factory=lambda: [[16, 3, 1]])  # channels, kernel, stride
    activation: str = "tanh"  # or relu
    orthogonal: bool = True  # initial weights, with gains sqrt(2), 0.01 (policy), 1 (critic)
    shared: bool = False  # one torso for policy and critic
    log_std: float = 0.0  # of a continuous policy at the start; it does not depend on the state

    optimizer: str = "adam"  # or rmsprop (centred), rmsprop_uncentred, sgd
    lr: float = 2.5e-4
    adam_eps: float = 1e-5  # added to the root of the second moment; rmsprop's too
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])  # betas[1] is rmsprop's alpha
    grad_clip: float | None = 0.5  # bound on each seed's gradient norm
    anneal: bool = False  # the learning rate falls linearly to 0 at the end of the budget
    entropy: float = 0.0  # weight of the policy's entropy in the objective

    normalize_obs: bool = False  # by running mean and deviation
    normalize_reward: bool = False  # by the running deviation of the discounted return

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        one_of("reset", self.reset, self.RESETS)
        one_of("activation", self.activation, tuple(torso.ACTIVATIONS))
        check_optimizer(self)
        check_layers(self.hidden, self.conv)
        for key in _POSITIVE:
            within(key, getattr(self, key), 1, math.inf)
        for key in _NOT_NEGATIVE:
            within(key, getattr(self, key), 0, math.inf)
        for key in _SHARES:
            within(key, getattr(self, key), 0, 1)


def check_batches(batch_size: int, rollout: int, lanes: int) -> None:
    """Raise unless minibatches divide the rows of a rollout."""
    rows = rollout * lanes
    if rows % batch_size:
        raise ValueError(
            f"batch_size={batch_size} must divide rollout * lanes = {rollout} * {lanes} = {rows}"
        )
