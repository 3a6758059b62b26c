"""Tabular learners under masks: told by observations, they do what they do told by the model."""

from copy import deepcopy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from prism.algos.core.agent import Spec, Step
from prism.algos.core.mdp import MODEL, tensors
from prism.algos.core.states import FACTORS
from prism.algos.formulas import dynamic_programming as dp
from prism.algos.tabular.agent import Tabular
from prism.algos.tabular.config import Behaviour
from prism.benchmark.envs.table import TableVecEnv
from tests.helpers import CPU, SEEDS, copied, equal
from tests.tabular import presets, random_mdp

A = 3
PLAIN = random_mdp(1, states=6, actions=A)
LEGAL = np.array([[1, 1, 0], [0, 1, 0], [1, 1, 1], [0, 1, 1], [1, 0, 0], [1, 1, 1]], bool)
MODEL_OF = replace(PLAIN, legal=LEGAL)
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "boltzmann": ("sarsa", {"behaviour": Behaviour("boltzmann")}),
    "ucb": ("expected_sarsa", {"behaviour": Behaviour("ucb", start=2.0)}),
    "uniform": ("tree_backup", {"behaviour": Behaviour("uniform"), "target": "uniform"}),
}
CASES: dict[str, tuple[str, dict[str, Any]]] = {name: (name, {}) for name in presets()} | OPTIONS


class Life:
    """An agent that is told by its observations, by the model too, or by neither."""

    def __init__(self, case: str, seeds: Any = SEEDS, known: bool = False, **changes: Any) -> None:
        base, own = CASES[case]
        config = replace(presets()[base], **(own | changes))
        extras = {FACTORS: MODEL_OF.factors} | ({MODEL: MODEL_OF} if known else {})
        obs, actions = spaces.Box(0.0, 1.0, (6 + A,)), spaces.Discrete(A)
        self.agent = Tabular(config, Spec(obs, actions, 2000, extras, legal=A), seeds, CPU)
        self.env = TableVecEnv(
            MODEL_OF, actions, 9, seeds, config.lanes, reset=config.reset, masked=True
        )
        self.obs = torch.from_numpy(self.env.begin())

    def tick(self) -> Step:
        action, memo = self.agent.act(self.obs)
        next_obs, r, terminated, truncated, valid = map(
            torch.from_numpy, self.env.step(action.numpy())
        )
        step = Step(self.obs, next_obs, action, r, terminated, truncated, valid, memo)
        self.agent.observe(step)
        self.agent.update()
        self.obs = torch.from_numpy(self.env.begin())
        return step


@pytest.mark.parametrize("case", CASES)
def test_told_by_observations_is_told_by_the_model(case: str) -> None:
    """Also alone, to the bit; nothing illegal is taken, and nothing illegal has a value."""
    seen, known, alone = Life(case), Life(case, known=True), Life(case, SEEDS[1:2])
    cut = False
    for _ in range(120):
        a, b, c = seen.tick(), known.tick(), alone.tick()
        assert torch.equal(a.action, b.action) and torch.equal(a.action[1:2], c.action)
        assert (a.obs[..., 6:] > 0).gather(-1, a.action.unsqueeze(-1)).all()
        cut |= bool(a.truncated.any())
    assert cut
    q, other = seen.agent.q().numpy(), known.agent.q().numpy()
    if seen.agent.config.predict:
        assert np.array_equal(q, other)
    else:
        assert np.array_equal(q[:, LEGAL], other[:, LEGAL])
        assert np.isfinite(q[:, LEGAL]).all() and (q[:, :5][:, ~LEGAL[:5]] == -np.inf).all()
    assert np.array_equal(q[1:2], alone.agent.q().numpy())
    action, memo = seen.agent.act(seen.obs, explore=False)
    assert (seen.obs[..., 6:] > 0).gather(-1, action.unsqueeze(-1)).all()
    assert memo["value"].isfinite().all()


@pytest.mark.parametrize("case", ["q_learning", "double_q_learning", "dyna_q_plus", "n_step_q"])
def test_state_and_load_continue_to_the_bit(case: str) -> None:
    whole, other = Life(case), Life(case)
    for _ in range(20):
        whole.tick()
    other.agent.load(copied(whole.agent.state()))
    other.env, other.obs = deepcopy(whole.env), whole.obs.clone()
    for _ in range(30):
        assert torch.equal(whole.tick().action, other.tick().action)
    equal(whole.agent.state(), other.agent.state())


def test_evaluation_leaves_no_trace() -> None:
    life = Life("q_learning")
    before = copied(life.agent.state())
    life.agent.act(life.obs, explore=False)
    equal(life.agent.state(), before)


@pytest.mark.parametrize("known", [False, True])
def test_ignored_masks_are_ignored(known: bool) -> None:
    life = Life("q_learning", known=known, masks="ignore", behaviour=Behaviour("uniform"))
    steps = [life.tick() for _ in range(40)]
    legal = [(s.obs[..., 6:] > 0).gather(-1, s.action.unsqueeze(-1)) for s in steps]
    assert not torch.stack(legal).all()
    assert life.agent.q().isfinite().all()


def test_errors_are_those_of_the_actions_that_the_agent_may_take() -> None:
    used, ignored = (Life("q_learning", known=True, masks=m).agent for m in ("use", "ignore"))
    for agent, model in ((used, MODEL_OF), (ignored, PLAIN)):
        expected = dp.optimal(tensors(model, agent.config.gamma)).amax(-1)
        assert torch.equal(agent.oracle.v, expected)
    assert not torch.allclose(used.oracle.v, ignored.oracle.v)
    task = Spec(
        spaces.Box(0.0, 1.0, (6 + A,)), spaces.Discrete(A), 10, {FACTORS: (6,), MODEL: PLAIN}, A
    )
    for masks, known in (("use", False), ("ignore", True)):
        agent = Tabular(replace(presets()["q_learning"], masks=masks), task, SEEDS, CPU)
        assert (agent.oracle.v is not None) == known  # only observations know what is legal


def test_linear_values_cannot_bar() -> None:
    config, space = presets()["q_learning"], spaces.Box(0.0, 1.0, (6 + A,))
    task = Spec(space, spaces.Discrete(A), 10, {FACTORS: (6,)}, legal=A)
    assert "illegal" in str(Tabular.unsupported(replace(config, values="linear"), task))
    ignoring = replace(config, values="linear", masks="ignore")
    assert Tabular.unsupported(ignoring, task) is None
