"""The family under masks: what is illegal has probability 0, when acting and when learning."""

from copy import deepcopy
from typing import Any

import pytest
import torch

from tests.algos.policy_gradient.agents import DISCRETE, MULTI, small
from tests.algos.policy_gradient.test_slices import of_seed, state_of
from tests.helpers import SEEDS, copied, equal
from tests.masked import agent, live, world

ALONE = SEEDS.index(11)
GRU = {"memory": "gru", "memory_size": 8, "batch_size": 16}
OPTIONS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "ppo": ("ppo", {"normalize_obs": True}, DISCRETE),
    "ppo, kl, one torso": ("ppo", {"surrogate": "kl", "target_kl": 0.01, "shared": True}, MULTI),
    "ppo, gru": ("ppo", {"normalize_obs": True, **GRU}, DISCRETE),
    "ppo, lstm, one torso": ("ppo", {"shared": True, **GRU, "memory": "lstm"}, MULTI),
    "a2c": ("a2c", {"entropy": 0.01}, MULTI),
    "a2c, q": ("a2c", {"critic": "q"}, DISCRETE),
    "reinforce": ("reinforce_baseline", {"entropy": 0.01}, DISCRETE),
    "trpo": ("trpo", {}, DISCRETE),
    "grpo": ("grpo", {"normalize_obs": True}, DISCRETE),
}
TICKS = {"ppo": 40, "a2c": 40, "trpo": 32, "reinforce_baseline": 60, "grpo": 90}


def made(option: str, seeds: tuple[int, ...] = SEEDS, **changes: Any) -> tuple[Any, Any]:
    name, own, actions = OPTIONS[option]
    config = small(name, **(own | changes))
    return agent(config, actions, seeds), world(config, actions, seeds)


@pytest.mark.parametrize("option", OPTIONS)
def test_slice_and_legality(option: str) -> None:
    ticks = TICKS[OPTIONS[option][0]]
    (together, there), (alone, here) = made(option), made(option, (SEEDS[ALONE],))
    log, expected = live(together, there, ticks), live(alone, here, ticks)
    assert not torch.stack(log.pop("illegal")).any()
    del expected["illegal"]
    ours, theirs = of_seed(log, ALONE), of_seed(expected, 0)
    assert len(ours) > 4
    for key, values in ours.items():
        assert len(values) == len(theirs[key]) > 0
        for a, b in zip(values, theirs[key], strict=True):
            assert torch.equal(a, b) and a.isfinite().all(), key
    equal(state_of(together, ALONE), state_of(alone, 0))
    actions = torch.stack(log["action"], 1).flatten(1)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(actions[one], actions[other])


@pytest.mark.parametrize("option", OPTIONS)
def test_state_and_load_continue_to_the_bit(option: str) -> None:
    (whole, there), (other, _) = made(option), made(option)
    live(whole, there, 19)
    other.load(copied(whole.state()))
    same = deepcopy(there)
    log, again = live(whole, there, 16), live(other, same, 16)
    for key in log:
        assert all(torch.equal(a, b) for a, b in zip(log[key], again[key], strict=True))
    equal(whole.state(), other.state())


@pytest.mark.parametrize("option", ["ppo", "a2c", "trpo"])
def test_a_rollout_keeps_the_masks_of_true_successors(option: str) -> None:
    """What was barred when acting is barred when learning, behind a truncation too."""
    learner, there = made(option)
    steps = []
    while not learner.experience.due:
        action, memo = learner.act(there.obs)
        steps.append(there.step(action, memo))
        learner.observe(steps[-1])
    data, ac = learner.experience.take(), learner.actor_critic
    assert torch.stack([s.truncated for s in steps]).any()
    for t, step in enumerate(steps):
        assert torch.equal(data.next_obs[:, t], step.next_obs)
        for obs in (step.obs, step.next_obs):
            out, _ = ac.net(ac.normalized(obs))
            assert torch.equal(out == torch.finfo(out.dtype).min, obs[..., 4:] == 0)


@pytest.mark.parametrize("option", ["ppo, gru", "ppo, lstm, one torso"])
def test_a_memory_learns_from_what_is_legal(option: str) -> None:
    """What is illegal has probability 0 in every minibatch."""
    learner, there = made(option)
    while not learner.experience.due:
        learner.observe(there.step(*learner.act(there.obs)))
    samples = learner._samples(learner.experience.take())
    batches = list(samples.shuffled(learner.order().argsort(-1)).minibatches(16))
    assert len(batches) == 2
    for batch in batches:
        illegal = batch.obs[..., 4:] == 0
        assert illegal.any() and not illegal.all()
        for out in (batch.old_out, learner._networks(batch)[0]):
            assert torch.equal(out == torch.finfo(out.dtype).min, illegal)


@pytest.mark.parametrize("option", OPTIONS)
def test_greedy_acting(option: str) -> None:
    learner, there = made(option)
    live(learner, there, 10)
    action, _ = learner.act(there.obs, explore=False)
    chosen, first = action if action.dim() == 3 else action.unsqueeze(-1), 4
    for d, n in enumerate(getattr(OPTIONS[option][2], "nvec", [3])):
        legal = there.obs[..., first : first + n] > 0
        assert legal.gather(-1, chosen[..., d : d + 1]).all()
        first += n


@pytest.mark.parametrize("option", OPTIONS)
def test_masks_of_ones_change_nothing(option: str) -> None:
    name, changes, actions = OPTIONS[option]
    states = []
    for masks in ("use", "ignore"):
        config = small(name, **changes, masks=masks)
        learner = agent(config, actions)
        live(learner, world(config, actions, all_=True), 24)
        states.append(learner.state()["policy"])
    equal(*states)


def test_ignored_masks_are_ignored() -> None:
    learner, there = made("ppo", masks="ignore")
    assert torch.stack(live(learner, there, 40)["illegal"]).any()
