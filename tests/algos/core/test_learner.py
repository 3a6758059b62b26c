"""The learner: its seeds alone and together, its targets, its masks, its state."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prism.algos.core.learner import Learner
from prism.algos.core.nets import BatchNorm, Dropout, InitStream, Linear, Mode, NoisyLinear, through
from prism.algos.core.optim import SeedOptimizer, optimizer_of
from prism.algos.core.rng import Member
from prism.algos.dqn.config import DQNConfig
from prism.benchmark.store.checkpoint import take_seed
from tests.helpers import CPU, SEEDS, copied, equal

ALONE = SEEDS.index(11)


class Net(nn.Module):
    """Every kind of a layer that has a state beside its parameters."""

    def __init__(self, members: Sequence[Member], name: str) -> None:
        super().__init__()
        init, m = InitStream(members, f"init/{name}"), len(members)
        self.layers = nn.ModuleList(
            [
                Linear(init, 4, 6),
                BatchNorm(m, 6),
                Dropout(0.2, members, f"dropout/{name}", (8, 6)),
                NoisyLinear(init, 6, 2, members, f"noise/{name}", 0.5),
            ]
        )

    def forward(self, x: Tensor, mode: Mode = Mode.SAMPLE) -> Tensor:
        return through(tuple(self.layers), x, mode)

    def resample(self) -> None:
        self.layers[3].resample()  # type: ignore[operator]


def build(
    seeds: Sequence[int] = SEEDS, members: int = 1, has_target: bool = True, **settings: Any
) -> Learner[Net]:
    ids: list[Member] = [(seed, i) for seed in seeds for i in range(members)]
    optimizer = partial(SeedOptimizer, **({"kind": "adam", "lr": 0.01} | settings))
    return Learner(lambda name: Net(ids, name), optimizer, CPU, members, has_target)


def data(step: int, seeds: Sequence[int], members: int) -> tuple[Tensor, Tensor]:
    """Return inputs and goals of every network, a seed's own in any company."""
    draws = [np.random.default_rng((seed, step)).normal(size=(8, 6)) for seed in seeds]
    x = torch.from_numpy(np.stack(draws)).float().repeat_interleave(members, 0)
    return x[..., :4], x[..., 4:]


def train(
    learner: Learner[Net],
    seeds: Sequence[int] = SEEDS,
    steps: range = range(12),
    tau: float = 0.1,
    mask: Callable[[int], Tensor | None] = lambda step: None,
) -> list[Tensor]:
    """Let networks learn towards their targets' outputs and goals; return norms and losses."""
    out = []
    for step in steps:
        x, y = data(step, seeds, learner.members)
        for net in learner.networks:
            net.resample()
        with torch.no_grad():
            goal = y + 0.5 * learner.target(x)
        loss = (learner.online(x, Mode.LEARN) - goal).square().mean((1, 2))
        out += [loss.detach(), learner.step(loss, mask(step))]
        learner.update_target(tau)
    return out


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("kind", ["adam", "rmsprop"])
@pytest.mark.parametrize("has_target", [True, False])
def test_slice(members: int, kind: str, has_target: bool) -> None:
    settings = {"members": members, "has_target": has_target, "kind": kind, "max_norm": 0.5}
    together, alone = build(**settings), build((11,), **settings)
    for a, b in zip(train(together), train(alone, (11,)), strict=True):
        assert torch.equal(a.view(3, -1)[ALONE], b) and b.isfinite().all()
    equal(take_seed(together.state(), ALONE), alone.state())


@pytest.mark.parametrize("jointly", [True, False])
def test_a_masked_network_stays_in_any_company(jointly: bool) -> None:
    settings: dict[str, Any] = {"members": 2, "jointly": jointly, "max_norm": 0.1}
    together, alone = build(**settings), build((11,), **settings)
    rows = [torch.tensor([i % 2 == 0, i % 3 == 0]) for i in range(12)]
    train(together, mask=lambda i: rows[i].repeat(3))
    train(alone, (11,), mask=lambda i: rows[i])
    equal(take_seed(together.state(), ALONE), alone.state())
    assert alone.optimizer.steps.tolist() == [[6.0, 4.0]]


def test_a_seeds_networks_have_one_norm_where_they_are_clipped_jointly() -> None:
    apart, joint = (build(members=2, jointly=on) for on in (False, True))
    x, y = data(0, SEEDS, 2)
    norms = [a.step((a.online(x) - y).square().mean((1, 2))) for a in (apart, joint)]
    assert norms[0].shape == (6,) and norms[1].shape == (3,)
    torch.testing.assert_close(norms[0].view(3, 2).norm(dim=1), norms[1])


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize("has_target", [True, False])
def test_state_and_load_continue_to_the_bit(members: int, has_target: bool) -> None:
    whole, other = (build(members=members, has_target=has_target) for _ in range(2))
    train(whole)
    other.load(copied(whole.state()))
    pairs = zip(train(whole, steps=range(12, 20)), train(other, steps=range(12, 20)), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    equal(whole.state(), other.state())


def test_a_seed_taken_out_of_a_state_goes_on_alone() -> None:
    together, alone = build(members=2), build((11,), members=2)
    train(together)
    alone.load(copied(take_seed(together.state(), ALONE)))
    train(together, steps=range(12, 20))
    train(alone, (11,), steps=range(12, 20))
    equal(take_seed(together.state(), ALONE), alone.state())


def test_the_policy_is_the_online_weights_and_their_running_statistics() -> None:
    whole, other = build(), build()
    train(whole)
    other.load({"policy": copied(whole.state()["policy"])})
    x, _ = data(0, SEEDS, 1)
    assert torch.equal(whole.online(x, Mode.MEAN), other.online(x, Mode.MEAN))
    assert not other.optimizer.steps.any()
    state = whole.state()["policy"]["weights"]
    assert state["params"].shape[:2] == (3, 1) and len(state["running"]) == 2


def test_a_target_begins_equal_and_follows() -> None:
    learner = build()
    assert torch.equal(learner.target_params, learner.params)
    train(learner, tau=0.0)
    before = learner.target_params.clone()
    assert not torch.equal(before, learner.params)
    learner.update_target(0.25)
    torch.testing.assert_close(learner.target_params, 0.75 * before + 0.25 * learner.params)
    learner.update_target()
    assert torch.equal(learner.target_params, learner.params)
    x, _ = data(0, SEEDS, 1)  # batch norm's statistics too
    assert torch.equal(learner.target(x, Mode.MEAN), learner.online(x, Mode.MEAN))


def test_without_a_target_the_online_networks_are_their_own() -> None:
    learner = build(has_target=False)
    assert learner.target is learner.online and learner.networks == (learner.online,)
    learner.update_target()
    assert learner.target_params is learner.params
    assert learner.state().keys() == {"policy", "optimizer", "streams"}


def test_streams_of_both_networks_belong_to_the_state() -> None:
    names = {f"{kind}/{name}" for kind in ("dropout", "noise") for name in ("online", "target")}
    assert build().state()["streams"].keys() == names
    assert build(has_target=False).state()["streams"].keys() == {"dropout/online", "noise/online"}


def test_a_config_says_how_it_descends() -> None:
    config = DQNConfig(
        optimizer="rmsprop", lr=0.1, optimizer_eps=0.01, rmsprop_alpha=0.7, grad_clip=2.0
    )
    optimizer = Learner(lambda name: Net(SEEDS, name), optimizer_of(config), CPU).optimizer
    assert (optimizer.kind, optimizer.lr, optimizer.eps) == ("rmsprop", 0.1, 0.01)
    assert (optimizer.max_norm, optimizer.alpha) == (2.0, 0.7)
