"""Settings of the tabular learners."""

import math
from dataclasses import dataclass, field

from ..core.checks import check_schedule, one_of, within

RULES = (
    *("q_learning", "sarsa", "expected_sarsa", "double_q", "td", "monte_carlo"),
    *("n_step", "traces", "dyna"),
)
BEHAVIOURS = ("epsilon_greedy", "boltzmann", "greedy", "uniform", "ucb")
TARGETS = ("behaviour", "greedy", "epsilon_greedy", "uniform")
BACKUPS = ("sarsa", "q_learning", "expected", "importance_sampling", "tree")
TRACES = ("accumulating", "replacing")
STEP_SIZES = ("constant", "visits")
VALUES = ("table", "linear")

_NAMES = {
    "rule": RULES,
    "target": TARGETS,
    "backup": BACKUPS,
    "trace": TRACES,
    "step_size": STEP_SIZES,
    "values": VALUES,
    "reset": ("each",),
}
_BOUNDS = {
    **dict.fromkeys(("lanes", "n_step"), (1, math.inf)),
    **dict.fromkeys(("gamma", "lambda_", "target_epsilon"), (0, 1)),
    **dict.fromkeys(("alpha", "planning_steps", "planning_bonus"), (0, math.inf)),
}


@dataclass
class Behaviour:
    """The policy that acts; ties between best actions are broken at random."""

    kind: str = "epsilon_greedy"  # or boltzmann, greedy, uniform, ucb
    start: float = 0.1  # epsilon, the temperature in units of value, or ucb's c
    end: float = 0.1
    fraction: float = 0.5  # share of the budget after which `end` is reached (glie: halved)
    schedule: str = "constant"  # or linear, exponential, glie


@dataclass
class TabularConfig:
    """Every setting; a preset names its ``rule`` and what the rule looks at."""

    agent: str = "tabular"
    name: str = "q_learning"
    label: str = "Q-learning"
    lanes: int = 1  # environments per seed; they take turns at the one table
    reset: str = "each"
    gamma: float = 0.99  # discount per step

    rule: str = "q_learning"
    predict: bool = False  # state values of the uniform policy, rather than action values
    values: str = "table"  # or linear: the same as weights of one-hot features
    q0: float = 0.0  # initial value; high values explore (Sutton and Barto 2.6)
    alpha: float = 0.1  # step size
    step_size: str = "constant"  # or visits: min(1, alpha / number of visits)
    behaviour: Behaviour = field(default_factory=Behaviour)

    # the policy whose values are learned by expected_sarsa, importance sampling and tree backup
    target: str = "behaviour"
    target_epsilon: float = 0.0  # of target=epsilon_greedy

    n_step: int = 1
    backup: str = "sarsa"  # of rule=n_step
    lambda_: float = 0.9  # of rule=traces
    trace: str = "accumulating"
    watkins: bool = False  # traces: learn the greedy policy, cut the trace where another acts
    first_visit: bool = False  # monte_carlo: each state and action once an episode
    planning_steps: int = 10  # of rule=dyna
    planning_bonus: float = 0.0  # Dyna-Q+'s kappa; 0: Dyna-Q

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        if isinstance(self.behaviour, dict):
            self.behaviour = Behaviour(**self.behaviour)
        for key, allowed in _NAMES.items():
            one_of(key, getattr(self, key), allowed)
        for key, (low, high) in _BOUNDS.items():
            within(key, getattr(self, key), low, high)
        check_schedule("behaviour", self.behaviour, BEHAVIOURS)
        self._check_together()

    def _check_together(self) -> None:
        predicts = ("td", "n_step", "traces", "monte_carlo")
        checks = (
            (
                self.predict and self.rule not in predicts,
                f"predict=true needs a rule of {', '.join(predicts)}, got {self.rule!r}",
            ),
            (self.rule == "td" and not self.predict, "rule=td needs predict=true"),
            (
                self.predict and (self.watkins or self.backup not in ("sarsa", "expected")),
                "predict=true has no greedy policy: it needs backup=sarsa and watkins=false",
            ),
            (
                self.predict and self.behaviour.kind != "uniform",
                "predict=true values the uniform policy: it needs behaviour.kind=uniform",
            ),
        )
        for wrong, message in checks:
            if wrong:
                raise ValueError(message)
