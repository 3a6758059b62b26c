"""TD3 and DDPG: every number of an update against brute force, cadence, exploration, evaluation."""

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import Tensor

from prism.algos.actor_critic.td3 import TD3
from prism.algos.core.agent import Spec, Step
from prism.algos.core.noise import Gaussian, NoNoise, OrnsteinUhlenbeck
from prism.algos.core.rng import RandomStream
from prism.benchmark.plan import config as cfg
from prism.benchmark.plan.variants import changes
from tests.algos.actor_critic.agents import (
    ACTIONS,
    agent,
    drive,
    flat64,
    forward64,
    grown,
    in_float64,
    preset,
    tiny,
)
from tests.helpers import CPU, SEEDS, VECTOR, World, copied, equal

THREE = {c.name: c for c in TD3.COMPONENTS if not c.foundation}
ACTOR, CRITIC = (4, 16, 16, 2), (6, 16, 16, 1)


def q64(params: Tensor, obs: Tensor, action: Tensor) -> Tensor:
    return forward64(in_float64(params, CRITIC), torch.cat([obs, action], -1))[:, 0]


def target64(learner: TD3, batch: Any, noise: Tensor, k: int) -> Tensor:
    """Return the target of seed ``k`` (Fujimoto et al. 2018, algorithm 1), written out."""
    c, count = learner.config, learner.config.critics
    following = batch.next_obs[k].double()
    actor = learner.actor.target_params if c.target == "soft" else learner.actor.params
    critics = learner.critics.target_params if c.target == "soft" else learner.critics.params
    action = forward64(in_float64(actor[k], ACTOR), following).tanh()
    if c.target_noise:
        jitter = (c.target_noise * noise[k].double()).clamp(-c.target_noise_clip, 0.5)
        action = (action + jitter).clamp(-1, 1)
    values = [q64(critics[k * count + i], following, action) for i in range(count)]
    return batch.reward[k].double() + batch.discount[k].double() * torch.stack(values).amin(0)


VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {
    "td3": ("td3", {"target_noise": 0.9}),
    "ddpg": ("ddpg", {}),
    "without targets": ("td3", {"target": "none"}),
    "one critic": ("td3", {"critics": 1}),
    "three critics": ("td3", {"critics": 3}),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_targets_losses_and_gradients_are_the_papers(name: str) -> None:
    base, settings = VARIANTS[name]
    learner, _ = grown(tiny(base, **settings))
    batch, count = learner.experience.sample()[0], learner.config.critics
    noise = RandomStream(SEEDS, "test", (8, 2), "normal")()
    learner.target_draws = lambda: noise
    y = learner._target(batch)
    q = learner.critics.values(batch.obs, batch.action)
    loss = (0.5 * (q - y.unsqueeze(1)).square()).mean(-1)
    learner.critics.optimizer.backward(loss)
    learner.actor.optimizer.backward(learner._policy_loss(batch.obs))
    for k in range(3):
        expected = target64(learner, batch, noise, k).detach()
        torch.testing.assert_close(y[k].double(), expected, atol=1e-5, rtol=1e-4)
        obs, action = batch.obs[k].double(), batch.action[k].double()
        for i in range(count):
            critic = in_float64(learner.critics.params[k * count + i], CRITIC)
            value = forward64(critic, torch.cat([obs, action], -1))[:, 0]
            torch.testing.assert_close(q[k, i].double(), value, atol=1e-5, rtol=1e-4)
            slope = flat64(critic, 0.5 * (value - expected).square().mean())
            ours = learner.critics.optimizer.grad[k * count + i, : len(slope)]
            torch.testing.assert_close(ours.double(), slope, atol=1e-5, rtol=1e-3)
        actor = in_float64(learner.actor.params[k], ACTOR)
        pi = forward64(actor, obs).tanh()
        slope = flat64(actor, -q64(learner.critics.params[k * count], obs, pi).mean())
        ours = learner.actor.optimizer.grad[k, : len(slope)]
        torch.testing.assert_close(ours.double(), slope, atol=1e-5, rtol=1e-3)
        assert slope.abs().max() > 1e-4


def test_a_learning_step_descends_these_losses() -> None:
    """What ``_learn`` does equals its parts, taken apart: no term is lost on the way."""
    learner, _ = grown(tiny("td3", policy_every=1))
    other = agent(tiny("td3", policy_every=1))
    other.load(copied(learner.state()))
    batch = learner.experience.sample()[0]
    learner._learn(batch)
    q = other.critics.values(batch.obs, batch.action)
    other.critics.step((0.5 * (q - other._target(batch).unsqueeze(1)).square()).mean(-1))
    other.actor.step(other._policy_loss(batch.obs))
    assert torch.equal(learner.critics.params, other.critics.params)
    assert torch.equal(learner.actor.params, other.actor.params)


@pytest.mark.parametrize("every", [1, 2, 5])
def test_actor_and_targets_wait_for_the_critics(every: int) -> None:
    learner, world = agent(tiny("td3", policy_every=every, tau=0.1)), World(VECTOR, SEEDS)
    drive(learner, world, 7)
    for update in range(1, 13):
        actor, critics = learner.actor.params.clone(), learner.critics.params.clone()
        slow = learner.actor.target_params.clone(), learner.critics.target_params.clone()
        log = drive(learner, world, 1)
        assert learner.updates == update
        assert not torch.equal(learner.critics.params, critics)
        if update % every:
            assert torch.equal(learner.actor.params, actor) and "loss/actor" not in log
            assert torch.equal(learner.actor.target_params, slow[0])
            assert torch.equal(learner.critics.target_params, slow[1])
        else:
            assert not torch.equal(learner.actor.params, actor) and "loss/actor" in log
            for part, before in zip((learner.actor, learner.critics), slow, strict=True):
                expected = 0.9 * before + 0.1 * part.params
                torch.testing.assert_close(part.target_params, expected)


def test_targets_begin_as_copies_and_are_none_where_they_are_switched_off() -> None:
    learner = agent(tiny("td3"))
    assert torch.equal(learner.actor.target_params, learner.actor.params)
    assert torch.equal(learner.critics.target_params, learner.critics.params)
    learner, _ = grown(tiny("td3", target="none"))
    assert learner.actor.target is learner.actor.online
    assert learner.critics.target is learner.critics.online
    assert "target" not in learner.state()["critics"]


@pytest.mark.parametrize(("lanes", "every"), [(1, 4), (2, 4), (3, 12), (8, 4)])
@pytest.mark.parametrize("name", ["td3", "sac"])
def test_updates_are_due_by_steps_not_by_ticks(name: str, lanes: int, every: int) -> None:
    config = tiny(name, lanes=lanes, train_every=every, learning_starts=24, gradient_steps=2)
    learner, world = agent(config), World(VECTOR, SEEDS, lanes)
    due = []
    for tick in range(1, 41):
        if drive(learner, world, 1)["index"]:
            due.append(tick)
    gap = max(every, lanes)  # steps
    assert due == [t for t in range(1, 41) if t * lanes >= 24 and t * lanes % gap == 0]


@pytest.mark.parametrize("rows", [1, 8])
@pytest.mark.parametrize("critics", [1, 2, 3])
def test_the_first_critic_alone_says_what_it_says_among_all(critics: int, rows: int) -> None:
    learner, world = grown(tiny("td3", critics=critics))
    obs, action = world.obs.expand(-1, rows, -1), torch.zeros(3, rows, 2, requires_grad=True)
    alone, among = learner.critics.judge_first(obs, action), learner.critics.judge(obs, action)
    assert torch.equal(alone, among[:, 0])
    (by_alone,) = torch.autograd.grad(alone.sum(), action)
    (by_all,) = torch.autograd.grad(among[:, 0].sum(), action)
    assert torch.equal(by_alone, by_all) and by_all.any()


@pytest.mark.parametrize("name", ["ddpg", "td3", "sac"])
def test_warm_up_is_uniform_over_the_environments_box(name: str) -> None:
    learner = agent(tiny(name, warmup=600, learning_starts=10_000))
    world = World(VECTOR, SEEDS)
    actions = torch.stack(drive(learner, world, 600)["action"]).flatten(0, 2).numpy()
    assert (actions >= ACTIONS.low).all() and (actions <= ACTIONS.high).all()
    share = (actions - ACTIONS.low) / (ACTIONS.high - ACTIONS.low)
    assert np.abs(np.quantile(share, [0.25, 0.5, 0.75], axis=0).T - [0.25, 0.5, 0.75]).max() < 0.06
    after = torch.stack(drive(learner, world, 50)["action"])
    greedy = learner.act(world.obs, explore=False)[0]
    assert after.std(0).mean() < 1 and greedy.shape == (3, 1, 2)


@pytest.mark.parametrize(
    ("kind", "cls"),
    [("gaussian", Gaussian), ("ornstein_uhlenbeck", OrnsteinUhlenbeck), ("none", NoNoise)],
)
def test_the_kind_of_noise_is_the_one_that_acts(kind: str, cls: type) -> None:
    learner = agent(tiny("td3", noise=kind, noise_std=0.3, warmup=0, learning_starts=10_000))
    world = World(VECTOR, SEEDS)
    assert type(learner.noise) is cls
    moves = [(learner.act(world.obs)[0] - learner.act(world.obs, False)[0]) for _ in range(300)]
    off = torch.stack(moves) / torch.tensor([2.0, 0.5])  # in units of the unit box
    if kind == "none":
        assert not off.any()
    else:
        jump = (
            (off[1:] - off[:-1]).std().item()
        )  # sqrt(2) std without inertia, std sqrt(dt) with it
        expected = 0.3 * 2**0.5 if kind == "gaussian" else 0.3 * 0.01**0.5
        assert jump == pytest.approx(expected, rel=0.1)


def test_the_noise_of_an_ended_episode_is_forgotten() -> None:
    learner = agent(tiny("td3", noise="ornstein_uhlenbeck", warmup=0, noise_std=5.0))
    world = World(VECTOR, SEEDS)
    for _ in range(30):
        step = world.step(learner.act(world.obs)[0])
        learner.observe(step)
        ended = step.terminated | step.truncated
        assert not learner.noise.x[ended].any() and learner.noise.x[~ended].all()


def test_memory_holds_actions_in_the_unit_box() -> None:
    learner = agent(tiny("td3"))
    corners = torch.tensor([[[-2.0, 1.0]], [[0.0, 0.5]], [[2.0, 0.0]]])
    zeros = torch.zeros(3, 1)
    rest = (zeros, zeros.bool(), zeros.bool(), ~zeros.bool())
    obs = World(VECTOR, SEEDS).obs
    learner.observe(Step(obs, obs, corners, *rest, {}))
    stored = torch.from_numpy(learner.experience.buffer.action[:, 0])
    torch.testing.assert_close(stored, torch.tensor([[[-1.0, 1]], [[0, 0]], [[1, -1]]]))


@pytest.mark.parametrize("name", ["ddpg", "td3", "sac"])
def test_evaluation_leaves_no_trace(name: str) -> None:
    learner, _ = grown(tiny(name))
    before = copied(learner.state())
    other = World(VECTOR, SEEDS, 5)
    for _ in range(5):
        action, memo = learner.act(other.obs, explore=False)
        assert action.shape == (3, 5, 2) and memo["value"].shape == (3, 5)
        assert torch.equal(learner.act(other.obs, explore=False)[0], action)  # no chance in it
        other.step(action)
    equal(copied(learner.state()), before)


@pytest.mark.parametrize("name", ["ddpg", "td3", "sac"])
def test_the_policy_alone_is_enough_to_act(name: str) -> None:
    learner, world = grown(tiny(name))
    fresh = agent(tiny(name))
    fresh.load({"policy": copied(learner.state()["policy"])})
    a, b = learner.act(world.obs, explore=False), fresh.act(world.obs, explore=False)
    assert torch.equal(a[0], b[0]) and torch.equal(a[1]["value"], b[1]["value"])


@pytest.mark.parametrize("lanes", [1, 3])
@pytest.mark.parametrize("name", ["td3", "sac"])
def test_replay_taken_out_learns_from_each_transition_once(name: str, lanes: int) -> None:
    """Whatever the cadence with replay was: repeats are none, and gaps are none."""
    learner = agent(tiny(name, lanes=lanes))
    (off,) = (dict(c.off) for c in learner.COMPONENTS if c.name == "replay")
    cadence = {"lanes": lanes, "train_every": 6, "gradient_steps": 4}
    learner, world = agent(tiny(name, **(cadence | off))), World(VECTOR, SEEDS, lanes)
    gather, batches, steps = learner.experience.buffer.gather, [], []
    learner.experience.buffer.gather = lambda index: batches.append(gather(index)) or batches[-1]
    for _ in range(20):
        steps.append(world.step(learner.act(world.obs)[0]))
        learner.observe(steps[-1])
        learner.update()
    starts = [step.obs for step in steps[-(-8 // lanes) - 1 :]]
    assert torch.equal(torch.stack([batch.obs for batch in batches]), torch.stack(starts))


@pytest.mark.parametrize("name", ["td3", "sac"])
def test_without_replay_only_the_newest_transitions_are_learned_from(name: str) -> None:
    learner = agent(tiny(name, replay=False, lanes=2, warmup=0))
    world, batches = World(VECTOR, SEEDS, 2), []
    gather = learner.experience.buffer.gather
    learner.experience.buffer.gather = lambda index: batches.append(gather(index)) or batches[-1]
    for _ in range(15):
        step = world.step(learner.act(world.obs)[0])
        learner.observe(step)
        if learner.update() is not None:
            assert torch.equal(batches[-1].obs, step.obs)
            assert torch.equal(batches[-1].reward, step.reward)
            torch.testing.assert_close(learner.actions.to_env(batches[-1].action), step.action)
            alive = batches[-1].discount > 0
            assert torch.equal(alive, ~step.terminated)
            assert torch.equal(batches[-1].next_obs[alive], step.next_obs[alive])
    assert len(batches) == 12


def test_noise_that_would_grow_is_refused() -> None:
    with pytest.raises(ValueError, match="noise_theta must be below 2 / noise_dt = 20"):
        tiny("td3", noise="ornstein_uhlenbeck", noise_theta=20.0, noise_dt=0.1)
    tiny("td3", noise_theta=20.0, noise_dt=0.1)  # without that noise it means nothing


SPACES: dict[str, tuple[spaces.Space, spaces.Space, str]] = {
    "discrete": (VECTOR, spaces.Discrete(3), "continuous actions, the environment has Discrete"),
    "multi-discrete": (VECTOR, spaces.MultiDiscrete([2, 3]), "continuous actions"),
    "unbounded": (VECTOR, spaces.Box(-np.inf, np.inf, (2,)), "bounded actions"),
    "matrix": (VECTOR, spaces.Box(-1, 1, (2, 2)), "actions that are vectors"),
    "grid": (spaces.Box(0, 1, (8, 8)), ACTIONS, "observations that are vectors or images"),
}


@pytest.mark.parametrize("kind", SPACES)
@pytest.mark.parametrize("name", ["td3", "sac"])
def test_impossible_tasks_are_refused_in_one_clause(name: str, kind: str) -> None:
    obs, actions, says = SPACES[kind]
    learner = agent(tiny(name))
    reason = learner.unsupported(learner.config, Spec(obs, actions, 100))  # type: ignore[arg-type]
    assert says in reason and "\n" not in reason
    assert learner.unsupported(learner.config, Spec(VECTOR, ACTIONS, 100)) is None


@pytest.mark.parametrize(
    ("name", "key", "value", "says"),
    [
        ("td3", "noise", "gauss", "gaussian, ornstein_uhlenbeck, none"),
        ("td3", "target", "hard", "soft, none"),
        ("td3", "policy_every", 0, "at least 1"),
        ("td3", "target_noise_clip", -1.0, "at least 0"),
        ("td3", "critics", 0, "at least 1"),
        ("td3", "tau", 2.0, "above 0 and at most 1"),
        ("sac", "temperature", "auto", "learned, fixed"),
        ("sac", "alpha", 0.0, "above 0"),
        ("sac", "log_std_min", 5.0, "must lie below log_std_max"),
        ("sac", "buffer_size", 1, "at least lanes=2"),
    ],
)
def test_mistakes_name_their_key(name: str, key: str, value: Any, says: str) -> None:
    with pytest.raises(ValueError, match=says) as caught:
        tiny(name, lanes=2, **{key: value})
    assert key in str(caught.value) and "\n" not in str(caught.value)


def settings(config: Any) -> dict[str, Any]:
    return {k: v for k, v in vars(config).items() if k not in ("name", "label")}


def test_ddpg_with_the_three_is_td3_and_td3_without_them_is_ddpg() -> None:
    assert set(THREE) == {"clipped double-Q", "delayed policy", "target smoothing"}
    on = {k: v for c in THREE.values() for k, v in c.on.items()}
    off = {k: v for c in THREE.values() for k, v in c.off.items()}
    assert settings(preset("ddpg", **on)) == settings(preset("td3"))
    assert settings(preset("td3", **off)) == settings(preset("ddpg"))


@pytest.mark.parametrize("component", THREE)
def test_each_switch_changes_what_the_agent_becomes(component: str) -> None:
    part = THREE[component]
    states = []
    for values in (part.on, part.off):
        learner, _ = grown(tiny("td3", **values), 20)
        states.append(learner.actor.params.clone())
    assert not torch.equal(*states)


def test_component_studies_are_made_of_these_switches() -> None:
    with cfg.session():
        td3, ddpg = (cfg.composed(f"algo={name}").algo for name in ("td3", "ddpg"))
    variants = {c.label: c.values for c in changes(TD3, td3, "leave_one_out")}
    assert variants == {f"TD3 - {name}": dict(c.off) for name, c in THREE.items()}
    variants = {c.label: c.values for c in changes(TD3, ddpg, "add_one_in")}
    assert variants == {f"DDPG + {name}": dict(c.on) for name, c in THREE.items()}
    assert [c.values for c in changes(TD3, td3, "-exploration noise")] == [{"noise": "none"}]


def test_clipping_takes_the_lower_of_two_and_keeps_values_down() -> None:
    """The clipped target never exceeds what either critic's own target would be."""
    learner, _ = grown(tiny("td3", target_noise=0.0))
    batch = learner.experience.sample()[0]
    y = learner._target(batch)
    action = forward_actor_target(learner, batch.next_obs)
    each = learner.critics.target_values(batch.next_obs, action)
    own = batch.reward.unsqueeze(1) + batch.discount.unsqueeze(1) * each
    assert (y.unsqueeze(1) <= own + 1e-6).all()
    alive = batch.discount > 0
    assert (y < own.amax(1) - 1e-6)[alive].any()


def forward_actor_target(learner: TD3, obs: Tensor) -> Tensor:
    with torch.no_grad():
        return learner.actor.target(obs).tanh()


def test_a_box_of_one_number() -> None:
    narrow = Spec(VECTOR, spaces.Box(-1.0, 3.0, (1,)), 50)
    learner = TD3(tiny("td3"), narrow, SEEDS, CPU)
    world = World(VECTOR, SEEDS)
    drive(learner, world, 20)
    action = learner.act(world.obs)[0]
    assert action.shape == (3, 1, 1) and action.min() >= -1 and action.max() <= 3
