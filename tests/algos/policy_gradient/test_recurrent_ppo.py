"""PPO with a memory: its loss against an unbatched one, what it forgets, and what it keeps."""

from copy import deepcopy
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from prism.algos.core.agent import HasMemory
from prism.algos.core.rollout import by_lane
from tests.algos.policy_gradient.agents import ACTIONS, agent, live, params, small, world_of
from tests.algos.policy_gradient.plain import filled, gae, rows
from tests.helpers import SEEDS, VECTOR, World, copied, equal

KINDS = ("gru", "lstm")


def built(kind: str = "gru", **changes: Any) -> tuple[Any, Any, World]:
    settings = small("recurrent_ppo", memory=kind, **changes)
    return settings, agent(settings), world_of(settings)


class Plain(nn.Module):
    """One network of one seed in float64, of torch's own parts, one observation at a time."""

    def __init__(self, learner: Any, row: int, width: int) -> None:
        super().__init__()
        net = learner.actor_critic.net.net
        self.torso = nn.ModuleList(_linear(layer[0], row) for layer in net.torso.layers)
        kind = nn.LSTMCell if net.memory.size > net.memory.width else nn.GRUCell
        self.cell = kind(net.memory.by_input.n_in, net.memory.width).double()
        for name, layer in (("ih", net.memory.by_input), ("hh", net.memory.by_state)):
            getattr(self.cell, f"weight_{name}").data = layer.weight[row].detach().double()
            getattr(self.cell, f"bias_{name}").data = layer.bias[row, 0].detach().double()
        self.head = _linear(net.head, row, width)

    def forward(self, obs: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Return the output for ``obs [obs]`` and the state behind it."""
        x = obs.double()
        for layer in self.torso:
            x = layer(x).tanh()
        if isinstance(self.cell, nn.GRUCell):
            state = h = self.cell(x[None], state[None])[0]
        else:
            h, c = self.cell(x[None], tuple(part[None] for part in state.chunk(2)))
            h, state = h[0], torch.cat([h[0], c[0]])
        return self.head(h), state


def _linear(layer: Any, row: int, width: int | None = None) -> nn.Linear:
    width = layer.n_out if width is None else width
    plain = nn.Linear(layer.n_in, width).double()
    plain.weight.data = layer.weight[row, :width, : layer.n_in].detach().double()
    plain.bias.data = layer.bias[row, 0, :width].detach().double()
    return plain


def lived(net: Plain, data: Any, k: int, start: Tensor) -> tuple[Tensor, Tensor]:
    """Return outputs for observations and true successors, ``[T, N, out]``, lane by lane."""
    ticks, lanes = data.reward[k].shape
    out = [[torch.empty(0)] * lanes for _ in range(ticks)]
    following = [[torch.empty(0)] * lanes for _ in range(ticks)]
    for lane in range(lanes):
        state = start[lane].double()
        for t in range(ticks):
            out[t][lane], state = net(data.obs[k, t, lane], state)
            following[t][lane] = net(data.next_obs[k, t, lane], state)[0]
            if data.terminated[k, t, lane] or data.truncated[k, t, lane]:
                state = torch.zeros_like(state)
    return tuple(torch.stack([torch.stack(x) for x in each]) for each in (out, following))


@pytest.mark.parametrize("kind", KINDS)
def test_loss_and_gradient_are_those_of_an_unbatched_computation(kind: str) -> None:
    """The second rollout, which begins amid episodes; ends of both kinds lie within."""
    settings, learner, world = built(kind, rollout=12, batch_size=48, epochs=1, lr=3e-3)
    c = settings
    filled(learner, world)
    learner.update()
    data = filled(learner, world)
    assert data.truncated.any() and data.terminated.any() and learner.start.any()
    samples = learner._samples(data)
    loss, _, _ = learner._loss(samples, c.clip)
    learner.learner.optimizer.backward(loss)
    for k in range(len(SEEDS)):
        nets = [
            Plain(learner, 2 * k, learner.actor_critic.head.outputs),
            Plain(learner, 2 * k + 1, 1),
        ]
        out, _ = lived(nets[0], data, k, learner.start[k, 0])
        v, v_next = (x[..., 0] for x in lived(nets[1], data, k, learner.start[k, 1]))
        with torch.no_grad():
            advantage, target = gae(c, data, k, v.flatten(), v_next.flatten())
        lane_major = by_lane(samples.scalars[1, k][None], 4)  # 12 ticks of 4 lanes, and back
        torch.testing.assert_close(lane_major[0], advantage, rtol=1e-4, atol=1e-5)
        new = torch.distributions.Categorical(logits=out.flatten(0, 1))
        log_prob = new.log_prob(rows(data.action, k))
        a = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        ratio = (log_prob - log_prob.detach()).exp()
        total = -(ratio * a).mean() + c.value_coef * 0.5 * ((v.flatten() - target) ** 2).mean()
        total = total - c.entropy * new.entropy().mean()
        torch.testing.assert_close(loss[k].double(), total, rtol=1e-4, atol=1e-6)
        total.backward()
        net = learner.actor_critic.net.net
        views = learner.learner.weights.flat.views(learner.learner.optimizer.grad)
        of = {id(p): g for p, g in zip(net.parameters(), views, strict=False)}
        for row, plain in zip((2 * k, 2 * k + 1), nets, strict=True):
            pairs = [
                (net.memory.by_input, plain.cell.weight_ih, plain.cell.bias_ih),
                (net.memory.by_state, plain.cell.weight_hh, plain.cell.bias_hh),
                (net.head, plain.head.weight, plain.head.bias),
                *(
                    (ours[0], theirs.weight, theirs.bias)
                    for ours, theirs in zip(net.torso.layers, plain.torso, strict=True)
                ),
            ]
            for layer, weight, bias in pairs:
                own = of[id(layer.weight)][row, : weight.shape[0], : weight.shape[1]]
                torch.testing.assert_close(own.double(), weight.grad, rtol=2e-3, atol=2e-6)
                own = of[id(layer.bias)][row, 0, : bias.shape[0]]
                torch.testing.assert_close(own.double(), bias.grad, rtol=2e-3, atol=2e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_learned_from_is_what_acted(kind: str) -> None:
    """Over two rollouts: what acting remembered tick by tick is what going through them gives."""
    _, learner, world = built(kind)
    for _ in range(2):
        seen = []
        while not learner.experience.due:
            action, memo = learner.act(world.obs)
            seen.append(memo["memory"])
            learner.observe(world.step(action, memo))
        data = learner.experience.take()
        ac = learner.actor_critic
        _, _, states = ac.net.recall(data.obs, learner.start, data.begins)
        torch.testing.assert_close(states.permute(0, 2, 3, 1, 4), torch.stack(seen, 1))
        learner.update()


def test_minibatches_are_whole_lanes_with_their_own_start() -> None:
    settings, learner, world = built()
    filled(learner, world)
    learner.update()
    data = filled(learner, world)
    batches, learn = [], learner._step
    learner._step = lambda batch, clip, on: batches.append(batch) or learn(batch, clip, on)
    start = learner.start.clone()
    learner.update()
    assert len(batches) == settings.epochs * 2
    for k in range(3):
        for epoch in (batches[:2], batches[2:]):
            met = []
            for batch in epoch:
                for i, lane in enumerate(batch.obs[k].view(2, 8, 4)):
                    (n,) = [n for n in range(4) if torch.equal(data.obs[k, :, n], lane)]
                    met.append(n)
                    assert torch.equal(batch.memory.start[k, i], start[k, :, n])
                    begins = batch.memory.begins[k].view(2, 8)[i]
                    assert torch.equal(begins, data.begins[k, :, n])
            assert sorted(met) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", KINDS)
def test_an_earlier_episode_changes_nothing(kind: str) -> None:
    """Two pasts that end: from there on, acting and what is remembered are equal to the bit."""
    _, learner, world = built(kind)
    live(learner, world, 5)
    other = deepcopy(learner)
    fresh = world_of(learner.config, (5, 6, 7))
    for one, past in ((learner, world), (other, fresh)):
        action, memo = one.act(past.obs)
        step = past.step(action, memo)
        ends = torch.ones_like(step.terminated)
        half = ends & torch.tensor([True, True, False, False])  # both ways to end
        one.observe(step._replace(terminated=half, truncated=ends & ~half))
        assert not one.memory.training.any()
    assert not torch.equal(learner.experience.fields["obs"], other.experience.fields["obs"])
    for _ in range(2):
        ours, theirs = learner.act(world.obs), other.act(world.obs)
        assert torch.equal(ours[0], theirs[0])
        assert torch.equal(ours[1]["memory"], theirs[1]["memory"])


@pytest.mark.parametrize("actions", ACTIONS)
def test_evaluation_remembers_by_itself_and_leaves_no_trace(actions: str) -> None:
    settings = small("recurrent_ppo", normalize_obs=True)
    learner, world = agent(settings, actions=ACTIONS[actions]), world_of(settings)
    assert isinstance(learner, HasMemory)
    live(learner, world, 11)
    before, other = copied(learner.state()), World(VECTOR, SEEDS, 5)
    first = other.obs
    runs = []
    for _ in range(2):
        learner.forget()
        runs.append([learner.act(x, explore=False) for x in (first, first, other.obs)])
    for (action, memo), (again, twin) in zip(*runs, strict=True):
        assert torch.equal(action, again) and torch.equal(memo["value"], twin["value"])
        assert action.shape[:2] == memo["value"].shape == (3, 5)
    assert not torch.equal(runs[0][0][1]["value"], runs[0][1][1]["value"])  # it remembers
    equal(copied(learner.state()), before)


def test_the_policy_alone_is_enough_to_act() -> None:
    settings, learner, world = built(normalize_obs=True)
    live(learner, world, 40)
    fresh = agent(settings)
    fresh.load({"policy": copied(learner.state()["policy"])})
    for obs in (world.obs, world.obs.flip(1)):
        a, b = learner.act(obs, explore=False), fresh.act(obs, explore=False)
        assert torch.equal(a[0], b[0]) and torch.equal(a[1]["value"], b[1]["value"])


@pytest.mark.parametrize("kind", KINDS)
def test_a_memory_starts_orthogonal_and_reaches_over_its_span(kind: str) -> None:
    """Tallec and Ollivier 2018: a unit at rest keeps what it has for 2 to 30 steps."""
    _, learner, _ = built(kind, memory_span=30, memory_size=64)
    memory = learner.actor_critic.net.net.memory
    for layer in (memory.by_input, memory.by_state):
        for weight in layer.weight[..., : layer.n_in]:
            torch.testing.assert_close(weight.T @ weight, torch.eye(layer.n_in), atol=1e-5, rtol=0)
    assert not memory.by_input.bias.any()
    gates = memory.by_state.bias.view(6, -1, 64)
    keeps = 1 / (1 - gates[:, 1].sigmoid())  # steps
    assert (keeps >= 2).all() and (keeps <= 31).all() and 10 < keeps.mean() < 22
    assert all(len(set(row.tolist())) > 32 for row in keeps)
    if kind == "lstm":
        assert torch.equal(gates[:, 0], -gates[:, 1])
    assert not gates[:, 2:].any() and (kind == "lstm" or not gates[:, 0].any())


def test_without_a_memory_there_is_no_state_of_one() -> None:
    learner = agent(small("ppo"))
    live(learner, world_of(learner.config), 3)
    assert "start" not in learner.state() and "memory" not in learner.state()["actor_critic"]
    kept = agent(small("recurrent_ppo"))
    live(kept, world_of(kept.config), 3)
    state = kept.state()
    assert (
        state["actor_critic"]["memory"]["training"].shape == state["start"].shape == (3, 2, 4, 16)
    )
    assert np.all(np.isfinite(params(kept).numpy()))


def test_a_minibatch_of_parts_of_lanes_is_refused() -> None:
    with pytest.raises(ValueError, match="memory=gru needs whole lanes") as caught:
        small("recurrent_ppo", rollout=16, batch_size=8)
    assert "batch_size must be a multiple of rollout=16, got 8" in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "says"),
    [({"dropout": 0.1}, "dropout=0"), ({"norm": "batch"}, "norm=none or layer")],
)
def test_what_a_memory_does_not_go_with_is_refused(changes: dict[str, Any], says: str) -> None:
    with pytest.raises(ValueError, match=f"^memory=gru needs {says}$"):
        small("recurrent_ppo", **changes)
    assert small("recurrent_ppo", memory="none", **changes)
