"""Settings of dynamic programming."""

import math
from dataclasses import dataclass

from ..core.checks import one_of, within

METHODS = ("value_iteration", "q_iteration", "policy_iteration", "policy_evaluation")


@dataclass
class PlanningConfig:
    """Every setting; a sweep backs up each state once, and a step of the budget is one backup."""

    agent: str = "planning"
    name: str = "value_iteration"
    label: str = "Value iteration"
    lanes: int = 1
    reset: str = "each"
    gamma: float = 0.99  # discount per step
    method: str = "value_iteration"  # or q_iteration, policy_iteration, policy_evaluation (uniform)
    # policy iteration improves the policy when no state's value moves by more in a sweep
    tolerance: float = 1e-10
    # sweeps after which the values stay: V with so many steps to go; null = no limit
    horizon: int | None = None

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            ValueError: one line that names the field, its bounds and the value.
        """
        one_of("method", self.method, METHODS)
        one_of("reset", self.reset, ("each",))
        within("lanes", self.lanes, 1, math.inf)
        within("gamma", self.gamma, 0, 1)
        within("tolerance", self.tolerance, 0, math.inf)
        if self.horizon is not None:
            within("horizon", self.horizon, 1, math.inf)
