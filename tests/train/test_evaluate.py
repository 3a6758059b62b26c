"""Evaluation: what a seed is said to do must not depend on the seeds beside it."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from prism.benchmark.envs.config import EnvConfig, EnvWrappers
from prism.benchmark.envs.episodes import FINAL
from prism.benchmark.store.spec import EvaluationConfig
from prism.benchmark.train.evaluate import EvaluationResult, Evaluator, _ValueTrack

CLIFF = {"name": "cliff", "id": "CliffWalking-v1", "horizon": 60}
START, CORNER = 36, 35  # of the cliff's states: below the cliff's left end, above the goal
UP, RIGHT, DOWN, LEFT = range(4)


class Walkers:
    """An agent whose seeds walk along the cliff to the goal, or stay where they are."""

    def __init__(self, *walks: bool) -> None:
        self.walks = torch.tensor(walks)[:, None]

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        state = obs.argmax(-1)
        path = torch.where(state == START, UP, torch.where(state == CORNER, DOWN, RIGHT))
        return torch.where(self.walks, path, LEFT), {"value": -state.float()}


class Counter:
    """An agent that counts its steps since it was told to begin, and values by them."""

    def __init__(self) -> None:
        self.forgot = 0

    def forget(self) -> None:
        self.forgot, self.steps = self.forgot + 1, 0

    def act(self, obs: Tensor, explore: bool = True) -> tuple[Tensor, dict[str, Tensor]]:
        assert not explore
        self.steps += 1
        action = torch.full(obs.shape[:2], UP if self.steps == 1 else RIGHT)
        return action, {"value": torch.full(obs.shape[:2], float(self.steps))}


def counted(env: EnvConfig) -> Any:
    return SimpleNamespace(
        env=env,
        evaluation=EvaluationConfig(seed=5),
        gamma=0.5,
        policy="greedy",
        agent=Counter,
        algo=None,
    )


def test_every_evaluation_begins_a_memory_anew() -> None:
    """A truncated episode is continued by the value at its end, behind what led there."""
    env = EnvConfig(name="truncated", id="Prism/ConstantTruncated-v0", kwargs={"T": 4})
    evaluator, agent = Evaluator(counted(env), [0], FINAL, 2, torch.device("cpu")), Counter()
    for times in (1, 2):
        outcome = evaluator(agent)  # type: ignore[arg-type]
        assert agent.forgot == times and agent.steps == 5
        assert outcome.predicted == pytest.approx([(1 + 2 + 3 + 4) / 4])
        after, realised = 5.0, []
        for _ in range(4):
            after = 1 + 0.5 * after
            realised.append(after)
        assert outcome.realised == pytest.approx([np.mean(realised)])
    evaluator.close()


def test_a_lane_that_waits_is_continued_by_its_own_last_value() -> None:
    """The first lane is cut a tick before the second: what the agent says later is not its own."""
    track = _ValueTrack((1, 2), counted(EnvConfig()), "greedy")
    never = np.zeros((1, 2), bool)
    track.add(torch.tensor([[1.0, 1.0]]), np.ones((1, 2)), never, np.array([[True, True]]))
    track.add(torch.tensor([[8.0, 2.0]]), np.ones((1, 2)), never, np.array([[False, True]]))
    _, realised = track.means(torch.tensor([[99.0, 4.0]]))
    last = 1 + 0.5 * 4.0
    assert realised == pytest.approx([np.mean([1 + 0.5 * 8.0, last, 1 + 0.5 * last])])


def evaluated(
    table: bool,
    *walks: bool,
    played: np.ndarray | None = None,
    wrappers: EnvWrappers | None = None,
) -> EvaluationResult:
    spec: Any = SimpleNamespace(
        env=EnvConfig(**CLIFF, table=table, wrappers=wrappers or EnvWrappers()),
        evaluation=EvaluationConfig(seed=5),
        gamma=0.9,
        policy="greedy",
        agent=Walkers,
        algo=None,
    )
    evaluator = Evaluator(spec, range(len(walks)), FINAL, 2, torch.device("cpu"))
    agent: Any = Walkers(*walks)
    outcome = evaluator(agent, seeds=played)
    evaluator.close()
    return outcome


@pytest.mark.parametrize("table", [True, False])
def test_a_short_episode_is_the_same_beside_a_long_one(table: bool) -> None:
    alone, beside = evaluated(table, True), evaluated(table, True, False)
    for ours, theirs in zip(alone, beside, strict=True):
        assert np.array_equal(ours[0], theirs[0])
    assert alone.returns.tolist() == [[-13.0, -13.0]] and alone.lengths.tolist() == [[13, 13]]
    assert beside.lengths.tolist() == [[13, 13], [60, 60]]
    to_go = [-(1 - 0.9**n) / (1 - 0.9) for n in range(1, 14)]
    assert alone.realised == pytest.approx([np.mean(to_go)])


@pytest.mark.parametrize("table", [True, False])
def test_seeds_that_are_not_asked_for_are_not_played(table: bool) -> None:
    walks = (True, False, True)
    whole = evaluated(table, *walks)
    some = evaluated(table, *walks, played=np.array([False, True, True]))
    for ours, theirs in zip(some, whole, strict=True):
        assert np.isnan(ours[0]).all() and np.array_equal(ours[1:], theirs[1:], equal_nan=True)
    nobody = evaluated(table, *walks, played=np.zeros(3, bool))
    assert all(np.isnan(part).all() for part in nobody)


def test_values_are_compared_with_the_rewards_that_the_agent_learns_from() -> None:
    """On the cliff every raw reward is -1: returns of 13 steps at gamma = 0.9."""
    to_go = np.mean([-(1 - 0.9**n) / (1 - 0.9) for n in range(1, 14)])
    for changes, unit in (({"reward_scale": 0.1}, 0.1), ({"reward_clip": 0.5}, 0.5),
                          ({"reward_clip": 0.5, "reward_scale": 4.0}, 2.0)):  # fmt: skip
        outcome = evaluated(True, True, wrappers=EnvWrappers(**changes))
        assert outcome.returns.tolist() == [[-13.0, -13.0]]  # raw
        assert outcome.realised == pytest.approx([unit * to_go])
        assert outcome.predicted == evaluated(True, True).predicted


@pytest.mark.parametrize(
    "changes",
    [
        {"delay_reward": True},
        {"shaping": "cliffwalking"},
        {"extra": [{"class": "gymnasium.wrappers:ClipReward", "training_only": True}]},
    ],
)
def test_nothing_is_compared_where_the_agents_rewards_are_not_known(changes: Any) -> None:
    outcome = evaluated(True, True, wrappers=EnvWrappers(**changes))
    assert np.isnan(outcome.predicted).all() and np.isnan(outcome.realised).all()
    assert outcome.returns.tolist() == [[-13.0, -13.0]]


def test_nothing_is_compared_where_values_are_of_another_policy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for form, compares in (("greedy", True), ("sampled", False), (None, False)):
        monkeypatch.setattr(Walkers, "valued", lambda config, form=form: form, raising=False)
        assert np.isfinite(evaluated(True, True).realised).all() == compares
