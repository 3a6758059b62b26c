"""DQN with a memory: sequences, their loss against an unbatched one, and what is forgotten."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prism.algos.core.agent import HasMemory, Step
from prism.algos.dqn.dqn import DQN
from tests.helpers import SEEDS, VECTOR, World, agent, copied, drive, equal, steady, tiny

KINDS = ("gru", "lstm")
GAMMA = 0.9


def built(kind: str = "gru", lanes: int = 2, **changes: Any) -> tuple[DQN, World]:
    small = {"memory": kind, "memory_size": 8, "batch_size": 6, "sequence": 5, "burn_in": 4}
    small |= {"lanes": lanes, "gamma": GAMMA, "exploration": steady(0.5)}
    return agent(tiny("recurrent_dqn", **(small | changes))), World(VECTOR, SEEDS, lanes)


def lived(learner: DQN, world: World, ticks: int) -> list[Step]:
    """Live without learning; returns every tick."""
    steps = []
    for _ in range(ticks):
        step = world.step(*learner.act(world.obs))
        learner.observe(step)
        steps.append(step)
    return steps


def ended(step: Step) -> Tensor:
    return step.terminated | step.truncated


@pytest.mark.parametrize("ticks", [7, 40, 75])  # at its first rows, full, and wrapped
def test_sequences_are_those_of_a_list_of_steps(ticks: int) -> None:
    learner, world = built(buffer_size=60)
    buffer, steps = learner.experience.buffer, lived(*(learner, world), ticks)
    rows, lanes, burn, length = buffer.rows, 2, 4, 5
    oldest = max(0, ticks - rows + 1)
    starts = [(t, n) for t in range(oldest, ticks) for n in range(lanes)]
    index = torch.tensor([t % rows * lanes + n for t, n in starts]).expand(3, -1)
    got = buffer.gather_sequences(index, burn, length)
    assert got.valid.shape == (3, burn + length, len(starts))
    for k in range(3):
        for b, (start, n) in enumerate(starts):
            alive = True
            for j, t in enumerate(range(start - burn, start + length)):
                known = oldest <= t < ticks
                if t >= start:
                    assert bool(got.valid[k, j, b]) == (known and alive)
                else:
                    assert not got.valid[k, j, b]
                if not known:
                    continue
                step, cut = steps[t], bool(ended(steps[t])[k, n])
                assert torch.equal(got.steps.obs[k, j, b], step.obs[k, n])
                assert got.steps.action[k, j, b] == step.action[k, n]
                assert got.steps.reward[k, j, b] == step.reward[k, n]
                over = bool(step.terminated[k, n])
                assert got.steps.discount[k, j, b] == (0 if over else np.float32(GAMMA))
                if not over:
                    assert torch.equal(got.steps.next_obs[k, j, b], step.next_obs[k, n])
                begins = t == oldest or bool(ended(steps[t - 1])[k, n])
                assert bool(got.begins[k, j, b]) == begins
                alive = alive and not (t >= start and cut)


class Plain(nn.Module):
    """A value network of one seed in float64, of torch's own parts, one observation at a time."""

    def __init__(self, net: Any, k: int) -> None:
        super().__init__()
        (below,) = net.torso.layers
        self.below = _linear(below[0], k)
        lstm = net.memory.size > net.memory.width
        cell = nn.LSTMCell if lstm else nn.GRUCell
        self.cell = cell(net.memory.by_input.n_in, net.memory.width).double()
        for name, layer in (("ih", net.memory.by_input), ("hh", net.memory.by_state)):
            getattr(self.cell, f"weight_{name}").data = layer.weight[k].detach().double()
            getattr(self.cell, f"bias_{name}").data = layer.bias[k, 0].detach().double()
        self.hidden, self.out = (_linear(net._advantage[i], k) for i in (0, 2))
        self.zero = torch.zeros(net.memory.size).double()

    def forward(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the actions' values for ``obs [obs]`` and the state behind it."""
        x = self.below(obs.double()).relu()
        if isinstance(self.cell, nn.GRUCell):
            state = h = self.cell(x[None], state[None])[0]
        else:
            h, c = self.cell(x[None], tuple(part[None] for part in state.chunk(2)))
            h, state = h[0], torch.cat([h[0], c[0]])
        return self.out(self.hidden(h).relu()), state


def _linear(layer: Any, k: int) -> nn.Linear:
    plain = nn.Linear(layer.n_in, layer.n_out).double()
    plain.weight.data = layer.weight[k, : layer.n_out, : layer.n_in].detach().double()
    plain.bias.data = layer.bias[k, 0, : layer.n_out].detach().double()
    return plain


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("double", "target", "burn"), [("off", "hard", 4), ("target", "hard", 4), ("off", "none", 0)]
)
def test_loss_and_gradient_are_those_of_an_unbatched_computation(
    kind: str, double: str, target: str, burn: int
) -> None:
    learner, world = built(kind, double=double, target=target, burn_in=burn)
    drive(learner, world, 30)  # the target is another network by now
    steps = lived(learner, world, 25)
    buffer, length = learner.experience.buffer, 5
    buffer_ticks = learner.experience.ticks - 25  # running number of steps[0]
    starts = [(6, 0), (9, 1), (14, 0), (20, 1), (23, 0), (24, 1)]
    index = torch.tensor([(buffer_ticks + t) % buffer.rows * 2 + n for t, n in starts])
    sequences = buffer.gather_sequences(index.expand(3, -1), burn, length)
    loss, metrics = learner._sequence_loss(sequences)
    learner.learner.optimizer.backward(loss)
    cuts = 0
    for k in range(3):
        online, other = Plain(learner.online, k), Plain(learner.target, k)
        total, count, values = torch.zeros(()).double(), 0, 0.0
        for start, n in starts:
            state, theirs = online.zero, other.zero
            for t in range(start - burn, start):  # whatever was before is forgotten, or burnt in
                with torch.no_grad():
                    _, state = online(steps[t].obs[k, n], state)
                    _, theirs = other(steps[t].obs[k, n], theirs)
                if ended(steps[t])[k, n]:
                    state, theirs = online.zero, other.zero
            for t in range(start, min(start + length, 25)):
                step = steps[t]
                q, state = online(step.obs[k, n], state)
                _, theirs = other(step.obs[k, n], theirs)
                with torch.no_grad():
                    following, _ = other(step.next_obs[k, n], theirs)
                    chooser = following
                    if double == "target":
                        chooser, _ = online(step.next_obs[k, n], state)
                    y = float(step.reward[k, n])
                    if not step.terminated[k, n]:
                        y += GAMMA * float(following[chooser.argmax()])
                total = total + 0.5 * (q[step.action[k, n]] - y) ** 2
                values += float(q[step.action[k, n]].detach())
                count += 1
                cuts += bool(step.truncated[k, n])
                if ended(step)[k, n]:
                    break
        torch.testing.assert_close(loss[k].double(), total / count, rtol=1e-4, atol=1e-6)
        assert float(metrics["loss/q"][k]) == pytest.approx(values / count, rel=1e-4)
        (total / count).backward()
        views = learner.learner.weights.flat.views(learner.learner.optimizer.grad)
        of = {id(p): g for p, g in zip(learner.online.parameters(), views, strict=True)}
        pairs = [
            (learner.online.torso.layers[0][0], online.below.weight),
            (learner.online.memory.by_input, online.cell.weight_ih),
            (learner.online.memory.by_state, online.cell.weight_hh),
            (learner.online._advantage[0], online.hidden.weight),
            (learner.online._advantage[2], online.out.weight),
        ]
        for layer, weight in pairs:
            own = of[id(layer.weight)][k, : weight.shape[0], : weight.shape[1]].double()
            torch.testing.assert_close(own, weight.grad, rtol=2e-3, atol=1e-6)
    assert cuts > 0


