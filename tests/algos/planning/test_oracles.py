"""Dynamic programming against exact values, to the printed digits.

Computed for Gymnasium 1.4.0 by an independent implementation; "printed" says to how many digits.
"""

from functools import cache
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from omegaconf import OmegaConf

from prism.algos.core.agent import Spec
from prism.algos.core.mdp import MDP, MODEL, tensors
from prism.algos.formulas import dynamic_programming as dp
from prism.algos.planning.config import PlanningConfig
from prism.algos.planning.methods import CLEARLY
from prism.algos.planning.planner import Planner
from prism.benchmark.envs.blackjack import HIT, STICK
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_env, make_spec
from prism.benchmark.envs.models import model_of
from prism.benchmark.plan import config as cfg
from tests.helpers import CPU

SLIPPERY, DRY = ("FrozenLake-v1", {}), ("FrozenLake-v1", {"is_slippery": False})
LARGE = ("FrozenLake-v1", {"map_name": "8x8"})
CLIFF, TAXI = ("CliffWalking-v1", {}), ("Taxi-v4", {})


def model(env_id: str, kwargs: dict[str, Any]) -> MDP:
    config = EnvConfig(name="x", id=env_id, kwargs=kwargs)
    process = model_of(config, make_env(config, training=False))
    assert process is not None
    return process


@pytest.mark.parametrize(
    ("env", "gamma", "expected", "digits"),
    [
        (SLIPPERY, 0.9, 0.0688909049, 10),
        (SLIPPERY, 0.95, 0.1804715784, 10),
        (SLIPPERY, 0.99, 0.5420259320, 10),
        (SLIPPERY, 1.0, 14 / 17, 10),
        (DRY, 0.9, 0.9**5, 12),
        (DRY, 0.95, 0.7737809375, 10),
        (DRY, 0.99, 0.9509900499, 10),
        (DRY, 1.0, 1.0, 12),
        (CLIFF, 1.0, -13.0, 12),
        (CLIFF, 0.99, -12.2478977, 7),
        (CLIFF, 0.95, -9.7331583344, 10),
        (CLIFF, 0.9, -7.4581341717, 10),
        (TAXI, 1.0, 7.93, 10),
        (TAXI, 0.99, 6.32746431, 8),
        (TAXI, 0.95, 1.72993002, 8),
        (TAXI, 0.9, -1.26332310, 8),
        (("Blackjack-v1", {"sab": True}), 1.0, -0.04311311, 8),
        (("Blackjack-v1", {"sab": False, "natural": False}), 1.0, -0.04655598, 8),
        (("Blackjack-v1", {"sab": False, "natural": True}), 1.0, -0.02572918, 8),
    ],
)
def test_optimal_values(env: Any, gamma: float, expected: float, digits: int) -> None:
    process = model(*env)
    v = dp.optimal(tensors(process, gamma)).amax(-1).numpy()
    assert process.start @ v == pytest.approx(expected, abs=0.51 * 10**-digits, rel=0)


def test_taxi_ranges_from_3_to_15() -> None:
    process = model(*TAXI)
    v = dp.optimal(tensors(process, 1.0)).amax(-1).numpy()[process.start > 0]
    assert (len(v), v.min(), v.max()) == (300, pytest.approx(3), pytest.approx(15))


@pytest.mark.parametrize(
    ("env", "horizon", "best", "uniform", "places"),
    [
        (SLIPPERY, 100, 0.744190, 0.013940, 6),
        (LARGE, 100, 0.640719, 0.001742, 6),
        (TAXI, 200, None, -771.09, 2),
    ],
)
def test_finite_horizon(
    env: Any, horizon: int, best: float | None, uniform: float, places: int
) -> None:
    process = model(*env)
    branches, tolerance = tensors(process, 1.0), 0.51 * 10**-places
    equal = torch.full((process.states, process.actions), 1 / process.actions, dtype=torch.float64)
    v = dp.finite_horizon(branches, horizon, equal)[horizon].numpy()
    assert process.start @ v == pytest.approx(uniform, abs=tolerance)
    if best is not None:
        v = dp.finite_horizon(branches, horizon)[horizon].numpy()
        assert process.start @ v == pytest.approx(best, abs=tolerance)


