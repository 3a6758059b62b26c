"""The cross-entropy method: its slices, its states, its components, and what it imitates."""

from dataclasses import replace
from functools import cache
from itertools import combinations
from math import isnan
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from omegaconf import OmegaConf

from prism.algos.cem.cem import CEM
from prism.algos.cem.config import COMPONENTS, CEMConfig, CEMParamsConfig
from prism.algos.cem.elites import elites
from prism.algos.cem.models import Forest
from prism.algos.cem.params import CEMParams
from prism.algos.core.agent import Spec, Step
from prism.benchmark.envs.config import EnvConfig
from prism.benchmark.envs.make import make_spec
from prism.benchmark.envs.table import vector_env
from prism.benchmark.plan import config as cfg
from prism.benchmark.store.agents import agent_class
from prism.benchmark.store.checkpoint import take_seed
from prism.benchmark.train.recorder import Meter
from tests.algos.policy_gradient.agents import WaitingWorld
from tests.helpers import CPU, SEEDS, VECTOR, copied, equal

LAKE = EnvConfig(name="lake", id="FrozenLake-v1", horizon=12)
CLIFF = EnvConfig(name="cliff", id="CliffWalking-v1", horizon=12)
CARTPOLE = EnvConfig(name="cartpole", id="CartPole-v1", horizon=30)
PENDULUM = EnvConfig(name="pendulum", id="Pendulum-v1", horizon=9)


@cache
def presets() -> dict[str, Any]:
    with cfg.session():
        algos = {name: cfg.composed(f"algo={name}").algo for name in cfg.options("algo")}
        ours = (CEMConfig.agent, CEMParamsConfig.agent)
        return {n: OmegaConf.to_object(a) for n, a in algos.items() if a.agent in ours}


class Life:
    """An agent in its environments, and the loop in short."""

    def __init__(self, config: Any, env: EnvConfig, seeds: Any = SEEDS, budget: int = 5000) -> None:
        cls = agent_class(config.agent)
        self.agent: Any = cls(config, make_spec(env, budget), seeds, CPU)
        self.env = vector_env(env, seeds, config.lanes, reset=config.reset)
        self.obs, self.updates, self.meter = torch.from_numpy(self.env.begin()), 0, Meter()

    def tick(self) -> Step:
        action, memo = self.agent.act(self.obs)
        result = self.env.step(action.numpy())
        next_obs, *rest = map(torch.from_numpy, result)
        step = Step(self.obs, next_obs, action, *rest, memo)
        self.agent.observe(step)
        if metrics := self.agent.update():
            self.updates += 1
            self.meter.add(metrics)
        self.obs = torch.from_numpy(self.env.begin())
        return step

    def row(self, k: int) -> dict[str, float]:
        """Return seed k's means since the last row, as a run records them."""
        return {
            name: float(x[k])
            for name, x in self.meter.drain(np.full(len(self.env.seeds), True)).items()
            if not isnan(x[k])
        }


def small(name: str, **changes: Any) -> Any:
    config = replace(presets()[name], lanes=4)
    if isinstance(config, CEMConfig):
        config = replace(config, updates=3, batch_size=16, trees=3, hidden=[8], elite=0.5)
        config = replace(config, sessions=changes.get("lanes", config.lanes))
    return replace(config, **changes)


CASES: dict[str, tuple[Any, EnvConfig]] = {
    "table": (small("cem_table"), CLIFF),
    "table, rounds": (small("cem_table", lanes=2, sessions=4, memory=2), CLIFF),
    "neural": (small("cem"), CARTPOLE),
    "neural, one lane": (small("cem", lanes=1, sessions=3), CARTPOLE),
    "linear": (small("cem_linear"), CLIFF),
    "forest": (small("cem_forest"), CLIFF),
    "neural, continuous": (small("cem"), PENDULUM),
    "forest, continuous": (small("cem_forest"), PENDULUM),
    "parameters": (small("cem_params"), CARTPOLE),
    "parameters, stop": (small("cem_params", iterations=2), CLIFF),
    "parameters, hidden": (small("cem_params_neural"), PENDULUM),
}


def comparable(life: Life, k: int) -> Any:
    """Return seed k's state without the unused room, which follows the longest of all sessions."""
    state = take_seed(life.agent.state(), k)
    if "episodes" in state:
        longest = int(state["lengths"].max())
        for part in (state, state["policy"]["model"].get("sessions", {})):
            for name in part.keys() & {"obs", "actions"}:
                part[name] = part[name][:, :, :longest]
        episodes = state["episodes"]
        position = int(episodes["position"])
        episodes["set"] = episodes["set"][:, :position]
        episodes["fields"] = {name: x[:, :position] for name, x in episodes["fields"].items()}
    return state


