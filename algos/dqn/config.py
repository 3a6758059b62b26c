"""Settings of the DQN family, and the components that its ablations take out or put in."""

from dataclasses import dataclass

from ..core import explore, legality, torso
from ..core.agent import Component, Family, Preset
from ..core.checks import check_cadence, check_schedule
from ..core.configs import DeepConfig, LevelConfig, MemoryConfig
from ..core.settings import setting

TARGETS = ("hard", "soft", "none")
WARMUPS = ("uniform", "policy")
DOUBLES = ("off", "target", "coin")
VALUES = ("scalar", "categorical", "quantile")
LOSSES = ("huber", "squared")


@dataclass
class Exploration(LevelConfig):
    """How the behaviour policy departs from the greedy one; noisy networks replace it."""

    kind: str = setting("epsilon_greedy", "the policy that acts", choices=explore.KINDS)


@dataclass
class DQNConfig(MemoryConfig, DeepConfig):
    """Every setting of the family; steps are environment steps of one seed.

    The defaults are CleanRL's for classic control (dqn.py: 120-84 network, batch 128, an update
    every 10 steps), so that presets state only what makes them themselves.
    """

    agent: str = "dqn"
    name: str = "dqn"
    label: str = "DQN"

    hidden: list[int] = setting(
        [120, 84], "widths of the hidden layers; the last is the head's own", ge=1
    )
    norm: str = setting("none", "normalisation behind each hidden layer", choices=torso.NORMS)
    dropout: float = setting(
        0.0, "share of a hidden layer's outputs that an update leaves out", ge=0, lt=1
    )
    loss: str = setting("squared", "of the TD error; value=scalar only", choices=LOSSES)

    replay: bool = setting(
        True, "false: an update learns from the newest transition of each lane only"
    )
    buffer_size: int = setting(10_000, "transitions kept per seed", ge=1)
    batch_size: int = setting(128, "transitions in an update; with a memory, sequences", ge=1)
    learning_starts: int = setting(10_000, "environment steps before the first update", ge=0)
    train_every: int = setting(
        10,
        "environment steps between updates: a multiple of lanes; below it, every tick",
        ge=1,
    )
    gradient_steps: int = setting(1, "updates each time", ge=1)

    target: str = setting(
        "hard",
        "how the target network follows: copies, a moving average, or not there at all",
        choices=TARGETS,
    )
    target_every: int = setting(500, "environment steps between copies (target=hard)", ge=1)
    tau: float = setting(
        0.005, "share of the online network mixed in at each update (target=soft)", gt=0, le=1
    )

    double: str = setting(
        "off",
        "target: the online network chooses the action; coin: of two networks, one learns",
        choices=DOUBLES,
    )
    dueling: bool = setting(False, "two streams: the state's value, and the actions' advantages")
    n_step: int = setting(1, "steps of reward in a target", ge=1)
    prioritized: bool = setting(False, "replay in proportion to the last loss")
    alpha: float = setting(0.5, "priority exponent; 0: uniform", ge=0, le=1)
    beta_start: float = setting(
        0.4, "importance-weight exponent at the start, annealed over the budget", ge=0, le=1
    )
    beta_end: float = setting(1.0, "importance-weight exponent at the end", ge=0, le=1)
    value: str = setting(
        "scalar", "what is learned of a return: categorical is C51, quantile QR-DQN", choices=VALUES
    )
    atoms: int = setting(51, "points of the support (value=categorical)", ge=2)
    v_min: float = setting(-100.0, "lowest point of the support, a return", free=True)
    v_max: float = setting(100.0, "highest point of the support, a return", free=True)
    quantiles: int = setting(50, "quantiles (value=quantile)", ge=1)
    kappa: float = setting(1.0, "threshold of the quantile Huber loss; 0: pinball", ge=0)
    noisy: bool = setting(False, "noisy layers in the head instead of the exploration below")
    sigma0: float = setting(0.5, "noise of noisy layers at the start, over sqrt(inputs)", ge=0)
    exploration: Exploration = setting(Exploration, "the behaviour policy")
    warmup_actions: str = setting(
        "uniform",
        "actions before learning_starts where epsilon is 0 (noisy, exploration.kind=greedy):"
        " random ones, or those of the untrained policy",
        choices=WARMUPS,
    )
    masks: str = legality.masks_setting()
    compile: bool = setting(False, "put the loss through torch.compile")
    sequence: int = setting(
        20, "steps of a sequence: gradients go back over as many (memory=gru, lstm)", ge=1
    )
    burn_in: int = setting(
        20, "steps before a sequence that rebuild what was remembered, without gradients", ge=0
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        check_cadence(self.lanes, self.train_every)
        check_schedule("exploration", self.exploration)
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
        for wrong, message in (*checks, *self._without_memory()):
            if wrong:
                raise ValueError(message)

    def _without_memory(self) -> list[tuple[bool, str]]:
        """Return what a memory does not go with."""
        others = {
            "prioritized=false": self.prioritized,
            "n_step=1": self.n_step > 1,
            "replay=true": not self.replay,
            "dropout=0": self.dropout > 0,
            "norm=none or layer": self.norm == "batch",
            "compile=false": self.compile,
        }
        remembers = self.memory != "none"
        return [(remembers and on, f"memory={self.memory} needs {x}") for x, on in others.items()]


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
    Component(
        "memory",
        "Hausknecht and Stone 2015",
        on={"memory": "gru"},
        off={"memory": "none"},  # each observation by itself
        foundation=True,
    ),
    legality.COMPONENT,
    *torso.COMPONENTS,
)

FAMILY = Family(
    base="dqn",
    full="rainbow",
    parts=("double", "prioritized", "dueling", "multi-step", "distributional", "noisy"),
)

PRESETS = {
    "dqn": Preset(
        "replay, a hard target network, epsilon-greedy; CleanRL's settings for classic control",
        "Mnih et al. 2015",
    ),
    "double_dqn": Preset(
        "the online network chooses, the target network values", "van Hasselt et al. 2016"
    ),
    "double_q": Preset(
        "two networks: a coin picks which of them learns, the other one values",
        "van Hasselt 2010",
    ),
    "per_dqn": Preset("proportional prioritised replay", "Schaul et al. 2016"),
    "dueling_dqn": Preset(
        "streams for the state's value and for mean-normalised advantages", "Wang et al. 2016"
    ),
    "nstep_dqn": Preset("multi-step targets", "Sutton 1988"),
    "noisy_dqn": Preset("factorised noise in the head's weights explores", "Fortunato et al. 2018"),
    "c51": Preset(
        "learns the distribution of returns on 51 atoms; their support depends on the task",
        "Bellemare et al. 2017",
    ),
    "qrdqn": Preset(
        "learns quantiles of the returns, by the quantile Huber loss", "Dabney et al. 2018"
    ),
    "recurrent_dqn": Preset(
        "DQN that remembers by a gated recurrent unit and replays sequences, with a burn-in",
        "Hausknecht and Stone 2015; Kapturowski et al. 2019",
    ),
    "rainbow": Preset("all six parts of the family together", "Hessel et al. 2018"),
}