def test_the_discounted_policy_falls_short_of_the_horizons_own() -> None:
    process = model(*SLIPPERY)
    policy = dp.greedy(dp.optimal(tensors(process, 0.99)))
    v = dp.finite_horizon(tensors(process, 1.0), 100, policy)[100].numpy()
    assert process.start @ v == pytest.approx(0.740165, abs=5.1e-7)


@pytest.mark.parametrize(
    ("epsilon", "greedy_path", "best_soft"),
    [
        (0.1, -50.800048, -20.707677),
        (0.05, -29.892713, -17.519232),
        (0.01, -16.105165, -15.440811),
    ],
)
def test_the_cliff_under_exploration(epsilon: float, greedy_path: float, best_soft: float) -> None:
    """Q-learning's online asymptote explores around Q*; Sarsa's is the best epsilon-soft policy."""
    process = model(*CLIFF)
    branches, start = tensors(process, 1.0), int(process.start.argmax())
    around = dp.soft(dp.optimal(branches), epsilon)
    own = dp.expected(dp.evaluate(branches, around), around)[start]
    assert float(own) == pytest.approx(greedy_path, abs=5.1e-7)
    q = dp.optimal(branches, epsilon)
    assert float(dp.soft_maximum(q, epsilon)[start]) == pytest.approx(best_soft, abs=5.1e-7)


