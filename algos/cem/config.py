"""Settings of the cross-entropy method, and the components that its ablations take out."""

from dataclasses import dataclass

from ..core.agent import Component, Family, Preset
from ..core.configs import AgentConfig
from ..core.settings import setting

MODELS = ("table", "linear", "neural", "forest")


@dataclass
class CEMConfig(AgentConfig):
    """Over sessions: sample with the policy, imitate the best (elite) sessions.

    An iteration is ``lanes x rounds`` sessions, as few as hold the ``sessions`` that are set.
    """

    agent: str = "cem"
    name: str = "cem"
    label: str = "CEM"
    lanes: int = setting(
        20, "parallel environments per seed (`num_envs` elsewhere): sessions at once", ge=1
    )
    sessions: int = setting(
        20, "sessions before the policy is fitted, rounded up to as many of each lane", ge=1
    )
    reset: str = setting(
        "wait", "a lane waits until the sessions of all have ended", choices=("wait",)
    )
    gamma: float = setting(
        1.0,
        "discount per step, of reports and shaping: elites are chosen by the plain return",
        ge=0,
        le=1,
    )

    model: str = setting(
        "neural",
        "the policy; forest: a random forest; table: of probabilities, for discrete observations",
        choices=MODELS,
    )
    elite: float = setting(
        0.25,
        "share of the remembered sessions that is imitated, and what equals its last",
        gt=0,
        le=1,
    )
    memory: int = setting(4, "iterations whose sessions are remembered", ge=1)
    entropy: float = setting(
        0.01, "weight of the entropy bonus (model=neural, linear; discrete actions)", ge=0
    )
    smoothing: float = setting(
        0.5, "share of the new policy mixed into the old one (model=table)", gt=0, le=1
    )

    hidden: list[int] = setting([64], "widths of the hidden layers (model=neural)", ge=1)
    lr: float = setting(1e-2, "learning rate, by Adam (model=neural, linear)", ge=0)
    updates: int = setting(50, "gradient steps an iteration (model=neural, linear)", ge=1)
    batch_size: int = setting(256, "steps of elites in a gradient step", ge=1)
    trees: int = setting(20, "trees (model=forest)", ge=1)
    # continuous actions are regressed; sessions add normal noise
    noise_start: float = setting(
        1.0,
        "deviation of the noise on continuous actions at the start, in half the action range",
        ge=0,
    )
    noise_end: float = setting(0.1, "deviation of that noise at the end", ge=0)
    noise_fraction: float = setting(
        0.7, "share of the budget after which `noise_end` is reached", ge=0, le=1
    )

    @property
    def rounds(self) -> int:
        """Sessions of each lane in an iteration."""
        return -(-self.sessions // self.lanes)


COMPONENTS = (
    Component(
        "session memory",
        "Prism's own; the papers fit an iteration's own sessions",
        on={"memory": 4},
        off={"memory": 1},  # the sessions of the last iteration alone
    ),
    Component(
        "entropy",
        "Williams and Peng 1991",
        on={"entropy": 0.01},
        off={"entropy": 0.0},
        where={"model": ("linear", "neural")},
    ),
    Component(
        "smoothing",
        "de Boer et al. 2005, section 3",
        on={"smoothing": 0.5},
        off={"smoothing": 1.0},  # the new policy replaces the old one
        where={"model": ("table",)},
    ),
    Component(
        "parallel lanes",
        "Espeholt et al. 2018; sampling in parallel",
        on={"lanes": 10},  # divides the sessions of every preset
        off={"lanes": 1},  # as many sessions, one after another
        foundation=True,
    ),
)


@dataclass
class CEMParamsConfig(AgentConfig):
    """Over the parameters of a policy: a candidate a lane, one episode each."""

    agent: str = "cem_params"
    name: str = "cem_params"
    label: str = "CEM over parameters"
    lanes: int = setting(
        25, "parallel environments per seed (`num_envs` elsewhere): an iteration's candidates", ge=2
    )
    reset: str = setting(
        "wait", "a lane waits until the episodes of all have ended", choices=("wait",)
    )
    gamma: float = setting(
        1.0,
        "discount per step, of reports and shaping: elites are chosen by the plain return",
        ge=0,
        le=1,
    )

    hidden: int = setting(0, "width of a hidden tanh layer; 0: a linear policy with bias", ge=0)
    elite: float = setting(
        0.2,
        "share of the candidates that the next are drawn around, and what equals its last",
        gt=0,
        le=1,
    )
    std: float = setting(1.0, "deviation of every parameter at the start", gt=0)
    # variance added at iteration t: max(noise - t * noise_decay, 0); that it decreases is Szita and
    # Lorincz's (2006), the numbers are not
    noise: float = setting(0.5, "variance added at the first iteration", ge=0)
    noise_decay: float = setting(0.05, "what it falls by at each iteration, down to 0", ge=0)
    iterations: int | None = setting(
        None, "after which the policy stays; null: when the budget is spent", ge=1
    )


PARAMS_COMPONENTS = (
    Component(
        "noise",
        "Szita and Lorincz 2006",
        on={"noise": 0.5},
        off={"noise": 0.0},
    ),
)

PARAMS_FAMILY = Family(base=None, full="cem_params", parts=("noise",))

PRESETS = {
    "cem": Preset("a neural policy imitates the best sessions", "Rubinstein 1999"),
    "cem_linear": Preset("a linear policy imitates the best sessions", "Rubinstein 1999"),
    "cem_forest": Preset(
        "a random forest imitates the best sessions", "Rubinstein 1999; Breiman 2001"
    ),
    "cem_table": Preset(
        "a table of probabilities, smoothed", "Rubinstein 1999; de Boer et al. 2005"
    ),
}

PARAMS_PRESETS = {
    "cem_params": Preset(
        "searches for the weights of a linear policy, with noise that decreases",
        "Szita and Lorincz 2006",
    ),
    "cem_params_neural": Preset("searches for the weights of a network", "Szita and Lorincz 2006"),
}