def test_an_earlier_episode_changes_nothing() -> None:
    """What lies before an episode's begin, in the burn-in, moves neither loss nor gradient."""
    learner, world = built()
    steps = lived(learner, world, 25)
    ends = [(t, n) for t in range(2, 18) for n in range(2) if ended(steps[t])[:, n].any()]
    k = 0
    t, n = next((t, n) for t, n in ends if ended(steps[t])[k, n])
    buffer, seen = learner.experience.buffer, []
    index = torch.tensor([[(t + 2) * 2 + n]]).expand(3, -1)
    for other in (False, True):
        if other:
            buffer.obs[k, : t + 1, n] = 5.0
        loss, _ = learner._sequence_loss(buffer.gather_sequences(index, 4, 5))
        learner.learner.optimizer.backward(loss)
        seen.append((loss[k].clone(), learner.learner.optimizer.grad[k].clone()))
    assert torch.equal(seen[0][0], seen[1][0]) and torch.equal(seen[0][1], seen[1][1])
    buffer.obs[k, t + 1, n] = 5.0  # of the episode itself
    assert not torch.equal(
        learner._sequence_loss(buffer.gather_sequences(index, 4, 5))[0][k], seen[0][0]
    )


def test_steps_that_are_not_valid_change_nothing() -> None:
    learner, world = built()
    lived(learner, world, 20)
    index = torch.tensor([[2 * t for t in range(6, 19)]]).expand(3, -1)
    sequences = learner.experience.buffer.gather_sequences(index, 4, 5)
    hidden = ~sequences.valid.bool()
    hidden[:, :4] = False  # the burn-in counts
    assert hidden.any()
    steps = sequences.steps
    other = steps._replace(
        reward=torch.where(hidden, 100.0, steps.reward),
        obs=torch.where(hidden.unsqueeze(-1), 3.0, steps.obs),
    )
    a = learner._sequence_loss(sequences)[0]
    b = learner._sequence_loss(sequences._replace(steps=other))[0]
    assert torch.equal(a, b)


