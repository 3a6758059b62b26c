"""Agents that remember, where observations hide a part of the state; numbers in algos/README.md."""

import pytest

pytestmark = pytest.mark.learn

FORGETFUL = 1.95  # the T-maze's best mean return without a memory: each arm half of the time
SOLVED = {"tmaze": 3.9, "cartpole_positions": 475.0}  # 4 less a step; CartPole-v1's threshold
PAIRS = {"recurrent_ppo": ("recurrent_ppo", "memory"), "recurrent_dqn": ("dqn", None)}
BUDGETS = {"recurrent_ppo": (150_000, 300_000), "recurrent_dqn": (100_000, 100_000)}
