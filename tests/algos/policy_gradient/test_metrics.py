"""The numbers that an update tells of: what they are, and over which steps they are means."""

from typing import Any

import pytest
import torch
from torch import Tensor

from prism.algos.policy_gradient.ppo import PPO
from tests.algos.policy_gradient.agents import ACTIONS, SMALL, agent, live, small, world_of
from tests.helpers import SEEDS

CRITICS = {"ppo", "recurrent_ppo", "a2c", "reinforce_baseline", "trpo"}


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("actions", ["discrete", "box"])
def test_what_an_agent_reports(name: str, actions: str) -> None:
    settings = small(name)
    learner = agent(settings, SEEDS, ACTIONS[actions])
    log = live(learner, world_of(settings), 40)
    assert ("loss/explained_variance" in log) == (name in CRITICS)
    assert ("loss/policy_std" in log) == (actions == "box")
    for key in {"loss/explained_variance", "loss/policy_std", "loss/learning_rate"} & log.keys():
        assert all(x.shape == (3,) and x.isfinite().all() for x in log[key])
    if actions == "box":
        std = learner.actor_critic.net.log_std.exp().flatten(1).mean(-1)
        assert torch.equal(log["loss/policy_std"][-1], std)
    if name in CRITICS:
        assert all((x < 1).all() for x in log["loss/explained_variance"])


@pytest.mark.parametrize("name", ["ppo", "reinforce"])
def test_the_learning_rate_falls_by_the_steps_taken(name: str) -> None:
    settings = small(name, anneal=True)
    learner, world = agent(settings, budget=400), world_of(settings)
    for _ in range(60):
        if (log := live(learner, world, 1)).keys() == {"action"}:
            continue
        begun = learner.experience.begun  # of the rollout that was learned from
        steps = torch.tensor([begun] * 3 if isinstance(begun, int) else begun)
        expected = settings.lr * (1 - steps / 400).clamp(min=0)
        torch.testing.assert_close(log["loss/learning_rate"][0], expected.float())


def test_means_are_over_the_steps_that_were_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[dict[str, Tensor], Tensor]] = []
    step = PPO._step

    def spy(self: PPO, *args: Any) -> Any:
        metrics, alive = step(self, *args)
        seen.append((dict(metrics), alive.clone()))
        return metrics, alive

    monkeypatch.setattr(PPO, "_step", spy)
    settings = small("ppo", target_kl=1e-4, lr=1e-2, epochs=4)
    learner, world = agent(settings), world_of(settings)
    stopped = 0
    for _ in range(4):
        seen.clear()
        log = live(learner, world, settings.rollout)
        steps = len(seen)
        for k in range(3):
            applied = [i for i, (_, alive) in enumerate(seen) if alive[k]]
            stopped += len(applied) < steps
            assert applied == list(range(len(applied)))  # none behind the stop
            for name in ("loss/policy", "loss/value", "loss/entropy", "loss/clipped", "loss/kl"):
                mean = sum(float(seen[i][0][name][k]) for i in applied) / len(applied)
                assert float(log[name][0][k]) == pytest.approx(mean, rel=1e-4, abs=1e-7)
            largest = max(float(seen[i][0]["loss/largest_ratio"][k]) for i in applied)
            assert float(log["loss/largest_ratio"][0][k]) == pytest.approx(largest)
            share = len(applied) / steps
            assert float(log["loss/live"][0][k]) == pytest.approx(share)
    assert stopped > 6
