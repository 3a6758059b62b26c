"""Settings of the cross-entropy method, and the components that its ablations take out."""

import math
from dataclasses import dataclass, field

from ..core.agent import Component, Family
from ..core.checks import check_layers, one_of, within

MODELS = ("table", "linear", "neural", "forest")
_BOUNDS = {
    **dict.fromkeys(("lanes", "rounds", "memory", "updates", "batch_size", "trees"), (1, math.inf)),
    **dict.fromkeys(("gamma", "elite", "smoothing", "noise_fraction"), (0, 1)),
    **dict.fromkeys(("entropy", "lr", "noise_start", "noise_end", "tolerance"), (0, math.inf)),
}


@dataclass
class CEMConfig:
    """Over sessions: sample with the policy, imitate the best (elite) sessions.

    An iteration is ``lanes x rounds`` sessions.
    """

    agent: str = "cem"
    name: str = "cem"
    label: str = "CEM"
    lanes: int = 20  # sessions sampled at once
    rounds: int = 1  # how often, before the policy is fitted
    reset: str = "wait"
    gamma: float = 1.0  # elites are chosen by the plain return; for reports and shaping

    model: str = "neural"  # or linear, forest (random forest), table (discrete observations)
    elite: float = 0.25  # share of the sessions of an iteration that is imitated
    memory: int = 4  # iterations whose elites are imitated
    entropy: float = 0.01  # weight of the entropy bonus (neural, linear; discrete actions)
    smoothing: float = 0.5  # share of the new policy mixed into the old one (table)

    hidden: list[int] = field(default_factory=lambda: [64])  # neural
    lr: float = 1e-2
    updates: int = 50  # gradient steps an iteration (neural, linear)
    batch_size: int = 256
    trees: int = 20  # forest
    # continuous actions are regressed; sessions add normal noise, in units of half the action range
    noise_start: float = 1.0
    noise_end: float = 0.1
    noise_fraction: float = 0.7  # share of the budget after which `noise_end` is reached

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        one_of("model", self.model, MODELS)
        one_of("reset", self.reset, ("wait",))
        for key, (low, high) in _BOUNDS.items():
            if hasattr(self, key):
                within(key, getattr(self, key), low, high)
        check_layers(self.hidden)


COMPONENTS = (
    Component(
        "elite memory",
        "Rubinstein 1999; sample reuse over iterations",
        on={"memory": 4},
        off={"memory": 1},  # the elites of the last iteration alone
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
        on={"lanes": 20, "rounds": 1},
        off={"lanes": 1, "rounds": 20},  # as many sessions, one after another
        foundation=True,
    ),
)


@dataclass
class CEMParamsConfig:
    """Over the parameters of a policy: a candidate a lane, one episode each."""

    agent: str = "cem_params"
    name: str = "cem_params"
    label: str = "CEM over parameters"
    lanes: int = 25  # candidates of an iteration
    reset: str = "wait"
    gamma: float = 1.0

    hidden: int = 0  # width of a hidden tanh layer; 0 = a linear policy with bias
    elite: float = 0.2
    std: float = 1.0  # initial standard deviation of every parameter
    # variance added at iteration t: max(noise - t * noise_decay, 0); that it decreases is Szita and
    # Lorincz's (2006), the numbers are not
    noise: float = 0.5
    noise_decay: float = 0.05
    iterations: int | None = None  # after which the policy stays; null = until the budget is spent

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        one_of("reset", self.reset, ("wait",))
        within("lanes", self.lanes, 2, math.inf)
        within("hidden", self.hidden, 0, math.inf)
        within("elite", self.elite, 0, 1)
        for key in ("std", "noise", "noise_decay"):
            within(key, getattr(self, key), 0, math.inf)
        if self.iterations is not None:
            within("iterations", self.iterations, 1, math.inf)


PARAMS_COMPONENTS = (
    Component(
        "noise",
        "Szita and Lorincz 2006",
        on={"noise": 0.5},
        off={"noise": 0.0},
    ),
)

PARAMS_FAMILY = Family(base=None, full="cem_params", parts=("noise",))