@pytest.mark.parametrize("case", CASES)
def test_slice(case: str) -> None:
    config, env = CASES[case]
    together, alone = Life(config, env), Life(config, env, SEEDS[1:2])
    for tick in range(60):
        a, b = together.tick(), alone.tick()
        assert torch.equal(a.action[1:2], b.action) and torch.equal(a.obs[1:2], b.obs)
        if tick % 20 == 19:
            assert together.row(1) == alone.row(0)
    assert alone.updates >= 1
    equal(comparable(together, 1), comparable(alone, 0))


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_slice_over_a_thousand_ticks(case: str) -> None:
    config, env = CASES[case]
    together, alone = Life(config, env), Life(config, env, SEEDS[1:2])
    for _ in range(1000):
        a, b = together.tick(), alone.tick()
        assert torch.equal(a.action[1:2], b.action)
    assert (row := together.row(1)) == alone.row(0) and row
    equal(comparable(together, 1), comparable(alone, 0))


@pytest.mark.parametrize("case", CASES)
def test_state_and_load_continue_to_the_bit(case: str) -> None:
    config, env = CASES[case]
    whole, other = Life(config, env), Life(config, env)
    for _ in range(40):
        whole.tick()
    other.agent.load(copied(whole.agent.state()))
    other.env.load(copied(whole.env.state()))
    other.obs = torch.from_numpy(other.env.begin())
    for _ in range(25):
        a, b = whole.tick(), other.tick()
        assert torch.equal(a.action, b.action)
    equal(whole.agent.state(), other.agent.state())


@pytest.mark.parametrize("case", CASES)
def test_weights_alone_act(case: str) -> None:
    config, env = CASES[case]
    whole, other = Life(config, env), Life(config, env)
    for _ in range(40):
        whole.tick()
    other.agent.load({"policy": copied(whole.agent.state()["policy"])})
    ours, theirs = (life.agent.act(whole.obs, explore=False)[0] for life in (whole, other))
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("case", CASES)
def test_any_two_seeds_differ(case: str) -> None:
    config, env = CASES[case]
    life = Life(config, env, (0, 1, 2))
    actions = torch.stack([life.tick().action for _ in range(20)])
    for a, b in combinations(range(3), 2):
        assert not torch.equal(actions[:, a], actions[:, b])


def test_the_table_is_smoothed_counts_of_the_elites() -> None:
    config = small("cem_table", lanes=2, elite=0.5, memory=1, smoothing=0.4)
    agent = CEM(config, make_spec(LAKE, 1000), (0,), CPU)
    rewards = torch.tensor([[1.0, 5.0]])
    obs = torch.eye(16)[[3, 3]][None]
    for end in (False, True):
        over = torch.full((1, 2), end)
        action = torch.tensor([[0, 2]]) if end else torch.tensor([[0, 1]])
        agent.observe(Step(obs, obs, action, rewards, over, ~over & False, over | True, {}))
        agent.update()
    expected = 0.4 * torch.tensor([0.0, 0.5, 0.5, 0.0]) + 0.6 * 0.25  # of the second lane only
    torch.testing.assert_close(agent.model.p[0, 3], expected)
    assert (agent.model.p[0, 4] == 0.25).all()


@pytest.mark.parametrize(
    ("returns", "share", "elite"),
    [
        ([1, 4, 3, 2], 0.5, [0, 1, 1, 0]),
        ([4, 4, 3, 4], 0.5, [1, 1, 0, 1]),  # what equals the last of them is elite as well
        ([0, 0, 0, 9], 0.5, [0, 0, 0, 1]),  # not all of them, where a part is asked for
        ([0, 0, 0, 9], 1.0, [1, 1, 1, 1]),
        ([5, 5, 5, 5], 0.5, [0, 0, 0, 0]),
        ([5, 5, 5, 5], 1.0, [0, 0, 0, 0]),
        ([-torch.inf, -torch.inf, 1, 2], 0.5, [0, 0, 0, 1]),
        ([-torch.inf] * 4, 0.5, [0, 0, 0, 0]),
    ],
)
def test_elites(returns: list[float], share: float, elite: list[int]) -> None:
    assert elites(torch.tensor([returns, returns]), share).tolist() == [[*map(bool, elite)]] * 2


