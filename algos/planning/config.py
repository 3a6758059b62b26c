"""Settings of dynamic programming."""

from dataclasses import dataclass

from ..core.agent import Preset
from ..core.configs import AgentConfig
from ..core.settings import setting

METHODS = ("value_iteration", "q_iteration", "policy_iteration", "policy_evaluation")


@dataclass
class PlanningConfig(AgentConfig):
    """Every setting; a sweep takes as many steps of the budget as there are states.

    That is one backup of each state. A sweep of policy iteration solves for the values of a policy,
    which costs more: up to the cube of the number of states.

    If the values have not converged at the end of the budget, the run's status says so.
    """

    agent: str = "planning"
    name: str = "value_iteration"
    label: str = "Value iteration"
    method: str = setting(
        "value_iteration",
        "what a sweep does; an evaluation is of the uniform policy",
        choices=METHODS,
    )
    tolerance: float = setting(
        1e-10,
        "values have converged once none moves by more in a sweep, as a share of the largest (of 1 "
        "where all are smaller); policy iteration has once its policy is stable",
        ge=0,
    )
    horizon: int | None = setting(
        None,
        "sweeps after which the values stay: those with so many steps to go; null: no limit",
        ge=1,
    )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        super().__post_init__()
        if self.horizon is not None and self.method == "policy_iteration":
            raise ValueError("horizon has no meaning with method=policy_iteration: it has no steps")


PRESETS = {
    "value_iteration": Preset(
        "backs up the best action's value", "Bellman 1957; Sutton and Barto 2018, section 4.4"
    ),
    "q_iteration": Preset(
        "value iteration in terms of action values", "Sutton and Barto 2018, section 4.4"
    ),
    "policy_iteration": Preset(
        "solves for the values of a policy, improves it, and so on",
        "Howard 1960; Sutton and Barto 2018, section 4.3",
    ),
    "policy_evaluation": Preset(
        "values of the uniform policy", "Sutton and Barto 2018, section 4.1"
    ),
}