@pytest.mark.parametrize("kind", KINDS)
def test_acting_forgets_where_an_episode_ends(kind: str) -> None:
    learner, world = built(kind)
    lived(learner, world, 5)
    other = deepcopy(learner)
    for one, past in ((learner, world), (other, World(VECTOR, (5, 6, 7), 2))):
        step = past.step(*one.act(past.obs))
        over = torch.ones_like(step.terminated)
        cut = torch.tensor([True, False]).expand(3, -1)
        one.observe(step._replace(terminated=over & ~cut, truncated=over & cut))
        assert one.memory is not None and not one.memory.training.any()
    ours, theirs = learner.act(world.obs), other.act(world.obs)
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1]["memory"], theirs[1]["memory"])


def test_acting_remembers_also_where_it_explores() -> None:
    learner, world = built(exploration=steady(1.0))
    steps = lived(learner, world, 6)
    assert learner.memory is not None
    with torch.no_grad():
        begins = torch.stack([torch.zeros(3, 2).bool(), *(ended(s) for s in steps[:-1])], 1)
        zero = torch.zeros(3, 2, 8)
        obs = torch.stack([s.obs for s in steps], 1)
        _, states = learner.online.recall(obs, zero, begins)
    last = torch.where(ended(steps[-1]).unsqueeze(-1), 0.0, states[:, -1])
    torch.testing.assert_close(learner.memory.training[:, 0], last)


def test_evaluation_remembers_by_itself_and_leaves_no_trace() -> None:
    learner, world = built()
    assert isinstance(learner, HasMemory)
    drive(learner, world, 20)
    before, other = copied(learner.state()), World(VECTOR, SEEDS, 5)
    runs = []
    for _ in range(2):
        learner.forget()
        runs.append([learner.act(other.obs, explore=False) for _ in range(2)])
    for (action, memo), (again, twin) in zip(*runs, strict=True):
        assert torch.equal(action, again) and torch.equal(memo["value"], twin["value"])
    assert not torch.equal(runs[0][0][1]["value"], runs[0][1][1]["value"])  # it remembers
    equal(copied(learner.state()), before)


def test_the_policy_alone_is_enough_to_act() -> None:
    learner, world = built()
    drive(learner, world, 30)
    fresh, _ = built()
    fresh.load({"policy": copied(learner.state()["policy"])})
    for obs in (world.obs, world.obs.flip(1)):
        a, b = learner.act(obs, explore=False), fresh.act(obs, explore=False)
        assert torch.equal(a[0], b[0]) and torch.equal(a[1]["value"], b[1]["value"])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prioritized": True}, "prioritized=false"),
        ({"n_step": 3}, "n_step=1"),
        ({"replay": False}, "replay=true"),
        ({"dropout": 0.1}, "dropout=0"),
        ({"norm": "batch"}, "norm=none or layer"),
        ({"compile": True}, "compile=false"),
    ],
)
def test_what_a_memory_does_not_go_with_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^memory=gru needs {says}$"):
        tiny("recurrent_dqn", **changes)
    assert tiny("recurrent_dqn", memory="none", **changes)