def sessions(agent: Any, rewards: list[float], actions: Any, obs: torch.Tensor, memo: Any) -> None:
    """Give an agent a session of one step in each lane."""
    over = torch.ones(1, len(rewards), dtype=torch.bool)
    reward = torch.tensor([rewards])
    agent.observe(Step(obs, obs, torch.as_tensor([actions]), reward, over, ~over, over, memo))
    assert agent.update() is not None


def test_elites_are_of_the_sessions_of_all_remembered_iterations() -> None:
    config = small("cem_table", elite=0.5, memory=2, smoothing=1.0)
    agent = CEM(config, make_spec(LAKE, 1000), (0,), CPU)
    obs = torch.eye(16)[[3] * 4][None]
    sessions(agent, [9.0, 8, 7, 1], [0, 0, 1, 1], obs, {})
    assert agent.model.p[0, 3].tolist() == [1, 0, 0, 0]
    sessions(agent, [6.0, 5, 4, 3], [2, 2, 3, 3], obs, {})  # 7 is elite now, and was not before
    torch.testing.assert_close(agent.model.p[0, 3], torch.tensor([0.5, 0.25, 0.25, 0]))
    sessions(agent, [0.5, 0.5, 0.5, 0.5], [3, 3, 3, 3], obs, {})  # the first iteration is forgotten
    torch.testing.assert_close(agent.model.p[0, 3], torch.tensor([0, 0, 0.5, 0.5]))


@pytest.mark.parametrize("name", ["cem_table", "cem", "cem_forest", "cem_params"])
def test_equal_returns_teach_nothing(name: str) -> None:
    config = small(name)
    agent = agent_class(config.agent)(config, make_spec(LAKE, 1000), (0,), CPU)
    obs, before = torch.eye(16)[[3] * 4][None], learned(agent)
    for value in (0.0, 0.0, 0.1):
        sessions(agent, [value] * 4, [0, 1, 2, 3], obs, {})
        if value == 0:
            equal(learned(agent), before)
    if name != "cem_params":  # it keeps no sessions, so all of an iteration's are equal
        assert agent.scores.unique().numel() == 3
    sessions(agent, [0.0, 0, 0, 1], [0, 1, 2, 3], obs, {})
    assert not all(map(torch.equal, tensors(before), tensors(learned(agent))))


def learned(agent: Any) -> dict[str, Any]:
    """Return what an agent has learned; of a forest, whether it has grown."""
    if isinstance(model := getattr(agent, "model", None), Forest):
        return {"grown": torch.tensor(model.forests[0] is not None)}
    return copied(agent.state()["policy"])


def test_continuous_actions_are_fitted_as_they_were_drawn() -> None:
    """Not as the bounds of the environment cut them."""
    config = small(
        "cem", elite=1.0, updates=300, lr=0.02, hidden=[], noise_start=3.0, batch_size=2048
    )
    agent = CEM(config, make_spec(PENDULUM, 10**6), (0,), CPU)
    obs = torch.zeros(1, 4, 3)
    action, memo = agent.act(obs)
    cut = 2 * memo["sample"].clamp(-1, 1)
    torch.testing.assert_close(action, cut)
    assert (memo["sample"].abs() > 1).any()
    over = torch.ones(1, 4, dtype=torch.bool)
    agent.observe(Step(obs, obs, action, torch.arange(4.0)[None], over, ~over, over, memo))
    agent.update()
    mean = agent.model.learner.online(obs)[0, 0].detach()
    assert float(mean) == pytest.approx(float(memo["sample"].mean()), abs=0.05)
    assert abs(float(mean) - float(cut.mean() / 2)) > 0.1


def test_parameters_move_to_the_elites_and_noise_widens_them() -> None:
    stds = []
    for noise in (0.5, 0.0):
        config = small("cem_params", lanes=4, elite=0.5, noise=noise)
        agent = CEMParams(config, make_spec(CARTPOLE, 1000), (0,), CPU)
        theta = agent.theta.clone()
        obs, over = torch.zeros(1, 4, 4), torch.ones(1, 4, dtype=torch.bool)
        rewards = torch.tensor([[1.0, 4.0, 3.0, 2.0]])
        agent.observe(Step(obs, obs, over.long(), rewards, over, ~over, over, {}))
        agent.update()
        torch.testing.assert_close(agent.mean, theta[:, 1:3].mean(1))
        stds.append(agent.std)
    torch.testing.assert_close(stds[0].square() - stds[1].square(), torch.full_like(stds[0], 0.5))


def tensors(state: Any) -> list[torch.Tensor]:
    """Return every tensor of a state."""
    if isinstance(state, dict):
        return [x for part in state.values() for x in tensors(part)]
    return [state] if isinstance(state, torch.Tensor) else []


