"""The rule that a config names, with its tables."""

from collections.abc import Sequence

import numpy as np
from numpy import ndarray as Array

from .config import TabularConfig
from .dyna import Dyna
from .monte_carlo import MonteCarlo
from .n_step import NStep
from .one_step import TD, DoubleQ, ExpectedSarsa, QLearning, Sarsa
from .rule import Policy
from .traces import Traces
from .values import Linear, Table


def build_table(config: TabularConfig, k: int, base: Array, masked: bool) -> Table:
    """Return the initial values; an illegal action is worth -inf, so that no policy takes it.

    Args:
        config: the agent's. k: seeds. base: ``[A, S]``, the uniform policy over legal actions.
        masked: whether observations say what is legal, rather than ``base``.
    """
    actions, states = base.shape
    cls = Linear if config.values == "linear" else Table
    columns = 1 if config.predict else actions
    legal = np.ones((k, states, actions), bool) if masked else None
    table = cls(k, states, columns, config.q0, config.alpha, config.step_size == "visits", legal)
    if not config.predict:
        table.q[:, base.T == 0] = -np.inf
    return table


def build_rule(
    config: TabularConfig, seeds: Sequence[int], base: Array, target: Policy, masked: bool
) -> QLearning:
    """Return the rule.

    Args:
        config: the agent's. seeds: K of them. base, masked: as above. target: the target policy.
    """
    c, k = config, len(seeds)
    table = build_table(c, k, base, masked)
    if c.rule == "double_q":
        return DoubleQ(table, build_table(c, k, base, masked), c.gamma, seeds, c.lanes)
    if c.rule == "expected_sarsa":
        return ExpectedSarsa(table, c.gamma, target)
    if c.rule == "monte_carlo":
        return MonteCarlo(table, c.gamma, k, c.lanes, c.first_visit)
    if c.rule == "n_step":
        return NStep(table, c.gamma, k, c.lanes, c.n_step, c.backup, target)
    if c.rule == "traces":
        return Traces(table, c.gamma, k, c.lanes, c.lambda_, c.trace == "replacing", c.watkins)
    if c.rule == "dyna":
        return Dyna(table, c.gamma, seeds, c.lanes, c.planning_steps, c.planning_bonus)
    plain = {"q_learning": QLearning, "sarsa": Sarsa, "td": TD}
    return plain[c.rule](table, c.gamma)
