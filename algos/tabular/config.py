"""Settings of the tabular learners."""

from dataclasses import dataclass

from ..core import legality
from ..core.agent import Preset
from ..core.checks import check_schedule
from ..core.configs import AgentConfig, LevelConfig
from ..core.schedules import KINDS
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
GLIE = "glie"


@dataclass
class Behaviour(LevelConfig):
    """The policy that acts; ties between best actions are broken at random."""

    kind: str = setting("epsilon_greedy", "the policy that acts", choices=BEHAVIOURS)
    start: float = setting(
        0.1, "level at the start: epsilon, a temperature in units of value, or ucb's c", ge=0
    )
    end: float = 0.1
    schedule: str = setting(
        "constant",
        "how the level falls; glie: `start` over the number of visits to the state, greedy in the "
        "limit with infinite exploration (Singh et al. 2000)",
        choices=(*KINDS, GLIE),
    )


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
    masks: str = legality.masks_setting()

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
            (
                self.behaviour.schedule == GLIE and self.behaviour.kind != "epsilon_greedy",
                f"behaviour.schedule=glie is an epsilon, of behaviour.kind=epsilon_greedy, got "
                f"{self.behaviour.kind!r}",
            ),
            (
                self.behaviour.schedule == GLIE and self.behaviour.start == 0,
                "behaviour.start must be above 0 with behaviour.schedule=glie, got 0",
            ),
        )
        for wrong, message in checks:
            if wrong:
                raise ValueError(message)


PRESETS = {
    "q_learning": Preset(
        "learns the greedy policy's values, whatever acts",
        "Watkins 1989; Sutton and Barto 2018, section 6.5",
    ),
    "sarsa": Preset(
        "learns the values of the policy that acts",
        "Rummery and Niranjan 1994; Sutton and Barto 2018, section 6.4",
    ),
    "expected_sarsa": Preset(
        "Sarsa in expectation over the next action; target=greedy makes it Q-learning",
        "van Seijen et al. 2009; Sutton and Barto 2018, section 6.6",
    ),
    "double_q_learning": Preset(
        "two tables: a coin picks which of them learns",
        "van Hasselt 2010; Sutton and Barto 2018, section 6.7",
    ),
    "td": Preset(
        "values of the uniform policy, by one-step errors",
        "Sutton 1988; Sutton and Barto 2018, section 6.1",
    ),
    "monte_carlo": Preset(
        "returns of whole episodes, every visit", "Sutton and Barto 2018, section 5.4"
    ),
    "monte_carlo_first": Preset(
        "returns of whole episodes, first visits", "Sutton and Barto 2018, section 5.4"
    ),
    "monte_carlo_prediction": Preset(
        "values of the uniform policy, by returns of whole episodes",
        "Sutton and Barto 2018, section 5.1",
    ),
    "n_step_sarsa": Preset(
        "n-step returns of the policy that acts", "Sutton and Barto 2018, section 7.2"
    ),
    "n_step_q": Preset("n-step Q-learning, uncorrected: its fixed point is its own"),
    "n_step_importance": Preset(
        "n-step Sarsa of the greedy policy, corrected by importance sampling",
        "Sutton and Barto 2018, section 7.3",
    ),
    "n_step_td": Preset(
        "values of the uniform policy, by n-step returns", "Sutton and Barto 2018, section 7.1"
    ),
    "tree_backup": Preset(
        "n steps of the greedy policy without importance sampling",
        "Precup et al. 2000; Sutton and Barto 2018, section 7.5",
    ),
    "sarsa_lambda": Preset(
        "Sarsa with eligibility traces",
        "Rummery and Niranjan 1994; Sutton and Barto 2018, section 12.7",
    ),
    "q_lambda": Preset(
        "Q-learning with traces that are cut at exploratory actions", "Watkins 1989"
    ),
    "td_lambda": Preset(
        "values of the uniform policy, by eligibility traces",
        "Sutton 1988; Sutton and Barto 2018, section 12.2",
    ),
    "dyna_q": Preset(
        "plans on the transitions that it remembers",
        "Sutton 1990; Sutton and Barto 2018, section 8.2",
    ),
    "dyna_q_plus": Preset(
        "Dyna-Q with a bonus for what was long untried",
        "Sutton 1990; Sutton and Barto 2018, section 8.3",
    ),
}
