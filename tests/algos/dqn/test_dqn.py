"""When and from what the agent learns: cadence, targets, annealing, the coin, evaluation."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.core.agent import Spec
from prism.algos.dqn.config import DQNConfig, Exploration
from prism.algos.dqn.dqn import DQN
from prism.algos.formulas import td
from prism.benchmark.plan.grid import sweep
from tests.helpers import CPU, SEEDS, VECTOR, World, agent, copied, drive, equal, steady, tiny


def life(config: DQNConfig, ticks: int = 30, **spec: Any) -> tuple[DQN, World]:
    learner, world = agent(config, **spec), World(VECTOR, SEEDS, config.lanes)
    drive(learner, world, ticks)
    return learner, world


@pytest.mark.parametrize(("lanes", "every"), [(1, 4), (2, 4), (3, 12), (4, 4), (8, 4)])
def test_updates_are_due_by_steps_not_by_ticks(lanes: int, every: int) -> None:
    config = tiny(lanes=lanes, train_every=every, learning_starts=24, target="none")
    learner, world = agent(config), World(VECTOR, SEEDS, lanes)
    due = []
    for tick in range(1, 49):
        learner.observe(world.step(learner.act(world.obs)[0]))
        assert learner.experience.steps == tick * lanes
        if learner.update() is not None:
            due.append(tick)
    gap = max(every, lanes)  # steps
    assert due == [t for t in range(1, 49) if t * lanes >= 24 and t * lanes % gap == 0]


def test_gradient_steps_are_made_each_time() -> None:
    learner, world = agent(tiny(gradient_steps=3)), World(VECTOR, SEEDS)
    assert len(drive(learner, world, 20)["index"]) == 3 * 13


@pytest.mark.parametrize("every", [1, 7, 10])
def test_hard_target_is_a_copy_now_and_then(every: int) -> None:
    learner, world = agent(tiny(target_every=every, learning_starts=8)), World(VECTOR, SEEDS)
    assert torch.equal(learner.learner.target_params, learner.learner.params)
    for _ in range(40):
        before = learner.learner.target_params.clone()
        drive(learner, world, 1)
        if learner.experience.steps >= 8 and learner.experience.steps % every == 0:
            assert torch.equal(learner.learner.target_params, learner.learner.params)
        else:
            assert torch.equal(learner.learner.target_params, before)


def test_soft_target_moves_by_tau_at_every_update() -> None:
    learner, world = agent(tiny(target="soft", tau=0.1)), World(VECTOR, SEEDS)
    drive(learner, world, 12)
    for _ in range(5):
        before = learner.learner.target_params.clone()
        drive(learner, world, 1)
        expected = 0.9 * before + 0.1 * learner.learner.params
        torch.testing.assert_close(learner.learner.target_params, expected)


def test_without_a_target_network_the_online_one_bootstraps() -> None:
    learner, _ = life(tiny(target="none"))
    batch = learner.experience.sample()[0]
    loss, _, _ = learner._loss(batch, torch.ones(3, 8))
    v = learner.value.mean(learner.online(batch.next_obs)).amax(-1)
    y = td.bootstrap(batch.reward, batch.discount, v)
    q = td.select(learner.online(batch.obs), batch.action).squeeze(-1)
    torch.testing.assert_close(loss, td.squared(y - q).mean(-1))


def test_the_loss_stops_the_gradient_at_the_target() -> None:
    learner, _ = life(tiny(target="none"))
    batch = learner.experience.sample()[0]
    learner.learner.optimizer.backward(learner._loss(batch, torch.ones(3, 8))[0])
    ours = learner.learner.optimizer.grad.clone()
    v = learner.value.mean(learner.online(batch.next_obs)).amax(-1).detach()
    q = td.select(learner.online(batch.obs), batch.action).squeeze(-1)
    loss = td.squared(batch.reward + batch.discount * v - q).mean(-1)
    learner.learner.optimizer.backward(loss)
    torch.testing.assert_close(ours, learner.learner.optimizer.grad)


def test_a_coin_picks_one_of_two_learners_and_the_other_one_values() -> None:
    learner, world = life(tiny("double_q"), 20)
    heads: list[Tensor] = []
    for _ in range(40):
        before = learner.learner.params.clone()
        drive(learner, world, 1)
        moved = (learner.learner.params != before).any(1).view(3, 2)
        assert (moved.sum(1) == 1).all()  # one network of each seed
        heads.append(moved[:, 0])
    share = torch.stack(heads).float()
    assert (share.mean(0) - 0.5).abs().max() < 0.25
    assert not torch.equal(share[:, 0], share[:, 1])  # each seed tosses a coin of its own
    batch = learner.experience.sample()[0]
    batch = type(batch)(*(x.repeat_interleave(2, 0) for x in batch))
    online, target = learner.online(batch.next_obs).squeeze(-1), learner.target(batch.next_obs)
    expected = torch.empty(6)
    for member in range(6):
        best = online[member].argmax(-1, keepdim=True)
        v = target.squeeze(-1)[member ^ 1].gather(-1, best).squeeze(-1)
        y = batch.reward[member] + batch.discount[member] * v
        q = learner.online(batch.obs).squeeze(-1)[member].gather(-1, batch.action[member][:, None])
        expected[member] = td.squared(y - q.squeeze(-1)).mean()
    torch.testing.assert_close(learner._loss(batch, torch.ones(6, 8))[0], expected)


def test_two_networks_act_by_their_mean() -> None:
    learner, world = life(tiny("double_q"), 20)
    both = learner.online(world.obs.repeat_interleave(2, 0)).squeeze(-1).view(3, 2, 1, 3)
    action, memo = learner.act(world.obs, explore=False)
    torch.testing.assert_close(memo["value"], both.mean(1).amax(-1))
    assert torch.equal(action, both.mean(1).argmax(-1))


def test_beta_and_epsilon_are_annealed_over_the_budget() -> None:
    config = tiny("per_dqn", exploration=Exploration(start=1.0, end=0.2, fraction=0.5))
    learner, world = agent(config, budget=100), World(VECTOR, SEEDS)
    betas, sample = [], learner.experience.sampler.sample

    def spy(beta: float) -> tuple[Tensor, Tensor]:
        betas.append(beta)
        return sample(beta)

    learner.experience.sampler.sample = spy  # type: ignore[method-assign]
    for _ in range(100):
        learner.observe(world.step(learner.act(world.obs)[0]))
        learner.update()
    assert betas == pytest.approx([0.4 + 0.6 * t / 100 for t in range(8, 101)])
    levels = [learner.level(t) for t in (0, 25, 50, 100)]
    assert levels == pytest.approx([1.0, 0.6, 0.2, 0.2])


@pytest.mark.parametrize("name", ["dqn", "double_q", "rainbow"])
def test_evaluation_leaves_no_trace(name: str) -> None:
    config = tiny(name, norm="batch", dropout=0.2, exploration=steady(0.5))
    learner, _ = life(config)
    before = copied(learner.state())
    other = World(VECTOR, SEEDS, 5)
    for _ in range(10):
        action, memo = learner.act(other.obs, explore=False)
        assert action.shape == memo["value"].shape == (3, 5)
        assert torch.equal(learner.act(other.obs, explore=False)[0], action)  # no chance in it
        other.step(action)
    equal(copied(learner.state()), before)


def test_the_policy_alone_is_enough_to_act() -> None:
    for name in ("dqn", "double_q", "rainbow"):
        learner, world = life(tiny(name, norm="batch"))
        fresh = agent(tiny(name, norm="batch"))
        fresh.load({"policy": copied(learner.state()["policy"])})
        a, b = learner.act(world.obs, explore=False), fresh.act(world.obs, explore=False)
        assert torch.equal(a[0], b[0]) and torch.equal(a[1]["value"], b[1]["value"])


def test_without_replay_only_the_newest_transitions_are_learned_from() -> None:
    learner, world = agent(tiny(replay=False, lanes=2, target="none")), World(VECTOR, SEEDS, 2)
    gather, batches = learner.experience.buffer.gather, []
    learner.experience.buffer.gather = lambda index: batches.append(gather(index)) or batches[-1]  # type: ignore
    for _ in range(20):
        step = world.step(learner.act(world.obs)[0])
        learner.observe(step)
        if learner.update() is not None:
            assert torch.equal(batches[-1].obs, step.obs)
            assert torch.equal(batches[-1].reward, step.reward)
            on = batches[-1].discount > 0
            assert torch.equal(batches[-1].next_obs[on], step.next_obs[on])
    assert len(batches) == 17


@pytest.mark.parametrize(("lanes", "n_step"), [(1, 1), (3, 1), (2, 3)])
def test_replay_taken_out_learns_from_each_transition_once(lanes: int, n_step: int) -> None:
    """Whatever the cadence with replay was: repeats are none, and gaps are none."""
    (off,) = (dict(c.off) for c in DQN.COMPONENTS if c.name == "replay")
    cadence = {"train_every": 6, "gradient_steps": 4}
    config = tiny(**({"lanes": lanes, "n_step": n_step} | cadence | off))
    learner, world = agent(config), World(VECTOR, SEEDS, lanes)
    gather, batches, steps = learner.experience.buffer.gather, [], []
    learner.experience.buffer.gather = lambda index: batches.append(gather(index)) or batches[-1]  # type: ignore
    for _ in range(20):
        steps.append(world.step(learner.act(world.obs)[0]))
        learner.observe(steps[-1])
        learner.update()
    first = -(-config.learning_starts // lanes)  # tick
    starts = [step.obs for step in steps[first - n_step : len(steps) - n_step + 1]]
    assert torch.equal(torch.stack([batch.obs for batch in batches]), torch.stack(starts))


def test_batch_norm_and_dropout_learn_with_the_batch_and_act_without() -> None:
    learner, world = agent(tiny(norm="batch", dropout=0.3)), World(VECTOR, SEEDS)
    drive(learner, world, 5)
    assert all((t == 0).all() or (t == 1).all() for t in learner.learner.weights.running.values())
    drive(learner, world, 30)
    assert all(((t != 0) & (t != 1)).any() for t in learner.learner.weights.running.values())
    batch = learner.experience.sample()[0]
    first, _, _ = learner._loss(batch, torch.ones(3, 8))
    again, _, _ = learner._loss(batch, torch.ones(3, 8))
    assert not torch.equal(first, again)  # another mask of the units


def test_frames_are_scaled_and_images_stored_as_bytes() -> None:
    frames = Spec(spaces.Box(0, 255, (4, 10, 10), np.uint8), spaces.Discrete(3), 100)
    learner = DQN(tiny(), frames, SEEDS, CPU)
    assert learner.online.shape.obs_scale == 255
    assert learner.state()["experience"]["buffer"]["obs"].dtype == torch.uint8
    bits = Spec(spaces.Box(0, 1, (4, 10, 10), np.bool_), spaces.Discrete(3), 100)
    learner = DQN(tiny(), bits, SEEDS, CPU)
    assert learner.online.shape.obs_scale == 1
    assert learner.state()["experience"]["buffer"]["obs"].dtype == torch.bool
    memory = Spec(spaces.Box(0, 255, (128,), np.uint8), spaces.Discrete(3), 100)
    assert DQN(tiny(), memory, SEEDS, CPU).online.shape.obs_scale == 1


def test_a_continuous_task_is_refused() -> None:
    box = Spec(VECTOR, spaces.Box(-1, 1, (2,)), 100)
    assert "discrete actions" in str(DQN.unsupported(tiny(), box))
    assert DQN.unsupported(tiny(), Spec(VECTOR, spaces.Discrete(2), 100)) is None


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("norm", "bach", "none, layer, batch"),
        ("optimizer", "adamw", "adam, rmsprop, rmsprop_uncentred, sgd"),
        ("gamma", 1.5, "between 0 and 1"),
        ("n_step", 0, "at least 1"),
        ("v_max", -200.0, "v_min must lie below v_max"),
        ("lanes", 100, "buffer_size"),
    ],
)
def test_mistakes_name_their_key(key: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        tiny(**{key: value})
    assert key.split("_")[0] in str(caught.value) and "\n" not in str(caught.value)


# examples/dqn.py of kenjyoung/MinAtar at 46b00d9: constants, loss (smooth_l1_loss), optimiser
PUBLISHED = {
    "batch_size": 32,
    "buffer_size": 100_000,
    "target_every": 1000,
    "train_every": 1,
    "gradient_steps": 1,
    "learning_starts": 5000,
    "lr": 0.00025,
    "rmsprop_alpha": 0.95,
    "optimizer_eps": 0.01,
    "optimizer": "rmsprop",
    "loss": "huber",
    "grad_clip": None,
    "gamma": 0.99,
    "conv": [[16, 3, 1]],
    "hidden": [128],
    "lanes": 1,
}


@pytest.mark.parametrize("game", ["asterix", "breakout", "freeway", "seaquest", "space_invaders"])
def test_minatars_settings_are_those_of_the_published_code(game: str) -> None:
    (job,) = sweep(("algo=dqn", f"env=minatar_{game}")).jobs
    assert {key: getattr(job.spec.algo, key) for key in PUBLISHED} == PUBLISHED
    exploration = job.spec.algo.exploration
    assert (exploration.start, exploration.end, exploration.schedule) == (1, 0.1, "linear")
    assert exploration.fraction * job.spec.budget == 100_000
    (job,) = sweep(("algo=rainbow", f"env=minatar_{game}", "components=-distributional")).jobs
    assert (job.spec.algo.value, job.spec.algo.loss) == ("scalar", "huber")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["double_q", "rainbow"])
def test_a_compiled_update_learns_the_same(name: str) -> None:
    plain, compiled = (life(tiny(name, compile=on), 20)[0] for on in (False, True))
    assert compiled._loss_of != compiled._loss
    torch.testing.assert_close(compiled.learner.params, plain.learner.params)


def test_metrics_are_means_over_all_gradient_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Tensor] = []
    learn = DQN._learn

    def spy(self: DQN) -> dict[str, Tensor]:
        metrics = learn(self)
        seen.append(metrics["loss/value"].clone())
        return metrics

    monkeypatch.setattr(DQN, "_learn", spy)
    log = drive(agent(tiny(gradient_steps=3)), World(VECTOR, SEEDS), 30)
    assert len(seen) == 3 * len(log["loss"]) > 30
    for i, mean in enumerate(log["loss"]):
        steps = torch.stack(seen[3 * i : 3 * i + 3])
        torch.testing.assert_close(mean, steps.mean(0))
        assert not torch.equal(mean, steps[-1])