@pytest.mark.parametrize("case", ["neural", "table, rounds"])
def test_a_seed_that_has_failed_takes_no_room(case: str) -> None:
    life = Life(*CASES[case], (0, 1))
    answer, sizes = life.env.step, []

    def step(action: Any) -> Any:
        *rest, valid = answer(action)
        return *rest, valid & [[False], [True]]

    for tick in range(400):
        if tick == 5:
            life.env.step = step  # type: ignore[method-assign]
        life.tick()
        sizes.append(sum(x.numel() for x in tensors(life.agent.state())))
    assert life.updates > 9 and sizes[-1] < 1.2 * sizes[100]


@pytest.mark.parametrize("component", COMPONENTS, ids=lambda c: c.name)
def test_every_component_changes_something(component: Any) -> None:
    name, env = ("cem_table", CLIFF) if component.name == "smoothing" else ("cem", CARTPOLE)
    policies = []
    for values in (component.on, component.off):
        config = replace(small(name), **values)
        life = Life(config, env, (0,))
        for _ in range(150 if config.lanes > 1 else 800):
            life.tick()
        policies.append(tensors(life.agent.state()["policy"]))
    assert not all(torch.equal(a, b) for a, b in zip(*policies, strict=True))


@pytest.mark.parametrize("name", [n for n, c in presets().items() if isinstance(c, CEMConfig)])
def test_parallel_lanes_change_no_iterations_sessions(name: str) -> None:
    config = presets()[name]
    (lanes,) = (c for c in COMPONENTS if c.name == "parallel lanes")
    for side in (replace(config, **lanes.on), replace(config, **lanes.off)):
        assert side.lanes != config.lanes
        agent = CEM(side, make_spec(LAKE, 1000), (0,), CPU)
        assert agent.sessions == side.lanes * side.rounds == config.lanes * config.rounds


def test_a_forest_asks_its_device_for_what_is_due(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tensors of another device are no arrays until they are copied."""

    def refuse(self: torch.Tensor, dtype: Any = None) -> None:
        raise TypeError("can't convert a tensor of another device to numpy")

    monkeypatch.setattr(torch.Tensor, "__array__", refuse)
    agent = CEM(small("cem_forest"), make_spec(LAKE, 1000), (0,), CPU)
    agent.model.fit(
        torch.eye(16)[None, :4, None],
        torch.arange(4)[None, :, None],
        torch.ones(1, 4, dtype=torch.int64),
        torch.tensor([True]),
    )
    assert agent.model.forests[0] is not None


def test_a_deviation_of_zero_searches_nothing() -> None:
    with pytest.raises(ValueError, match="std must be above 0"):
        CEMParamsConfig(std=0.0)


def test_what_is_impossible_is_said_in_a_clause() -> None:
    box = spaces.Box(-1.0, 1.0, (4,))
    free = Spec(box, spaces.Box(-float("inf"), float("inf"), (1,)), 10)
    assert "bounded" in str(CEM.unsupported(CEMConfig(), free))
    assert "bounded" in str(CEMParams.unsupported(CEMParamsConfig(), free))
    plain = Spec(box, spaces.Discrete(2), 10)
    assert "discrete observations" in str(CEM.unsupported(CEMConfig(model="table"), plain))
    assert CEM.unsupported(CEMConfig(), plain) is None
    masked = Spec(spaces.Box(-1.0, 1.0, (6,)), spaces.Discrete(2), 10, legal=2)
    assert "which actions are legal" in str(CEM.unsupported(CEMConfig(), masked))
    assert "which actions are legal" in str(CEMParams.unsupported(CEMParamsConfig(), masked))


def test_noise_falls_by_the_steps_that_a_seed_took() -> None:
    """Lanes that wait take none: seeds are at levels of their own, as each would be alone."""
    config, space = small("cem", noise_fraction=1.0), spaces.Box(-1.0, 1.0, (2,))
    actions, steps = [], []
    for seeds in (SEEDS, SEEDS[1:2]):
        learner = CEM(config, Spec(VECTOR, space, 400), seeds, CPU)
        world, log = WaitingWorld(VECTOR, seeds, config.lanes), []
        for _ in range(80):
            action, memo = learner.act(world.obs)
            log.append(action)
            learner.observe(world.step(action, memo))
            learner.update()
        actions.append(torch.stack(log, 1))
        steps.append(learner.episodes.steps.tolist())
    assert torch.equal(actions[0][1:2], actions[1]) and steps[0][1:2] == steps[1]
    assert len(set(steps[0])) == 3 and max(steps[0]) < 80 * config.lanes
