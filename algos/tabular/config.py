"""Settings of the tabular learners."""

from dataclasses import dataclass

from ..core.checks import check_schedule
from ..core.configs import AgentConfig, LevelConfig
from ..core.settings import setting

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


@dataclass
class Behaviour(LevelConfig):
    """The policy that acts; ties between best actions are broken at random."""

    kind: str = setting("epsilon_greedy", "the policy that acts", choices=BEHAVIOURS)
    start: float = setting(
        0.1, "level at the start: epsilon, a temperature in units of value, or ucb's c", ge=0
    )
    end: float = 0.1
    schedule: str = "constant"


@dataclass
class TabularConfig(AgentConfig):
    """Every setting; a preset names its ``rule`` and what the rule looks at."""

    agent: str = "tabular"
    name: str = "q_learning"
    label: str = "Q-learning"
    lanes: int = setting(
        1, "parallel environments per seed (`num_envs` elsewhere); they share the one table", ge=1
    )

    rule: str = setting("q_learning", "how values are learned", choices=RULES)
    predict: bool = setting(False, "state values of the uniform policy, rather than action values")
    values: str = setting(
        "table", "linear: the same as weights of one-hot features", choices=VALUES
    )
    q0: float = setting(0.0, "initial value; high values explore (Sutton and Barto 2.6)", free=True)
    alpha: float = setting(0.1, "step size", ge=0)
    step_size: str = setting(
        "constant", "visits: min(1, alpha / number of visits)", choices=STEP_SIZES
    )
    behaviour: Behaviour = setting(Behaviour, "the policy that acts")

    target: str = setting(
        "behaviour",
        "the policy that expected_sarsa, importance sampling and tree backup learn the values of",
        choices=TARGETS,
    )
    target_epsilon: float = setting(0.0, "epsilon of target=epsilon_greedy", ge=0, le=1)

    n_step: int = setting(1, "steps of reward in a target (rule=n_step)", ge=1)
    backup: str = setting(
        "sarsa", "what follows the n-th step, or corrects the n (rule=n_step)", choices=BACKUPS
    )
    lambda_: float = setting(0.9, "decay of the traces (rule=traces)", ge=0, le=1)
    trace: str = setting("accumulating", "the kind of trace (rule=traces)", choices=TRACES)
    watkins: bool = setting(
        False, "learn the greedy policy, cut the trace where another acts (rule=traces)"
    )
    first_visit: bool = setting(
        False, "learn from each state and action once an episode (rule=monte_carlo)"
    )
    planning_steps: int = setting(10, "updates from memory per step (rule=dyna)", ge=0)
    planning_bonus: float = setting(
        0.0, "Dyna-Q+'s kappa, a reward for what was long untried; 0: Dyna-Q (rule=dyna)", ge=0
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        check_schedule("behaviour", self.behaviour)
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
