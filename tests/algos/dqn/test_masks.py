"""The family under masks: what is illegal is neither taken nor bootstrapped."""

from copy import deepcopy
from typing import Any

import pytest
import torch
from gymnasium import spaces

from prism.algos.core.nets import Mode
from prism.algos.dqn.config import Exploration
from prism.benchmark.store.checkpoint import take_seed
from tests.helpers import SEEDS, copied, equal, tiny
from tests.masked import agent, live, world

ACTIONS = spaces.Discrete(3)
ALONE = SEEDS.index(11)
REMEMBERS = {"memory_size": 8, "batch_size": 6, "sequence": 5, "burn_in": 3, "lanes": 2}
OPTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "dqn": ("dqn", {"lanes": 2}),
    "double": ("double_dqn", {}),
    "coin": ("double_q", {}),
    "c51": ("c51", {"exploration": Exploration("boltzmann")}),
    "qrdqn": ("qrdqn", {"dueling": True}),
    "rainbow": ("rainbow", {}),
    "gru": ("recurrent_dqn", {**REMEMBERS, "memory": "gru", "double": "target"}),
    "lstm, coin": ("recurrent_dqn", {**REMEMBERS, "memory": "lstm", "double": "coin", "lanes": 1}),
}


def made(option: str, seeds: tuple[int, ...] = SEEDS, **changes: Any) -> tuple[Any, Any]:
    name, own = OPTIONS[option]
    config = tiny(name, **(own | changes))
    return agent(config, ACTIONS, seeds), world(config, ACTIONS, seeds)


def comparable(learner: Any, k: int) -> Any:
    state = take_seed(learner.state(), k)
    del state["experience"]["buffer"]["truncated_obs"]  # its size follows the fullest seed
    return state


@pytest.mark.parametrize("option", OPTIONS)
def test_slice_and_legality(option: str) -> None:
    (together, there), (alone, here) = made(option), made(option, (SEEDS[ALONE],))
    log, expected = live(together, there, 60), live(alone, here, 60)
    assert not torch.stack(log["illegal"]).any() and len(log["loss/value"]) > 20
    for name, values in log.items():
        for a, b in zip(values, expected[name], strict=True):
            assert torch.equal(a[ALONE : ALONE + 1], b) and a.isfinite().all(), name
    equal(comparable(together, ALONE), comparable(alone, 0))
    actions = torch.stack(log["action"], 1).flatten(1)
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not torch.equal(actions[one], actions[other])


@pytest.mark.parametrize("option", OPTIONS)
def test_state_and_load_continue_to_the_bit(option: str) -> None:
    (whole, there), (other, _) = made(option), made(option)
    live(whole, there, 25)
    other.load(copied(whole.state()))
    same = deepcopy(there)
    log, again = live(whole, there, 12), live(other, same, 12)
    for key in log:
        assert all(torch.equal(a, b) for a, b in zip(log[key], again[key], strict=True))
    equal(whole.state(), other.state())


@pytest.mark.parametrize("option", OPTIONS)
def test_greedy_acting_and_its_value(option: str) -> None:
    learner, there = made(option)
    live(learner, there, 20)
    mask = there.obs[..., 4:] > 0
    action, memo = learner.act(there.obs, explore=False)
    assert mask.gather(-1, action.unsqueeze(-1)).all()
    ignoring = agent(tiny(OPTIONS[option][0], **OPTIONS[option][1], masks="ignore"), ACTIONS)
    ignoring.load({"policy": copied(learner.state()["policy"])})
    with torch.no_grad():
        q = ignoring._look(there.obs, Mode.MEAN, explore=False)[0]()
    best = torch.where(mask, q, -torch.inf).max(-1)
    assert torch.equal(action, best.indices) and torch.equal(memo["value"], best.values)


@pytest.mark.parametrize("option", ["dqn", "double", "c51", "qrdqn"])
def test_the_bootstrap_is_over_what_is_legal_next(option: str) -> None:
    learner, there = made(option)
    live(learner, there, 30)
    batch, weight, _ = learner.experience.sample(1.0)
    alive = batch.discount > 0
    mask = batch.next_obs[..., 4:] > 0
    following = learner.target(batch.next_obs)
    chooser = learner.online(batch.next_obs) if option == "double" else following
    q = learner.value.mean(chooser)
    best = torch.where(mask, q, -torch.inf).argmax(-1)
    assert (best != q.argmax(-1))[alive].any()  # else masks would make no difference here
    index = best[..., None, None].expand(*best.shape, 1, following.shape[-1])
    target = learner.value.target(
        batch.reward, batch.discount, following.gather(-2, index).squeeze(-2)
    )
    predicted = learner.online(batch.obs).gather(
        -2, batch.action[..., None, None].expand(*best.shape, 1, following.shape[-1])
    )
    per_sample, _ = learner.value.loss(predicted.squeeze(-2), target)
    loss, _, _ = learner._loss(batch, weight)
    torch.testing.assert_close(loss, (weight * per_sample).mean(-1))


@pytest.mark.parametrize("double", ["off", "target"])
def test_the_bootstrap_of_a_sequence_is_over_what_is_legal_next(double: str) -> None:
    learner, there = made("gru", burn_in=0, double=double)
    live(learner, there, 30)
    sequences = learner.experience.sample_sequences(0, 5)
    steps, begins, valid = sequences
    zero = torch.zeros(*steps.reward.shape[::2], 8)
    losses, differs = [], torch.zeros(())
    with torch.no_grad():
        (out, states), (_, theirs) = (
            net.recall(steps.obs, zero, begins) for net in (learner.online, learner.target)
        )
        for t in range(5):
            successor = steps.next_obs[:, t : t + 1]
            following = learner.target.recall(successor, theirs[:, t])[0][:, 0, ..., 0]
            chooser = following
            if double == "target":
                chooser = learner.online.recall(successor, states[:, t])[0][:, 0, ..., 0]
            legal = torch.where(steps.next_obs[:, t, :, 4:] > 0, chooser, -torch.inf)
            best = legal.argmax(-1, keepdim=True)
            y = steps.reward[:, t] + steps.discount[:, t] * following.gather(-1, best).squeeze(-1)
            q = out[:, t, ..., 0].gather(-1, steps.action[:, t].unsqueeze(-1)).squeeze(-1)
            losses.append(0.5 * (q - y) ** 2 * valid[:, t])
            counts = valid[:, t] * (steps.discount[:, t] > 0)
            differs += (counts * (best.squeeze(-1) != chooser.argmax(-1))).sum()
    assert differs > 0  # else masks would make no difference here
    expected = torch.stack(losses, 1).sum((1, 2)) / valid.sum((1, 2))
    torch.testing.assert_close(learner._sequence_loss(sequences)[0], expected)


@pytest.mark.parametrize("option", OPTIONS)
def test_masks_of_ones_change_nothing(option: str) -> None:
    name, changes = OPTIONS[option]
    states = []
    for masks in ("use", "ignore"):
        config = tiny(name, **changes, masks=masks)
        learner = agent(config, ACTIONS)
        live(learner, world(config, ACTIONS, all_=True), 40)
        states.append(learner.state()["policy"])
    equal(*states)


def test_ignored_masks_are_ignored() -> None:
    learner, there = made("dqn", masks="ignore")
    log = live(learner, there, 40)
    assert torch.stack(log["illegal"]).any()
