"""Settings of the DQN family, and the components that its ablations take out or put in."""

import math
from dataclasses import dataclass, field

from ..core import explore
from ..core.agent import Component, Family
from ..core.checks import (
    check_cadence,
    check_layers,
    check_optimizer,
    check_schedule,
    one_of,
    within,
)

NORMS = ("none", "layer", "batch")
TARGETS = ("hard", "soft", "none")
DOUBLES = ("off", "target", "coin")
VALUES = ("scalar", "categorical", "quantile")
LOSSES = ("huber", "squared")

_NAMES = {
    "norm": NORMS,
    "target": TARGETS,
    "double": DOUBLES,
    "value": VALUES,
    "loss": LOSSES,
    "reset": ("each",),
}
_COUNTS = ("lanes", "buffer_size", "batch_size", "train_every", "gradient_steps", "target_every")
_SHARES = ("gamma", "dropout", "tau", "beta_start", "beta_end", "alpha")
_BOUNDS = {
    **dict.fromkeys((*_COUNTS, "n_step", "quantiles"), (1, math.inf)),
    **dict.fromkeys(_SHARES, (0, 1)),
    **dict.fromkeys(("learning_starts", "kappa", "sigma0"), (0, math.inf)),
    "atoms": (2, math.inf),
}


@dataclass
class Exploration:
    """How the behaviour policy departs from the greedy one; noisy networks replace it."""

    kind: str = "epsilon_greedy"  # or boltzmann, greedy
    start: float = 1.0  # epsilon, or the temperature in units of value
    end: float = 0.05
    fraction: float = 0.5  # share of the budget after which `end` is reached
    schedule: str = "linear"  # or exponential, glie, constant


@dataclass
class DQNConfig:
    """Every setting of the family; steps are environment steps of one seed.

    The defaults are CleanRL's for classic control (dqn.py: 120-84 network, batch 128, an update
    every 10 steps), so that presets state only what makes them themselves.
    """

    agent: str = "dqn"
    name: str = "dqn"
    label: str = "DQN"
    lanes: int = 1  # environments per seed
    reset: str = "each"
    gamma: float = 0.99  # discount per step

    hidden: list[int] = field(default_factory=lambda: [120, 84])  # the last is the head's own layer
    conv: list[list[int]] = field(default_factory=lambda: [[16, 3, 1]])  # channels, kernel, stride
    norm: str = "none"  # or layer, batch
    dropout: float = 0.0

    optimizer: str = "adam"  # or rmsprop (centred), rmsprop_uncentred, sgd
    lr: float = 2.5e-4
    adam_eps: float = 1e-8  # added to the root of the second moment; rmsprop's too
    betas: list[float] = field(default_factory=lambda: [0.9, 0.999])  # betas[1] is rmsprop's alpha
    loss: str = "squared"  # or huber; scalar values only
    grad_clip: float | None = None  # bound on each seed's gradient norm

    replay: bool = True  # false: an update learns from the newest transition of each lane only
    buffer_size: int = 10_000  # transitions per seed
    batch_size: int = 128
    learning_starts: int = 10_000
    train_every: int = 10  # steps between updates: a multiple of lanes; below it, every tick
    gradient_steps: int = 1  # updates each time

    target: str = "hard"  # or soft, none (bootstrap from the online network)
    target_every: int = 500  # steps between copies (hard)
    tau: float = 0.005  # share of the online network mixed in at each update (soft)

    double: str = "off"  # target: online argmax; coin: two networks, a coin picks the learner
    dueling: bool = False
    n_step: int = 1
    prioritized: bool = False
    alpha: float = 0.5  # priority exponent
    beta_start: float = 0.4  # importance-weight exponent, annealed to beta_end over the budget
    beta_end: float = 1.0
    value: str = "scalar"  # or categorical (C51), quantile (QR-DQN)
    atoms: int = 51  # categorical
    v_min: float = -100.0
    v_max: float = 100.0
    quantiles: int = 50
    kappa: float = 1.0  # quantile Huber threshold; 0: pinball
    noisy: bool = False  # noisy head layers instead of the exploration below
    sigma0: float = 0.5
    exploration: Exploration = field(default_factory=Exploration)
    compile: bool = False  # put the loss through torch.compile

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        if isinstance(self.exploration, dict):
            self.exploration = Exploration(**self.exploration)
        for key, allowed in _NAMES.items():
            one_of(key, getattr(self, key), allowed)
        for key, (low, high) in _BOUNDS.items():
            within(key, getattr(self, key), low, high)
        check_cadence(self.lanes, self.train_every)
        check_optimizer(self)
        check_layers(self.hidden, self.conv)
        check_schedule("exploration", self.exploration, explore.KINDS)
        self._check_together()

    def _check_together(self) -> None:
        rows = self.batch_size if self.replay else self.lanes
        checks = (
            (
                self.v_min >= self.v_max,
                f"v_min must lie below v_max, got {self.v_min} and {self.v_max}",
            ),
            (self.norm == "batch" and rows == 1, "norm=batch needs two rows in an update"),
            (self.prioritized and not self.replay, "prioritized=true needs replay=true"),
            (
                self.prioritized and self.batch_size == 1,
                "prioritized=true needs batch_size above 1",
            ),
            (self.buffer_size < self.lanes, f"buffer_size must be at least lanes={self.lanes}"),
        )
        for wrong, message in checks:
            if wrong:
                raise ValueError(message)


COMPONENTS = (
    Component(
        "double",
        "van Hasselt et al. 2016",
        on={"double": "target"},
        off={"double": "off"},  # the target network chooses and values
    ),
    Component(
        "prioritized",
        "Schaul et al. 2016",
        on={"prioritized": True},
        off={"prioritized": False},  # uniform replay, weights of one
    ),
    Component(
        "dueling",
        "Wang et al. 2016",
        on={"dueling": True},
        off={"dueling": False},  # one stream of the same width
    ),
    Component("multi-step", "Sutton 1988", on={"n_step": 3}, off={"n_step": 1}),
    Component(
        "distributional",
        "Bellemare et al. 2017",
        on={"value": "categorical"},
        off={"value": "scalar"},  # priorities become |TD error|
    ),
    Component(
        "noisy",
        "Fortunato et al. 2018",
        on={"noisy": True},
        off={"noisy": False},  # brings the preset's epsilon-greedy exploration back
    ),
    Component(
        "replay",
        "Lin 1992",
        on={"replay": True},
        # Each transition once, when it is new: as many updates as with replay would repeat the
        # newest one where gradient_steps is large, and leave most unseen where train_every is.
        off={"replay": False, "train_every": 1, "gradient_steps": 1, "prioritized": False},
        foundation=True,
    ),
    Component(
        "target network",
        "Mnih et al. 2015",
        on={"target": "hard"},
        off={"target": "none"},
        foundation=True,
    ),
)

FAMILY = Family(
    base="dqn",
    full="rainbow",
    parts=("double", "prioritized", "dueling", "multi-step", "distributional", "noisy"),
)
