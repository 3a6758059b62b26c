"""The model: its three forms of reward, its checks, and what a trajectory is worth and likely."""

from typing import Any

import numpy as np
import pytest

from prism.algos.core.mdp import (
    MDP,
    discounted_return,
    from_arrays,
    from_table,
    trajectory_probability,
)

START = np.array([1.0, 0.0])
MOVES = np.array([[[0.25, 0.75]], [[0.0, 1.0]]])  # [S, A, S]: two states, one action


def test_three_forms_of_one_reward_agree_in_the_mean() -> None:
    by_successor = np.array([[[4.0, 8.0]], [[0.0, 2.0]]])
    by_action = (MOVES * by_successor).sum(-1)
    values = np.array([0.0, 2.0, 4.0, 16.0])
    likelihood = np.zeros((2, 1, 2, 4))
    likelihood[0, 0, 0, 2] = 1.0  # pays 4
    likelihood[0, 0, 1] = [0.5, 0.0, 0.0, 0.5]  # pays 8 in the mean
    likelihood[1, 0, :, 1] = 1.0
    models = [
        from_arrays(MOVES, by_action, START),
        from_arrays(MOVES, by_successor, START),
        from_arrays(MOVES, likelihood, START, values=values),
    ]
    for model in models:
        assert model.expected_reward == pytest.approx(by_action)
    policy = np.ones((2, 1))
    outcomes = [([7.0], by_action[0, 0] == 7.0), ([8.0], True), ([16.0], False)]
    for rewards, certain in outcomes[1:]:
        chance = trajectory_probability(models[1], policy, [0, 1], [0], rewards)
        assert chance == (0.75 if certain else 0.0)
    # in the third form the reward's likelihood is part of it
    assert trajectory_probability(models[2], policy, [0, 1], [0], [16.0]) == 0.375
    assert trajectory_probability(models[2], policy, [0, 1], [0], [8.0]) == 0.0


def test_probabilities_of_all_trajectories_sum_to_one() -> None:
    rng = np.random.default_rng(0)
    transition = rng.dirichlet(np.ones(3), (3, 2))
    likelihood = rng.dirichlet(np.ones(2), (3, 2, 3))
    model = from_arrays(
        transition, likelihood, rng.dirichlet(np.ones(3)), values=np.array([0.0, 1.0])
    )
    policy = rng.dirichlet(np.ones(2), 3)
    total = sum(
        trajectory_probability(model, policy, [s0, s1, s2], [a0, a1], [r1, r2])
        for s0, s1, s2 in np.ndindex(3, 3, 3)
        for a0, a1 in np.ndindex(2, 2)
        for r1, r2 in np.ndindex(2, 2)
    )
    assert total == pytest.approx(1.0)


def test_a_normal_reward_has_a_density() -> None:
    shape = (1, 1, 1)
    model = MDP(
        np.ones(shape),
        np.zeros(shape, np.int64),
        np.full(shape, 2.0),
        np.ones(shape, bool),
        np.ones(1),
        reward_std=np.full(shape, 3.0),
    )
    density = trajectory_probability(model, np.ones((1, 1)), [0, 0], [0], [5.0])
    assert density == pytest.approx(np.exp(-0.5) / (3 * np.sqrt(2 * np.pi)))


def test_discounted_return() -> None:
    assert discounted_return([1.0, 2.0, 4.0], 0.5) == 3.0
    assert discounted_return([], 0.5) == 0.0


def test_reachable_stops_at_terminations() -> None:
    table = {0: [[(1.0, 1, 0.0, False)]], 1: [[(1.0, 2, 0.0, True)]], 2: [[(1.0, 2, 0.0, False)]]}
    assert from_table(table, np.eye(3)[0]).reachable().tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("outcomes", "message"),
    [
        ([(0.5, 0, 0.0, False)], "state 1, action 0: the probabilities sum to 0.5, not 1"),
        ([(1.5, 0, 0.0, False), (-0.5, 0, 0.0, False)], "state 1, action 0 has a probability"),
        ([(1.0, 7, 0.0, False)], "state 1, action 0 has a successor that is no state"),
        ([(1.0, 0, np.nan, False)], "state 1, action 0 has a reward that is not finite"),
    ],
)
def test_an_invalid_table_is_one_line(outcomes: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as error:
        from_table({0: [[(1.0, 1, 0.0, False)]], 1: [outcomes]}, START)
    assert "\n" not in str(error.value)


def test_a_start_must_be_a_distribution() -> None:
    with pytest.raises(ValueError, match=r"the start distribution sums to 0.5"):
        from_table({0: [[(1.0, 0, 0.0, True)]]}, np.array([0.5]))


def test_a_state_to_act_from_has_a_legal_action() -> None:
    ends = np.array([False, True])
    facts = {"reward": np.zeros((2, 1)), "start": START}
    closed = np.array([[True], [False]])
    assert from_arrays(MOVES, **facts, terminal=ends, legal=closed).uniform.tolist() == [[1], [1]]
    with pytest.raises(ValueError, match=r"^state 1 has no legal action$"):
        from_arrays(MOVES, **facts, legal=closed)
    with pytest.raises(ValueError, match=r"legal has the shape \(1, 2\), not \(2, 1\)"):
        from_arrays(MOVES, **facts, legal=closed.T)