def test_sarsas_greedy_path_takes_fifteen_steps_through_row_one() -> None:
    process = model(*CLIFF)
    q, s, path = dp.optimal(tensors(process, 1.0), 0.1), int(process.start.argmax()), []
    while len(path) < 50:
        a = int(q[s].argmax())
        s = int(process.successor[s, a, 0])
        path.append(s)
        if process.terminal[s, :, 0].all() or s == 47:
            break
    assert len(path) == 15 and {cell // 12 for cell in path[2:-3]} <= {0, 1}


def test_blackjacks_thresholds_are_figure_5_2() -> None:
    """The first sum at which to stick; dealer A, 2 to 10."""
    process = model("Blackjack-v1", {"sab": True})
    q = dp.optimal(tensors(process, 1.0))[:704].view(32, 11, 2, 2)
    stick = (q[..., STICK] > q[..., HIT]).numpy()
    hard = [next(t for t in range(12, 22) if stick[t, card, 0]) for card in range(1, 11)]
    usable = [next(t for t in range(12, 22) if stick[t, card, 1]) for card in range(1, 11)]
    assert hard == [17, 13, 13, 12, 12, 12, 17, 17, 17, 17]
    assert usable == [19, 18, 18, 18, 18, 18, 18, 18, 19, 19]


@pytest.mark.parametrize("rules", [{"sab": True}, {"sab": False, "natural": True}])
def test_blackjacks_model_is_what_gymnasium_plays(rules: dict[str, bool]) -> None:
    """Sticking on 17 and above: mean over 8,000 hands against the model's value."""
    process = model("Blackjack-v1", rules)
    branches = tensors(process, 1.0)
    policy = torch.zeros(process.states, 2).double()
    total = torch.as_tensor(process.observation) // 22
    policy[torch.arange(process.states), (total < 17).long()] = 1.0
    exact = process.start @ dp.expected(dp.evaluate(branches, policy), policy).numpy()
    config = EnvConfig(name="x", id="Blackjack-v1", kwargs=rules)
    env = make_env(config, training=False).unwrapped
    env.reset(seed=1)
    returns = np.zeros(8_000)
    for i in range(len(returns)):
        (sum_, _, _), _ = env.reset()
        over = False
        while not over:
            (sum_, _, _), returns[i], over, _, _ = env.step(int(sum_ < 17))
    assert abs(returns.mean() - exact) < 3 * returns.std() / len(returns) ** 0.5


@pytest.mark.parametrize(
    ("env_id", "kwargs", "expected"),
    [
        ("Prism/RandomWalk-v0", {}, np.arange(7) / 6),
        ("Prism/RandomWalk-v0", {"states": 19, "left": -1.0}, np.arange(-10, 11) / 10),
    ],
)
def test_random_walks(env_id: str, kwargs: dict[str, Any], expected: np.ndarray) -> None:
    process = model(env_id, kwargs)
    v = dp.evaluate(tensors(process, 1.0), torch.ones(process.states, 1).double())[:, 0]
    assert v[1:-1].numpy() == pytest.approx(expected[1:-1], abs=1e-12)


@pytest.mark.parametrize(
    ("env_id", "steps"), [("Prism/WindyGridworld-v0", 15), ("Prism/DynaMaze-v0", 14)]
)
def test_shortest_paths(env_id: str, steps: int) -> None:
    """The book: 15 moves through the wind, 14 through the maze."""
    process = model(env_id, {})
    v = float(process.start @ dp.optimal(tensors(process, 0.95)).amax(-1).numpy())
    worth = -(1 - 0.95**steps) / 0.05 if "Windy" in env_id else 0.95 ** (steps - 1)
    assert v == pytest.approx(worth, abs=1e-10)


def test_the_mazes_optimal_soft_policy() -> None:
    """15.8125 steps an episode under epsilon 0.1; a first, uniform episode takes 868.73."""
    process = model("Prism/DynaMaze-v0", {})
    counting = MDP(
        process.probability,
        process.successor,
        np.full(process.reward.shape, -1.0),
        process.terminal,
        process.start,
    )
    branches, start = tensors(counting, 1.0), int(process.start.argmax())
    assert float(dp.soft_maximum(dp.optimal(branches, 0.1), 0.1)[start]) == pytest.approx(
        -15.8125, abs=5e-5
    )
    equal = torch.full((54, 4), 0.25).double()
    v = dp.expected(dp.evaluate(branches, equal), equal)[start]
    assert float(v) == pytest.approx(-868.73, abs=5e-3)


TASKS = (
    *("bandit", "blackjack", "cliffwalking", "dyna_maze", "frozenlake", "frozenlake_dry"),
    *("frozenlake8x8", "maximisation_bias", "random_walk", "random_walk19", "taxi"),
    "windy_gridworld",
)
TOYS = {
    id_
    for id_, facts in gym.registry.items()
    if str(facts.entry_point).startswith("gymnasium.envs.toy_text")
}


@cache
def task(name: str) -> Spec:
    """Return what a planner knows of a file of conf/env, with its budget."""
    with cfg.session():
        env = OmegaConf.to_object(cfg.composed("algo=value_iteration", f"env={name}").env)
    return make_spec(env, env.budget)


PARTLY_SEEN = {"tmaze", "cartpole_positions"}  # toys without a table of transitions


def test_these_are_all_tasks_with_a_model() -> None:
    with cfg.session():
        names = set(cfg.options("env"))
        ids = {
            n: cfg.composed("algo=value_iteration", f"env={n}").env.id
            for n in names - {"gym", "atari"} - PARTLY_SEEN
        }
    toys = {
        n
        for n, i in ids.items()
        if n.split("_")[0] != "minatar" and (i.startswith("Prism/") or i in TOYS)
    }
    assert toys == set(TASKS)


@pytest.mark.parametrize("gamma", [0.99, 1.0])
@pytest.mark.parametrize("name", TASKS)
@pytest.mark.parametrize("method", ["value_iteration", "q_iteration", "policy_iteration"])
def test_planners_end_at_the_optimum_within_their_budget(
    method: str, name: str, gamma: float
) -> None:
    """The values, and the value of the policy that acts."""
    spec = task(name)
    agent = Planner(PlanningConfig(method=method, gamma=gamma), spec, (0,), CPU)
    while agent.spent < spec.budget and not (agent.residuals and agent.converged.all()):
        agent.update()
    assert agent.remarks() == [None]
    process: MDP = spec.extras[MODEL]
    branches = tensors(process, gamma)
    best = dp.optimal(branches).amax(-1)
    scale = float(best.abs().max().clamp(min=1))
    assert torch.allclose(agent.method.value(agent.q)[0], best, atol=1e-8 * scale, rtol=0)
    acts = torch.eye(process.actions).double()[dp.ending(agent.q[0], branches, CLEARLY)]
    own = dp.expected(dp.evaluate(branches, acts), acts)
    assert float((own - best).abs()[torch.as_tensor(process.start > 0)].max()) < 1e-8 * scale
